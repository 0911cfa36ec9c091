"""Named machines, with the source of every number.

[chip]  M. Le Gallo et al., "A 64-core mixed-signal in-memory compute chip based on phase-change
        memory for deep neural network inference", Nature Electronics 6, 680 (2023),
        doi:10.1038/s41928-023-01010-1, read as arXiv:2212.02872v1.
[core]  R. Khaddam-Aljameh et al., "HERMES-Core ...", IEEE JSSC 57, 1027 (2022),
        doi:10.1109/JSSC.2022.3140414.
[fits]  The chip's device statistics as fitted in IBM's AIHWKit, ``inference/noise/hermes.py``
        at commit 4545f11.
[25uS]  S. R. Nandakumar et al., ICECS 2019, doi:10.1109/ICECS46596.2019.8964852, and V. Joshi et
        al., Nature Communications 11, 2473 (2020), doi:10.1038/s41467-020-16108-9, coefficients as
        in AIHWKit ``inference/noise/pcm.py`` at commit 4545f11.
[pulses]  S. R. Nandakumar et al., "A phase-change memory model for neuromorphic computing",
        Journal of Applied Physics 124, 152135 (2018), doi:10.1063/1.5042408, as implemented in the
        public repository YigitDemirag/srnn-pcm (commit 2d917836); the article itself was not
        opened.
[cmo]   D. F. Falcone et al., "All-in-One Analog AI Hardware: On-Chip Training and Inference with
        Conductive-Metal-Oxide/HfOx ReRAM Devices", arXiv:2502.04524 (abstract read), coefficients
        as in AIHWKit ``inference/noise/reram.py`` at commit 4545f11.
[kit]   Devices that learn, of AIHWKit's presets, ``simulator/presets/devices.py`` at commit
        4545f11.
[rpu]   T. Gokmen and Y. Vlasov, "Acceleration of Deep Neural Network Training with Resistive
        Cross-Point Devices: Design Considerations", Frontiers in Neuroscience 10, 333 (2016),
        doi:10.3389/fnins.2016.00333; specifications as in [kit].
[gong]  N. Gong et al., "Signal and noise extraction from analog memory elements for neuromorphic
        computing", Nature Communications 9 (2018), doi:10.1038/s41467-018-04485-1; fits to it as
        in [kit].
"""

import re
from collections.abc import Iterable

from .chips import (
    PRESETS,
    PUBLISHED_COUNTS,
    as_published,
    by_name,
    generic_pcm,
    generic_rram,
    hermes,
    ideal,
    ideal_devices,
)
from .citations import cite, references_of
from .closed_loop import pcm_hermes_closed_loop, program_and_verify
from .devices import (
    pcm_25_microsiemens,
    pcm_hermes_one_device,
    pcm_hermes_two_devices,
    pcm_ideal,
)
from .measured import pcm_replay, replay
from .pulsed import pcm_nandakumar_2018, pulses_hermes
from .resistive import rram_cmo_hfox
from .stepped import (
    STEPPED,
    capacitor,
    domain_wall_synapse,
    ecram,
    ecram_mo,
    gokmen_vlasov,
    idealized,
    mosfet_synapse,
    pcm_step,
    reram_array_hfo2,
    reram_array_om,
    reram_es,
    reram_sb,
    soft_bounds,
)

__all__ = [
    "PRESETS",
    "PUBLISHED_COUNTS",
    "STEPPED",
    "as_published",
    "by_name",
    "capacitor",
    "cite",
    "domain_wall_synapse",
    "ecram",
    "ecram_mo",
    "generic_pcm",
    "generic_rram",
    "gokmen_vlasov",
    "hermes",
    "ideal",
    "ideal_devices",
    "idealized",
    "mosfet_synapse",
    "pcm_25_microsiemens",
    "pcm_hermes_closed_loop",
    "pcm_hermes_one_device",
    "pcm_hermes_two_devices",
    "pcm_ideal",
    "pcm_nandakumar_2018",
    "pcm_replay",
    "pcm_step",
    "program_and_verify",
    "pulses_hermes",
    "references",
    "references_of",
    "replay",
    "reram_array_hfo2",
    "reram_array_om",
    "reram_es",
    "reram_sb",
    "rram_cmo_hfox",
    "soft_bounds",
]


def references(sources: Iterable[str]) -> list[tuple[str, str]]:
    """Return the full references behind the short ones, such as [chip], in some sources.

    Parameters
    ----------
    sources : iterable of str
        As fields ``source`` of a specification hold them.

    Returns
    -------
    list of (str, str)
        Short and full reference, in the order of this module's documentation.
    """
    cited = {mark for source in sources for mark in re.findall(r"\[[\w-]+\]", source)}
    entries = re.findall(r"^(\[[\w-]+\])\s+(.*?)(?=^\[|\Z)", __doc__ or "", re.M | re.S)
    return [(mark, " ".join(text.split())) for mark, text in entries if mark in cited]
