"""Dask without open doors: a cluster of this machine's own, and clusters that ask for certificates.

A Dask scheduler runs whatever function a client sends it, as the user who started it. Loopback is
no protection on a machine with several users. So the local cluster speaks TLS with certificates
that are made for one run and exist in memory only; who has none is turned away before the first
byte of a message. Nothing answers over HTTP: Dask would open a port on every process for it.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import re
import signal
import ssl
import threading
import warnings
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import Any

import dask
from distributed import Client, Nanny, Scheduler, Security, SpecCluster, Worker

SCHEMES = ("tcp", "tls", "ws", "wss", "ucx")
"""Protocols of a scheduler that Dask has."""

_ADDRESS = re.compile(
    rf"(?:(?P<scheme>{'|'.join(SCHEMES)})://)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):(?P<port>\d{{1,5}})\Z"
)

_FILES = {
    "tls_ca_file": "DASK_DISTRIBUTED__COMM__TLS__CA_FILE",
    "tls_client_cert": "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT",
    "tls_client_key": "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY",
}


class _NoHttp:
    """A server of Dask that opens no port for HTTP."""

    def start_http_server(self, *arguments: Any, **options: Any) -> None:
        pass


class ClosedScheduler(_NoHttp, Scheduler):
    """Dask's scheduler, without HTTP."""


class ClosedWorker(_NoHttp, Worker):
    """Dask's worker, without HTTP."""


class TidyClient(Client):
    """A client that ends its thread at once when it reaches nobody.

    Dask's would end it when it is collected. Where that happens while another client starts, it
    waits for a lock that the other holds, and both wait for ever.
    """

    def start(self, **options: Any) -> None:
        """Connect, or raise what Dask raises and be closed."""
        try:
            super().start(**options)  # type: ignore[no-untyped-call]  # of Dask
        except BaseException:
            self.close(timeout=0)  # type: ignore[no-untyped-call]  # of Dask
            raise


@contextlib.contextmanager
def cluster(workers: int, memory: str | int) -> Iterator[SpecCluster]:
    """Give processes on this machine that only this process can talk to.

    Parameters
    ----------
    workers : int
        Processes.
    memory : str or int
        Of one of them; above it a worker is ended and started anew.

    Yields
    ------
    SpecCluster
        A client needs its ``security``.
    """
    security = Security.temporary()
    both = {"host": "127.0.0.1", "protocol": "tls://", "security": security}
    worker = {
        "cls": Nanny,
        "options": {
            **both, "nthreads": 1, "memory_limit": memory, "worker_class": ClosedWorker,
            "silence_logs": logging.CRITICAL,
        },
    }  # fmt: skip
    scheduler = {"cls": ClosedScheduler, "options": {**both, "port": 0, "dashboard": False}}
    # A trial whose worker died comes back at once: see OnDask.answer.
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        with _without_interrupts(), warnings.catch_warnings():
            # On a busy machine; nothing that a user of this package could change.
            warnings.filterwarnings("ignore", "Creating scratch directories")
            made = SpecCluster(
                workers={i: worker for i in range(workers)}, worker=worker, scheduler=scheduler,
                security=security, silence_logs=logging.CRITICAL,
            )  # fmt: skip
        with made:
            yield made


def client(address: str | SpecCluster, security: Security, timeout: float) -> Client:
    """Return a connected client, which is not Dask's default one."""
    return TidyClient(  # type: ignore[no-untyped-call]  # of Dask
        address, timeout=timeout, set_as_default=False, security=security
    )


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C in the terminal does not reach; it waits meanwhile.

    The terminal sends Ctrl-C to every process it started. Workers would print what it
    interrupted; this process ends them in order.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if multiprocessing.get_start_method(allow_none=True) != "fork":
        resource_tracker.ensure_running()  # later, it would unblock the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def check_address(address: str) -> str | None:
    """Return the protocol of a scheduler's address, if it names one; ValueError if it is none."""
    match = _ADDRESS.match(address)
    if match is None or not 0 < int(match["port"]) < 2**16:
        raise ValueError(
            f"'{address}' is no address of a scheduler; wanted for example tcp://10.0.0.1:8786, as "
            "'dask scheduler' prints it"
        )
    return match["scheme"]


def security_for(address: str) -> Security:
    """Return what a client shows to a scheduler: the certificates of Dask's configuration.

    Raises
    ------
    ValueError
        If the address is none, or it is ``tls://`` and a file is missing or is no certificate.
    """
    scheme = check_address(address)
    try:
        security = Security()
    except Exception as error:  # whatever stands in a configuration file
        raise ValueError(f"Dask's configuration of TLS cannot be used: {error}") from error
    if scheme not in ("tls", "wss"):
        return security
    for name, variable in _FILES.items():
        if name != "tls_client_key" and getattr(security, name) is None:
            raise ValueError(
                f"a scheduler at '{address}' wants certificates, and Dask's configuration names "
                f"none: set {', '.join(_FILES.values())} to the files that your cluster's owner "
                f"gives you (missing: {variable}); see docs/safety.md of the sources"
            )
    try:
        security.get_connection_args("client")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        broken = "not what OpenSSL reads" if isinstance(error, ssl.SSLError) else "missing"
        named = ", ".join(f"{getattr(security, n)}" for n in _FILES if getattr(security, n))
        raise ValueError(
            f"the certificates for '{address}' cannot be used: one of {named} is {broken} "
            f"({' '.join(str(error).split())[:160]})"
        ) from error
    return security


def reason_of(error: BaseException) -> str:
    """Return the innermost reason of a failed connection in a few words."""
    seen: set[int] = set()
    while error.__cause__ is not None and id(error) not in seen:
        seen.add(id(error))
        error = error.__cause__
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__
