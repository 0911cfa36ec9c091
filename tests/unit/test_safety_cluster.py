"""The local cluster answers nobody else; certificates of a cluster of the user's own."""

import datetime
import gc
import logging
import socket

import psutil
import pytest
from distributed import Client, Security

from aimc_sim.studies import closed, pools

# Dask closes connections that were refused a little after the test.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def cluster():
    with closed.cluster(1, "1 GB") as made:
        yield made


@pytest.fixture
def quiet():
    logs = logging.getLogger("distributed")
    before, logs.level = logs.level, logging.CRITICAL
    yield
    logs.level = before


def test_who_has_the_certificate_is_served(cluster):
    with Client(cluster, security=cluster.security, set_as_default=False) as client:
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3


@pytest.mark.parametrize("kind", ["no TLS", "no certificate", "another certificate"])
def test_a_client_without_the_certificate_is_refused(cluster, kind, quiet):
    address, security = cluster.scheduler_address, None
    assert address.startswith("tls://127.0.0.1:")
    if kind == "no TLS":
        address = address.replace("tls", "tcp")
    elif kind == "no certificate":
        security = Security(tls_ca_file=None, require_encryption=False)
    else:
        security = Security.temporary()
    with pytest.raises((OSError, TypeError, RuntimeError)):
        closed.client(address, security, timeout=2)
    # Closed later, when it is collected, it could wait for the next client, and that one for it.
    left = [part for part in gc.get_objects() if issubclass(type(part), Client)]
    assert all(client.status == "closed" for client in left)


def test_every_open_port_wants_a_certificate(cluster):
    """No HTTP, no dashboard: a plain request gets no answer on any port of these processes."""
    own = psutil.Process()
    ports = {
        c.laddr.port for process in (own, *own.children(recursive=True))
        for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN
    }  # fmt: skip
    assert len(ports) >= 2  # scheduler and worker
    for port in ports:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            try:
                answer = connection.recv(64)
            except ConnectionResetError:
                answer = b""
        assert b"HTTP" not in answer, port


# --------------------------------------------------------------------- a cluster of the user's


def authority(folder):
    """Write a key, and a certificate that it signs itself; return security that uses both."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    return folder / "cert.pem", folder / "key.pem"


def configuration(certificate, key):
    return {
        "distributed.comm.tls.ca-file": str(certificate),
        "distributed.comm.tls.client.cert": str(certificate),
        "distributed.comm.tls.client.key": str(key),
    }


def test_missing_and_broken_certificates_are_said_at_once(tmp_path):
    import dask

    with pytest.raises(pools.ClusterError, match=r"wants certificates.*TLS__CA_FILE.*docs/safety"):
        with pools.remote(None, "tls://127.0.0.1:9"):
            pass
    with dask.config.set(configuration(tmp_path / "no.pem", tmp_path / "no.pem")):
        with pytest.raises(pools.ClusterError, match=r"cannot be used.*no\.pem is missing"):
            with pools.remote(None, "tls://127.0.0.1:9"):
                pass
    (tmp_path / "text.pem").write_text("hello")
    with dask.config.set(configuration(tmp_path / "text.pem", tmp_path / "text.pem")):
        with pytest.raises(pools.ClusterError, match="not what OpenSSL reads"):
            with pools.remote(None, "tls://127.0.0.1:9"):
                pass


def test_certificates_of_another_authority_are_said(tmp_path, cluster, monkeypatch):
    import dask

    monkeypatch.setattr(pools, "PATIENCE_SECONDS", 8)
    with dask.config.set(configuration(*authority(tmp_path / "a"))):
        with pytest.raises(pools.ClusterError, match=r"no Dask scheduler answers.*(CERT|SSL|ssl)"):
            with pools.remote(None, cluster.scheduler_address):
                pass


@pytest.mark.parametrize(
    "address", ["", "x", "tcp://", "tcp://x", "http://x:1", "tcp://x:0", "tcp://x:99999", "x:1 "]
)
def test_what_is_no_address_is_refused_without_waiting(address):
    with pytest.raises(pools.ClusterError, match="is no address of a scheduler"):
        with pools.remote(None, address):
            pass
