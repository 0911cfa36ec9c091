"""The rules of all families, by the name of the ATen operation."""

from collections import ChainMap

from aimc_sim.frontend import forms, layers, recurrent, spiking

RULES = ChainMap(layers.RULES, recurrent.RULES, spiking.RULES, forms.RULES)
"""A view: a rule that is replaced in its family is replaced here."""
