"""Hardware-aware training: a torch network with the noise and the converters of the chip.

``prepare(model, spec)`` returns a trainable copy, ``finalize`` plain weights again;
``only_important`` trains the most important channels only.

================  ==========================================================================
file              contents
================  ==========================================================================
``options``       ``TrainingSpec``: which effects, how strong
``wrap``          ``prepare`` and ``finalize``
``checks``        which layers turn analog, and the networks that are refused
``layers``        dense and convolutional layers
``recurrent``     LSTM, GRU, RNN
``attention``     multi-head attention; torch's fused encoder paths kept away
``crossbar``      one matrix: noisy weights, converters and their ranges, number of steps
``law``           weights on devices: mean and standard deviation, as tables
``noise``         draws from these tables
``functional``    straight-through and learned converters, addressed normals
``geometry``      how a layer's weights lie on crossbars: as the chip's own splitter cuts them
``loops``         inner loops
``partial``       only the most important channels
================  ==========================================================================
"""

from aimc_sim.training.options import OFF, TrainingSpec
from aimc_sim.training.partial import channel_importance, only_important
from aimc_sim.training.wrap import analog_layers, finalize, prepare

__all__ = [
    "OFF", "TrainingSpec", "analog_layers", "channel_importance", "finalize", "only_important",
    "prepare",
]  # fmt: skip
