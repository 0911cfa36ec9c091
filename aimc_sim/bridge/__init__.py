"""Torch: from a module to a chip, and images through it.

- :mod:`trace` (with ``trace_rules``, ``trace_layers``, ``trace_values``): module to graph
- :mod:`blocks`, :mod:`digital`: a split layer as convolutions; the digital units' operations
- :mod:`calibrate`: a float run that measures the ranges of all integers
- :mod:`plan`: everything that does not depend on the images, once per moment
- :mod:`executor`, :mod:`convert`: images through a plan; charge to integers, two twins
- :mod:`adapt`: batch-norm statistics measured on the chip; :mod:`clipping`: warnings
- :mod:`chip`, :mod:`given`, :mod:`images`, :mod:`report`: what the user holds, gives and gets
"""
