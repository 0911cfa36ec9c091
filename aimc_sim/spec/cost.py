"""Time and energy of everything that is not an MVM, and the host that feeds the chip."""

from __future__ import annotations

from .base import Spec, quantity


class CostSpec(Spec):
    """Digital work: latency and energy per event, power per second.

    The chip paper gives totals only (arXiv:2212.02872, Table I): the MVM of 64 cores, one input
    to a ResNet-9 layer on 8 cores, one LSTM step on 32 cores, each in both read modes. The
    defaults are the least-squares fit to those rows that ``validation/legallo_2023/table1.py``
    makes and prints; they are a model, not measurements of single components.
    """

    shared_watts: float = quantity("W", "static power whatever the number of cores", 0.206, ge=0)
    shared_cores: int = quantity(
        "-", "cores that ran in the measurement of read.mvm_joules, which contains it", 64, ge=1
    )
    core_watts: float = quantity("W", "static power of a core in use", 0.0436, ge=0)
    ldpu_latency_clocks: int = quantity(
        "-", "first result to first byte at the next core", 22, ge=0
    )
    ldpu_joules_per_output: float = quantity("J", "affine, addition, link", 1.36e-10, ge=0)
    gdpu_latency_clocks: int = quantity("-", "last gate input to last hidden output", 24, ge=0)
    gdpu_joules_per_output: float = quantity("J", "hidden state of one unit", 5.15e-10, ge=0)
    relay_joules_per_byte: float = quantity(
        "J", "each further link that a byte crosses", 1e-12, ge=0
    )
    source: str = (
        "fitted to Table I of the chip paper, arXiv:2212.02872 (totals; its energies are given "
        "to three digits); relays: assumption, not measured"
    )


class HostSpec(Spec):
    """The host that feeds the chip: inputs, outputs and, as fabricated, every activation."""

    bytes_per_second: float = quantity("B/s", "between chip and host, each direction", 1e9, gt=0)
    latency_seconds: float = quantity("s", "of one transfer", 1e-6, ge=0)
    source: str = "assumption, not measured: the chip paper gives no figure for its FPGA"
