"""How input codes become voltages in time: pulse widths, phases, bit planes.

A PWM input of magnitude x holds its row at the read voltage for x steps of the modulator, all
pulses starting together; the sign selects the line that is driven. Bit-serial inputs apply one
bit of the magnitude at a time, least significant first, each for the same short while, and the
ADC's results are shifted and added. Slices, phases and planes here are the reference form of
what a core does; a network runs on mean currents of a modulation, or of a plane.

Binary inputs (spikes) are one pulse at full amplitude each and one conversion, in half of the
phases: no input is negative.

Source: JSSC 57, 1027 (2022), doi:10.1109/JSSC.2022.3140414 (pulse widths of 1 ns, window of
128 ns; bit-serial: 7 magnitude bits, about 5 ns each); four phases: arXiv:2212.02872.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..device import family
from ..spec import CoreSpec, DacSpec
from . import encodings

_PHASES = ((1, 1), (1, -1), (-1, 1), (-1, -1))
"""Signs of (input, weight) in the four modulations of a 4-phase read; the product is the sign
with which a phase enters the result."""

BIT_SECONDS = 5e-9
"""Integration time of one bit plane on the chip; ``DacSpec.bit_seconds`` is another's."""


def window_seconds(dac: DacSpec) -> float:
    """Return the integration time of one PWM modulation: 128 ns for 8 bits and 1 ns.

    Of binary inputs: the pulse of a spike, and a step in which all pulses are over.
    """
    if dac.binary:
        return dac.spike_seconds + dac.lsb_seconds
    return full_window_seconds(dac)


def full_window_seconds(dac: DacSpec) -> float:
    """Return the integration time of a PWM modulation of inputs that are not binary, in s."""
    return (dac.longest_code + 1) * dac.lsb_seconds


def bit_serial_seconds(dac: DacSpec) -> float:
    """Return the integration time of one bit-serial modulation: 35 ns for 7 magnitude bits."""
    return magnitude_bits(dac) * dac.bit_seconds


def integration_seconds(dac: DacSpec) -> float:
    """Return the integration time of one modulation under the encoding that is set, in s."""
    return bit_serial_seconds(dac) if is_bit_serial(dac) else window_seconds(dac)


def is_bit_serial(dac: DacSpec) -> bool:
    """Whether magnitudes go in bit by bit; binary inputs have one bit only."""
    return dac.encoding == "bit-serial" and not dac.binary


def conversion_seconds(dac: DacSpec) -> float:
    """Return the time over which an ADC integrates for one result: a window, or one bit."""
    return dac.bit_seconds if is_bit_serial(dac) else window_seconds(dac)


def mvm_seconds(core: CoreSpec) -> float:
    """Return the time of one MVM, in s: every phase's integration and the published overhead.

    With PWM it is ``read.mvm_seconds``, or all windows if they are longer. Bit-serial MVMs keep
    what ``read.mvm_seconds`` adds to the windows (8 ns in 4-phase, 5 ns in 1-phase reads of the
    chip) and replace the windows: an estimate, no such time is published for the chip. So do
    binary inputs, and 4-phase reads of cells of one polarity, which need two windows.
    """
    phases = len(_PHASES) if core.read.mode == "4-phase" else 1
    windows = phases * full_window_seconds(core.dac)
    overhead = max(0.0, core.read.mvm_seconds - windows)
    return overhead + modulations(core) * integration_seconds(core.dac)


def modulations(core: CoreSpec) -> int:
    """Return the modulations of one MVM: one, or one per sign of inputs and polarity of cells.

    Parameters
    ----------
    core : CoreSpec
        Its read mode, its encoding and whether inputs have signs decide.
    """
    if core.read.mode != "4-phase":
        return 1
    return (1 if core.dac.binary else 2) * encodings.of(core).polarities


def reads_planes(dac: DacSpec) -> bool:
    """Whether every bit plane is converted by itself.

    An ideal modulator (``bits`` None) has no smallest bit: :func:`check` allows it only where
    the sum over planes is one exact product.
    """
    return is_bit_serial(dac) and dac.bits is not None


def largest_drive(dac: DacSpec) -> int:
    """Return the code of a full-scale input in one conversion: 127 steps, or 1 in a plane."""
    return 1 if reads_planes(dac) else dac.max_code


def check(core: CoreSpec) -> None:
    """Raise ValueError if the converters of a core cannot work with its input encoding."""
    dac, adc = core.dac, core.adc
    if not is_bit_serial(dac):
        if dac.binary and adc.max_code is not None and adc.max_code * plane_share(dac) < 0.5:
            raise ValueError(
                f"core.dac.spike_seconds = {dac.spike_seconds:g}: full scale makes "
                f"{adc.max_code * plane_share(dac):.2g} counts of the ADC in that time; use longer "
                "pulses or more core.adc.bits"
            )
        return
    quiet = not family.of(core.device).has_fresh_noise(core.device)
    floating = core.wires is not None and core.wires.idle == "high-impedance"
    if dac.bits is None and (floating or not (adc.perfect and quiet)):
        raise ValueError(
            "core.dac.encoding = 'bit-serial' with core.dac.bits = None: an ideal modulator has "
            "no smallest bit that an ADC could convert; set core.dac.bits (8 on the chip)"
        )
    if adc.max_code is not None:
        counts = adc.max_code * plane_share(dac)
        if counts < 0.5:
            raise ValueError(
                f"core.dac.bit_seconds = {dac.bit_seconds:g}: full scale makes {counts:.2g} "
                "counts of the ADC in that time; use longer bits or more core.adc.bits"
            )


def plane_share(dac: DacSpec) -> float:
    """Return how many of its codes a plain ADC has left for one bit plane or spike, at most 1.

    A time-based converter collects charge, and the charge per code stays what it is in a PWM
    window: 5 ns of a current make 5/127 of the codes that the full-scale pulse of 127 ns makes.
    """
    pulse = dac.spike_seconds if dac.binary else dac.bit_seconds
    return min(1.0, pulse / (dac.longest_code * dac.lsb_seconds))


def magnitude_bits(dac: DacSpec) -> int:
    """Return how many bit planes a magnitude has."""
    return dac.max_code.bit_length()


def pulse_ends(codes: np.ndarray, dac: DacSpec) -> np.ndarray:
    """Return when the pulses of integer codes (N, R) end, in seconds after the common start."""
    ends: np.ndarray = np.abs(_integers(codes, dac)) * dac.pulse_seconds
    return ends


def active(codes: np.ndarray, dac: DacSpec) -> np.ndarray:
    """Return (N, L, R) int8: the sign of every input whose pulse is on in each of L slices.

    A slice lasts one step of the modulator; no pulse ends inside one, so sums over slices are
    exact integrals. L = max_code + 1: in the last slice all pulses are over.
    """
    codes = _integers(codes, dac)
    step = np.arange(dac.max_code + 1)
    on = np.abs(codes)[:, None, :] > step[:, None]
    signs: np.ndarray = on * np.sign(codes)[:, None, :].astype(np.int8)
    return signs


def sliced_amperes(
    codes: np.ndarray, siemens: np.ndarray, v_read_volts: float, dac: DacSpec
) -> np.ndarray:
    """Return the (N, L, C) column currents in every slice of a PWM modulation, in amperes.

    Parameters
    ----------
    codes : (N, R) int, dimensionless
        Within the modulator's range.
    siemens : (R, C) float64, siemens
        Conductance that a driven row adds, signed.
    v_read_volts : float, volts
        On a driven row.
    dac : DacSpec
        The modulator.
    """
    return active(codes, dac).astype(np.float64) @ (siemens * v_read_volts)


def mean_amperes(
    codes: np.ndarray, siemens: np.ndarray, v_read_volts: float, dac: DacSpec
) -> np.ndarray:
    """Return the (N, C) column currents averaged over the window, in amperes."""
    share = np.asarray(codes, np.float64) / (dac.max_code + 1)
    if dac.binary:
        share = np.asarray(codes, np.float64) * (dac.spike_seconds / window_seconds(dac))
    return share @ (siemens * v_read_volts)


def phases(
    codes: np.ndarray, positive: np.ndarray, negative: np.ndarray
) -> tuple[tuple[int, np.ndarray, np.ndarray], ...]:
    """Return the four modulations of a 4-phase read: (sign of the result, codes, siemens).

    One polarity of inputs meets one polarity of weights at a time, all under the same read
    voltage, so that every current flows in the same direction.
    """
    magnitude = {1: np.maximum(codes, 0), -1: np.maximum(-np.asarray(codes), 0)}
    siemens = {1: positive, -1: negative}
    return tuple((x * w, magnitude[x], siemens[w]) for x, w in _PHASES)


def bit_planes(codes: np.ndarray, dac: DacSpec) -> np.ndarray:
    """Return (B, N, R) int8 planes in {-1, 0, 1}, least significant first.

    ``codes = sum over b of 2^b planes[b]``.
    """
    codes = _integers(codes, dac)
    bit = np.arange(magnitude_bits(dac))[:, None, None]
    planes: np.ndarray = ((np.abs(codes) >> bit & 1) * np.sign(codes)).astype(np.int8)
    return planes


def bit_serial(
    codes: np.ndarray,
    siemens: np.ndarray,
    v_read_volts: float,
    dac: DacSpec,
    convert: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Read bit plane after bit plane; shift and add the results of the ADC.

    Parameters
    ----------
    codes : (N, R) int, dimensionless
        Within the modulator's range.
    siemens : (R, C) float64, siemens
        Conductance that a driven row adds, signed.
    v_read_volts : float, volts
        On a driven row.
    dac : DacSpec
        The modulator.
    convert : function
        Static column currents (N, C), in amperes, to the ADC's result for one plane.

    Returns
    -------
    (N, C) float64
        ``sum of 2^b convert(i_b)``: in amperes x codes if ``convert`` returns amperes, and then
        ``codes @ siemens * v_read_volts`` for an ideal ADC. The error of a plane is multiplied
        by its 2^b, the larger the more significant.
    """
    unit = siemens * v_read_volts
    planes = bit_planes(codes, dac).astype(np.float64)
    return sum((2.0**b * convert(plane @ unit) for b, plane in enumerate(planes)), np.zeros(()))


def _integers(codes: np.ndarray, dac: DacSpec) -> np.ndarray:
    codes = np.asarray(codes)
    if not np.array_equal(codes, np.rint(codes)):
        raise ValueError("input codes must be integers: quantise them first (converters)")
    codes = codes.astype(np.int64)
    if codes.size and np.abs(codes).max() > dac.max_code:
        raise ValueError(
            f"input code {int(np.abs(codes).max())} exceeds the modulator's largest magnitude "
            f"{dac.max_code}"
        )
    return codes
