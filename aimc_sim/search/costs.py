"""Energy, time and cores of a machine: from its layout and pipeline, no image is run."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import files, mapping
from ..analysis import performance
from ..mapping.schedule import Mode
from ..spec import ChipSpec
from ..studies import identity
from ..studies.inputs import Inputs

IMAGES = 4
"""Images under way in the simulated pipeline, as ``aimc-sim perf`` has it."""


@dataclass(frozen=True)
class Costs:
    """Costs of one inference; a model, see :mod:`aimc_sim.analysis.performance`.

    Attributes
    ----------
    energy : float
        J per inference.
    latency : float
        Of the first inference, s.
    throughput : float
        Inferences per second.
    cores : int
        Cores with weights.
    """

    energy: float
    latency: float
    throughput: float
    cores: int


class CostBook:
    """Computes costs once per machine and keeps them in a folder.

    Parameters
    ----------
    inputs : Inputs
        The network, and images whose shape counts.
    mode : "pipelined" or "host"
        Of the pipeline.
    folder : Path
        Made when it is needed. Files in it are named by the identity of machine, network,
        image shape, mode and code; one that cannot be read is made anew.
    """

    def __init__(self, inputs: Inputs, mode: Mode, folder: Path) -> None:
        self._inputs, self._mode, self._folder = inputs, mode, folder
        self._shape = inputs.images.shape[1:]
        files = performance.__file__, __file__
        self._code = [hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in files]
        self._code.append(identity.physics())

    def of(self, spec: ChipSpec) -> Costs:
        """Return the costs of a machine.

        Raises
        ------
        ValueError
            If the network does not fit the machine.
        """
        path = self._folder / f"{self._name(spec)}.json"
        with suppress(OSError, ValueError, TypeError):
            return Costs(**json.loads(path.read_text(encoding="utf-8")))
        found = self._computed(spec)
        with suppress(OSError):  # a full disk shows at the first result
            self._folder.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            files.create_text(path, json.dumps(asdict(found)) + "\n")
        return found

    def _name(self, spec: ChipSpec) -> str:
        parts = [spec.id_text(), self._inputs.network_id, list(self._shape), self._mode, IMAGES]
        return identity.digest([*parts, *self._code])[:32]

    def _computed(self, spec: ChipSpec) -> Costs:
        compiled = mapping.compile_network(self._inputs.network, spec)
        found = performance.performance(compiled, spec, self._shape, images=IMAGES, mode=self._mode)
        return Costs(
            energy=found.ledger.joules,
            latency=found.pipeline.first_image_seconds,
            throughput=1 / found.ledger.seconds,
            cores=compiled.cores_used,
        )
