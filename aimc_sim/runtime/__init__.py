"""Torch: images through a placed network.

- :mod:`.chip`: what the user holds, over :mod:`.held`, its state; :mod:`.images`: what it is
  given; :mod:`.chip_report`, :mod:`.explain`, :mod:`.contents`: what it shows
- :mod:`.variants`: programs of the same network for other sizes, on the same devices
- :mod:`.calibrate`: a float run that measures the ranges of all integers; :mod:`.quantisers`
- :mod:`.evaluation`: a chip at a time; :mod:`.plan`: everything that does not depend on the images
- :mod:`.executor`, :mod:`.chunk`: images through a plan; :mod:`.blocks`: a split layer as
  convolutions; :mod:`.convert`: charge to integers, two twins; :mod:`.recurrent`, :mod:`.stream`
- :mod:`.adapt`: batch-norm statistics measured on the chip; :mod:`.clipping`: warnings
- :mod:`.probe`: what every layer gives; :mod:`.replay_values`: values through the pipeline
"""

__all__ = [
    "adapt", "adc", "blocks", "calibrate", "calls", "chip", "chip_report", "chunk", "clipping",
    "contents", "convert", "counts", "evaluation", "executor", "explain", "floating", "given",
    "held", "images", "phases", "plan", "probe", "procedures", "quantisers", "reading", "recurrent",
    "replay_values", "rounding", "sizes", "stream", "survey", "variants", "whole",
]  # fmt: skip
