"""The chip: cores, links, and the program they run.

- :mod:`fabric`: which cores are linked
- :mod:`program`: the program format: layers, blocks, transfers
- :mod:`state`: the contents of a chip that is calibrated and programmed
- :mod:`gdpu`: the global digital unit: tanh table, LSTM tail; :mod:`gdpu_cells`: other cells
- :mod:`membranes`: spiking neurons in a digital unit
- :mod:`pipeline`: schedules, line buffers, events
- :mod:`ledger`: cost of the work: time and energy of every event
"""

__all__ = [
    "fabric", "gdpu", "gdpu_cells", "ledger", "membranes", "pipeline", "program", "state",
]  # fmt: skip
