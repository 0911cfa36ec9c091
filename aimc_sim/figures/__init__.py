"""Figures: the one place where anything is drawn, one file per kind of figure.

===============  =============================================================================
file             content
===============  =============================================================================
``canvas``       colours, markers and dashes; values at the pointer
``output``       figures as files
``svg``          a figure as SVG text: alone, or inside a page whose theme it follows
``axes``         a logarithmic axis of times with room for "now"; names side by side
``lines``        means with intervals, along times, layers or questions
``accuracy``     a metric against time after programming
``waterfall``    cost of effects and layers, step by step
``floorplan``    which block sits on which core; how busy cores and links are
``pipeline``     which layer works on which image, when
``energy``       energy by component and layer
``roofline``     layers against the limits of a core
``pareto``       designs and their front
``devices``      measured devices, and the laws fitted to them
``spikes``       raster of spikes, membranes over time, energy per spike
``learning``     a training on arrays: accuracy, pulses, writes, weights, drift
===============  =============================================================================

Every function returns a matplotlib ``Figure`` and needs no display; ``path`` also writes it.
Nothing is told apart by colour alone: curves have markers and dashes, bars and cores have names.
"""

__all__ = [
    "accuracy", "axes", "canvas", "devices", "energy", "floorplan", "learning", "lines", "output",
    "pareto", "pipeline", "roofline", "spikes", "svg", "waterfall",
]  # fmt: skip
