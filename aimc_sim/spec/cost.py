"""Time and energy of everything that is not an MVM, and the host that feeds the chip."""

from __future__ import annotations

from typing import Literal

from .base import Spec, quantity


class CostSpec(Spec):
    """Energy of every part of a core, latency and energy of digital work, power per second.

    The chip paper gives totals only (arXiv:2212.02872, Table I): the MVM of 64 cores, one input
    to a ResNet-9 layer on 8 cores, one LSTM step on 32 cores, each in both read modes. The
    defaults are the least-squares fit to those rows that ``validation/legallo_2023/table1.py``
    makes and prints; they are a model, not measurements of single components.

    Of an MVM the two read modes tell two numbers: the energy of every phase, whatever flows
    (12.71 nJ), and the energy of one MVM whatever the number of phases (0.289 nJ), taken as the
    part that follows the signal: charge and counts. How the first divides between converters and
    modulators and the second between array and counts is ASSUMED; a TOTAL that keeps both is
    fitted.
    """

    shared_watts: float = quantity("W", "static power whatever the number of cores", 0.206, ge=0)
    adc_watts: float = quantity(
        "W", "a converter while it integrates. FITTED with modulator_watts; its share of 80 % "
        "ASSUMED (Nat. Electron. 8, 1156, 2025: output encoding 60 to 70 % of a tile's energy, "
        "array 15 to 20 %)", 3.0723743e-4, ge=0,
    )  # fmt: skip
    adc_joules_per_count: float = quantity("J", "a count of a converter. ASSUMED", 10e-15, ge=0)
    modulator_watts: float = quantity(
        "W", "a row's modulator while it runs. FITTED with adc_watts", 7.6809358e-5, ge=0
    )
    modulator_joules_per_pulse: float = quantity(
        "J", "a pulse of a row. ASSUMED: 0.5 pF of lines and gates at the supply", 0.5e-12, ge=0
    )
    supply_volts: float = quantity(
        "V", "through which the charge of the array falls. READ: 0.85 V", 0.85, gt=0
    )
    signal_share: float = quantity(
        "-", "mean of input x conductance, each as a share of its largest, of the operation in "
        "Table I: whole-array figures assume it. FITTED, given adc_joules_per_count: 55 counts per "
        "column and MVM", 0.0050656523, ge=0, le=1,
    )  # fmt: skip
    core_watts: float = quantity("W", "static power of a core in use", 0.0436, ge=0)
    ldpu_latency_clocks: int = quantity(
        "-", "first result to first byte at the next core", 22, ge=0
    )
    ldpu_joules_per_output: float = quantity("J", "affine, addition, link", 1.36e-10, ge=0)
    addition_joules: float = quantity(
        "J", "an addition or subtraction of codes of two columns of one output (core.encoding). "
        "ASSUMED: of single-precision numbers at 45 nm, 0.9 pJ (M. Horowitz, ISSCC 2014, "
        "doi:10.1109/ISSCC.2014.6757323, second hand)", 0.9e-12, later=True, ge=0,
    )  # fmt: skip
    gdpu_latency_clocks: int = quantity("-", "last gate input to last hidden output", 24, ge=0)
    gdpu_joules_per_output: float = quantity("J", "hidden state of one unit", 5.15e-10, ge=0)
    membrane_unit: Literal["local", "global"] = quantity(
        "-", "digital unit that keeps the states of spiking neurons: that of the core that makes "
        "their inputs, or the global ones (at the energy of a hidden state). ASSUMPTION", "local",
        later=True,
    )  # fmt: skip
    membrane_joules: float = quantity(
        "J", "a step of a spiking neuron in a local unit: leak, sums, comparison, and its state "
        "read and written. ASSUMED: three operations of 16 bits at 45 nm, 1.1 + 0.4 + 0.4 pJ, and "
        "twice 16 bits of a memory of 8 kB, 2.5 pJ each (M. Horowitz, ISSCC 2014, "
        "doi:10.1109/ISSCC.2014.6757323, RECALLED)", 6.9e-12, later=True, ge=0,
    )  # fmt: skip
    membrane_latency_clocks: int = quantity(
        "-", "from an input of a spiking neuron to its output, in a local unit. ASSUMED", 4,
        later=True, ge=0,
    )  # fmt: skip
    digital_joules: float = quantity(
        "J", "an operation in floating point of the digital units: softmax, norms, products of "
        "values, layers off the cores. ASSUMED: the mean of an addition and a multiplication of "
        "16 bits at 45 nm, 0.4 and 1.1 pJ, and 16 bits of a memory of 8 kB, 2.5 pJ (M. Horowitz, "
        "ISSCC 2014, doi:10.1109/ISSCC.2014.6757323, RECALLED)", 3.25e-12, later=True, ge=0,
    )  # fmt: skip
    digital_operations_per_clock: float = quantity(
        "-", "such operations of all digital units of a chip together, per clock of the global "
        "ones. ASSUMED: eight units of 64", 512.0, later=True, gt=0,
    )  # fmt: skip
    relay_joules_per_byte: float = quantity(
        "J", "each further link that a byte crosses", 1e-12, ge=0
    )
    core_mm2: float = quantity("mm2", "a core. READ: 1.2 x 1.16 mm", 1.392, gt=0)
    mvm_mm2: float = quantity(
        "mm2", "of it array, converters and modulators. READ: 0.870 x 0.730 mm", 0.6351, gt=0
    )
    gdpu_mm2: float = quantity(
        "mm2", "a global digital unit. READ: 0.809 x 0.347 mm; eight of them", 0.2807, ge=0
    )
    die_mm2: float = quantity("mm2", "a chip of 64 cores. READ: 12 x 12 mm", 144.0, gt=0)
    adc_area_share: float = quantity(
        "-", "share of mvm_mm2 that grows with columns only; ASSUMED (Nat. Electron. 8, 1156, "
        "2025: converters and their circuits above 40 %)", 0.4, ge=0, le=1,
    )  # fmt: skip
    source: str = (
        "fitted to Table I of the chip paper, arXiv:2212.02872 (totals; its energies are given "
        "to three digits); relays: assumption, not measured"
    )


class HostSpec(Spec):
    """The host that feeds the chip: inputs, outputs and, as fabricated, every activation."""

    bytes_per_second: float = quantity("B/s", "between chip and host, each direction", 1e9, gt=0)
    latency_seconds: float = quantity("s", "of one transfer", 1e-6, ge=0)
    source: str = "assumption, not measured: the chip paper gives no figure for its FPGA"
