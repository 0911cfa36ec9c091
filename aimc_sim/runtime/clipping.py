"""Numbers that did not fit are counted, and many of them are said aloud, once per layer."""

from __future__ import annotations

import warnings

from .counts import Tally

ADVICE = {
    "ADC conversions saturate": "let "
    "calibration choose g_max (core.g_max_rule = 'saturation'), or map to a smaller range of the "
    "devices (core.device.g_max_siemens), where their errors weigh more",
    "outputs do not fit their integer range": "calibrate on more images or raise "
    "calibration.percentile",
}


def warn(counts: Tally, limit: float, warned: set[str]) -> None:
    """Warn of every layer that clips more than a share of its numbers.

    Parameters
    ----------
    counts : dict
        By layer name.
    limit : float
        Share, 0 to 1.
    warned : set of str
        Layers that were warned of before; added to.
    """
    for name, seen in counts.items():
        if name in warned or not seen.conversions:
            continue
        shares = (seen.adc_saturated / seen.conversions, seen.output_clipped / seen.outputs)
        for share, (what, advice) in zip(shares, ADVICE.items(), strict=True):
            if share > limit:
                warned.add(name)
                warnings.warn(f"layer '{name}': {share:.1%} of the {what}; {advice}", stacklevel=3)
