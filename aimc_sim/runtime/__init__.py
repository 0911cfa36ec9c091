"""Torch: images through a placed network.

- :mod:`.chip`: the class for users, over :mod:`.held`, its state; :mod:`.images`, :mod:`.given`:
  checks of inputs; :mod:`.chip_report`, :mod:`.explain`, :mod:`.contents`: records and arrays for
  inspection; :mod:`.spiking_report` with :mod:`.events`: spikes, driven rows, gating
- :mod:`.variants`: programs of the same network for other sizes, on the same devices
- :mod:`.calibrate`: a float run that measures the ranges of all integers; :mod:`.quantisers`
- :mod:`.evaluation`: a chip at a time; :mod:`.plan`: everything that does not depend on the images
- :mod:`.executor`, :mod:`.chunk`: images through a plan; :mod:`.blocks`: a split layer as
  convolutions; :mod:`.convert`: charge to integers, two twins; :mod:`.recurrent`, :mod:`.stream`
- :mod:`.adapt`: batch-norm statistics measured on the chip; :mod:`.clipping`: warnings
- :mod:`.probe`: outputs of every layer; :mod:`.replay_values`: values through the pipeline
"""

__all__ = [
    "adapt", "adc", "blocks", "calibrate", "calls", "chip", "chip_report", "chunk", "clipping",
    "contents", "convert", "counts", "evaluation", "events", "executor", "explain", "floating",
    "given", "held", "images", "neurons", "phases", "plan", "probe", "procedures", "quantisers",
    "reading", "recurrent", "replay_values", "rounding", "sizes", "spiking_report", "stream",
    "survey", "variants", "whole", "written",
]  # fmt: skip
