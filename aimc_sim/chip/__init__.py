"""The chip: cores, links, and the program they run.

- :mod:`fabric`: which cores are linked
- :mod:`program`: the program format: layers, blocks, transfers
- :mod:`state`: what the chip holds when it is calibrated and programmed
- :mod:`gdpu`: the global digital unit: tanh table, LSTM tail
- :mod:`pipeline`: what fires when: schedules, line buffers, events
- :mod:`ledger`: what work costs: time and energy of every event
"""

__all__ = [
    "fabric", "gdpu", "gdpu_cells", "ledger", "pipeline", "program", "state",
]  # fmt: skip
