"""Learning in the arrays: a torch network whose weights are simulated devices, pulse by pulse.

================  ==========================================================================
file              contents
================  ==========================================================================
``synapses``      the interface of an array of devices that receives pulses
``engine``        the interface of an update: from activations and errors to pulses
``products``      outer products of activations and errors: exact, from random bits (ESSOP)
``grapes``        errors modulated by the weights that a node drives (GRAPES)
``ostl``          gradients of spiking units forward in time (OSTL)
``digital``       plain torch networks whose weight gradients are made by such a product
================  ==========================================================================
"""
