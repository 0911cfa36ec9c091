"""A trial: one programming of one machine, evaluated at all times with all compensations.

Programming is the expensive part, so a trial shares it among its evaluations. The identity of a
trial is the SHA-256 over everything that can change its answer::

    spec        canonical text of the specification (names and sources left out)
    reference   the same of the chip with perfect devices, if layers are compared with it
    layers      which layers are physical
    network     SHA-256 of the traced network: operations and weights
    data        SHA-256 of images, labels and calibration images
    seed        of the programming and of everything drawn later
    times, compensations, probe_images
    metric      name and code of what is scored; left out for the accuracy
    physics     version of the code, see :func:`aimc_sim.studies.identity.physics`

Equal identities are one result and merge; different ones never do. It is inspected in four
steps, as the Stim project's sinter does it: :meth:`Trial.id_value`, ``id_text``, ``id_bytes``,
``id``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from .. import presets
from ..spec import ChipSpec
from . import identity
from .inputs import Inputs
from .schema import Study, StudyMethod
from .settings import Setting

FORMAT = 1
"""Version of the identity's form."""

_KEPT = ("_shared", "spec_id", "reference_spec")  # computed once per setting


@dataclass(frozen=True)
class Trial:
    """One programming of one setting, evaluated ``len(times) * len(compensations)`` times.

    Attributes
    ----------
    setting, preset : str
        For tables; not part of the identity, nor are ``changes``.
    changes : mapping
        Dotted key to value.
    spec : ChipSpec
        The machine.
    layers : tuple of str or None
        Physical layers; None: all.
    seed : int
        Of the programming.
    times : tuple of float
        Seconds after programming, ascending.
    compensations : tuple of str
        Of drift, one after the other.
    probe_images : int
        First images behind the error of every layer.
    network_id, data_id, physics : str
        64 hex digits each.
    metric : mapping or None
        See :meth:`aimc_sim.metrics.Metric.identity`; None: the accuracy.
    """

    setting: str
    preset: str
    changes: Mapping[str, Any]
    spec: ChipSpec
    layers: tuple[str, ...] | None
    seed: int
    times: tuple[float, ...]
    compensations: tuple[StudyMethod, ...]
    probe_images: int
    network_id: str
    data_id: str
    physics: str
    metric: Mapping[str, str] | None = None

    @cached_property
    def _shared(self) -> dict[str, Any]:
        """The part of the identity that all programmings of a setting share."""
        return {
            "format": FORMAT,
            "spec": self.spec.id_text(),
            "reference": self.reference_spec.id_text() if self._compares else None,
            "layers": None if self.layers is None else sorted(self.layers),
            "times": list(self.times),
            "compensations": list(self.compensations),
            "probe_images": self.probe_images,
            "network": self.network_id,
            "data": self.data_id,
            "physics": self.physics,
            **({} if self.metric is None else {"metric": dict(self.metric)}),
        }

    def id_value(self) -> dict[str, Any]:
        """Return what makes the identity, as JSON values."""
        return {**self._shared, "seed": self.seed}

    def id_text(self) -> str:
        """Return the canonical JSON of :meth:`id_value`."""
        return json.dumps(self.id_value(), sort_keys=True, separators=(",", ":"), allow_nan=False)

    def id_bytes(self) -> bytes:
        """Return the bytes of :meth:`id_text`, UTF-8."""
        return self.id_text().encode()

    @cached_property
    def id(self) -> str:
        """The identity, 64 hex digits."""
        return identity.digest(self.id_value())

    @cached_property
    def spec_id(self) -> str:
        """The short identity of the machine, 16 hex digits."""
        return self.spec.id()

    @cached_property
    def reference_spec(self) -> ChipSpec:
        """The machine with perfect devices and wires, its converters and integers as they are."""
        return presets.ideal_devices(self.spec).with_({"core.wires": None})

    @property
    def _compares(self) -> bool:
        return self.probe_images > 0 or self.layers is not None

    def with_seed(self, seed: int) -> Trial:
        """Return the trial of another programming of the same setting."""
        other = replace(self, seed=seed)
        vars(other).update({name: getattr(self, name) for name in _KEPT})
        return other


def first_trial(study: Study, setting: Setting, inputs: Inputs) -> Trial:
    """Return the trial of a setting's first programming."""
    return Trial(
        setting=setting.name,
        preset=setting.preset,
        changes=dict(setting.changes),
        spec=setting.spec,
        layers=setting.layers,
        seed=study.first_seed,
        times=study.times,
        compensations=study.compensations,
        probe_images=min(study.probe_images, len(inputs.images)),
        network_id=inputs.network_id,
        data_id=inputs.data_id,
        physics=identity.physics(),
        metric=inputs.metric.identity(),
    )
