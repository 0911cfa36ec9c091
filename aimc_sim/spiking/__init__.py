"""Units that spike: torch modules whose state runs over time steps, and neurons of spike trains.

================  ==========================================================================
file              contents
================  ==========================================================================
``units``         SNU and soft SNU with their variants, integrate-and-fire neurons
``attention``     attention and transformer blocks of spikes, over space or space and time
``libraries``     networks of snntorch and norse as networks over sequences
``silence``       fine-tuning that makes more neurons silent
``neurons``       spike trains, integrate-and-fire neurons, agreement of trains
``transducer``    transducers (RNN-T), and their parts for chips
``alignments``    their loss, over all alignments
``decoding``      their sequences, of torch or of chips
``correlation``   a million correlated processes, found by collective pulses on devices
``volatile``      short-term plasticity: a part of the weights that fades
================  ==========================================================================

Their recursion is :mod:`aimc_sim.digital.spiking`, which the chip's front end and runtime use too;
rules that train them online are in :mod:`aimc_sim.learning`.
"""

from aimc_sim.spiking.alignments import transducer_loss
from aimc_sim.spiking.attention import NormedLinear, SpikingAttention, SpikingBlock
from aimc_sim.spiking.correlation import (
    CorrelatedProcesses,
    CorrelationDetector,
    collective_threshold,
)
from aimc_sim.spiking.libraries import over_time
from aimc_sim.spiking.neurons import Match, SpikingNeurons, match, poisson_trains
from aimc_sim.spiking.silence import Words, masked_single_spikes, silencing, words
from aimc_sim.spiking.transducer import Transducer
from aimc_sim.spiking.units import LIF, SNU, SoftSNU, Unit
from aimc_sim.spiking.volatile import VolatilePart

__all__ = [
    "LIF", "SNU", "CorrelatedProcesses", "CorrelationDetector", "Match", "NormedLinear", "SoftSNU",
    "SpikingAttention", "SpikingBlock", "SpikingNeurons", "Transducer", "Unit", "VolatilePart",
    "Words", "collective_threshold", "masked_single_spikes", "match", "over_time",
    "poisson_trains", "silencing", "transducer_loss", "words",
]  # fmt: skip
