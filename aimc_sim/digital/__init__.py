"""The computations of the digital units between crossbars, on torch tensors.

- :mod:`.apply`: an operation of :mod:`aimc_sim.ops`, from its attributes, values and arrays
- :mod:`.rounding`: from values to codes
- :mod:`.cells`: one time step of a recurrent layer, and the loop over steps, exactly
- :mod:`.spiking`: spiking neurons over time, exactly, with surrogate gradients
- :mod:`.spiking_gradients`: sequences of soft units with gradients of their own
- :mod:`.attention`: attention of spikes by counters, over blocks of time steps
"""

__all__ = [
    "apply", "attention", "cells", "rounding", "spiking", "spiking_gradients",
]  # fmt: skip
