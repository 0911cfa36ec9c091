"""Learning in the arrays: a torch network whose weights are simulated devices, pulse by pulse.

``prepare(model, spec, update)`` moves the weights onto devices, ``SGD`` steps them by pulses.

================  ==========================================================================
file              contents
================  ==========================================================================
``synapses``      the interface of an array of devices that receives pulses
``engine``        the interface of an update: from activations and errors to pulses
``products``      outer products of activations and errors: exact, from random bits (ESSOP)
``cost``          energy of outer products in multipliers and from random bits
``grapes``        errors modulated by the weights that a node drives (GRAPES)
``ostl``          gradients of spiking units forward in time (OSTL)
``timing``        spike times of one layer of neurons (NormAD)
``plasticity``    STDP of one neuron, with fatigue or without
``digital``       plain torch networks whose weight gradients are made by such a product
``pairs``         pairs of phase-change devices, one or several per polarity, that go up only
``ideal``         controls: equal steps, and the update without pulses
``mixed``         mixed precision: a digital accumulator, exact counts of pulses
``essop``         mixed precision whose outer products are made from random bits
``steps``         devices that pulses move step by step, both ways or as pairs
``reading``       the converter behind reads of rows
``trains``        activations and errors as random pulse trains
``stochastic``    gradient descent by coincident pulses
``transfer``      Tiki-Taka, chopped Tiki-Taka, AGAD: a fast and a slow array
``clock``         time of training
``crossbars``     one matrix: products both ways, converters, gradients, state
``layers``        dense and convolutional layers
``optimizer``     gradient descent by pulses
``network``       ``prepare`` and the network that it returns
``chips``         a chip of the devices that were trained
``learning_report``  pulses, writes, time and energy, beside a digital update
``saving``        ``save`` and ``load``
``course``        the course of a training, beside float
================  ==========================================================================
"""

from aimc_sim.learning.clock import Clock
from aimc_sim.learning.crossbars import ArrayWeight
from aimc_sim.learning.engine import Engine, Update
from aimc_sim.learning.essop import ESSOP
from aimc_sim.learning.grapes import Grapes
from aimc_sim.learning.ideal import Exact, IdealDevice
from aimc_sim.learning.learning_report import LearningReport
from aimc_sim.learning.mixed import MixedPrecision
from aimc_sim.learning.network import ArrayNetwork, prepare
from aimc_sim.learning.optimizer import SGD
from aimc_sim.learning.ostl import OSTL
from aimc_sim.learning.pairs import PcmPairs
from aimc_sim.learning.plasticity import STDP, PlasticNeuron
from aimc_sim.learning.products import ExactProduct, OuterProduct, StochasticProduct
from aimc_sim.learning.reading import Reading
from aimc_sim.learning.saving import load, save
from aimc_sim.learning.steps import StepDevices
from aimc_sim.learning.stochastic import StochasticPulses
from aimc_sim.learning.synapses import Device, Spent, Synapses
from aimc_sim.learning.timing import TimedLayer
from aimc_sim.learning.transfer import AGAD, TikiTaka

__all__ = [
    "AGAD",
    "ESSOP",
    "OSTL",
    "SGD",
    "STDP",
    "ArrayNetwork",
    "ArrayWeight",
    "Clock",
    "Device",
    "Engine",
    "Exact",
    "ExactProduct",
    "Grapes",
    "IdealDevice",
    "LearningReport",
    "MixedPrecision",
    "OuterProduct",
    "PcmPairs",
    "PlasticNeuron",
    "Reading",
    "Spent",
    "StepDevices",
    "StochasticProduct",
    "StochasticPulses",
    "Synapses",
    "TikiTaka",
    "TimedLayer",
    "Update",
    "load",
    "prepare",
    "save",
]  # fmt: skip
