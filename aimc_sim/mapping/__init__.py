"""Where a network goes on the chip. Knows the chip's program format, not torch.

Read in the order of the flow::

    graph.Network --lower--> steps --replicate, split--> blocks --pack, place--> cores
                  --route--> Program

- :mod:`graph`: the network as named operations on numpy arrays
- :mod:`lower`: batch norm, bias, residual addition and ReLU move into the analog layers
- :mod:`replicate`: a patch of output pixels per MVM instead of one
- :mod:`split`: weights larger than a crossbar become near-equal blocks
- :mod:`pack`: small blocks share a core
- :mod:`place`: a core for every block; :mod:`task`: what decides it, and what was found before;
  :mod:`shorten`: by annealing; :mod:`direct`: on direct links only
- :mod:`route`: who sends what to whom, over which links; :mod:`traffic`: how many bytes

Beside the flow: :mod:`where` (which layers go on crossbars), :mod:`named` (the layouts of the chip
paper), :mod:`embedding` (one link for every flow, exactly), and for the pipeline :mod:`shapes`,
:mod:`control` (which data waits for which) and :mod:`schedule`.
"""

from __future__ import annotations

from aimc_sim.chip.program import Program, leaves
from aimc_sim.mapping.graph import ANALOG, Network, Node
from aimc_sim.mapping.lower import lower
from aimc_sim.mapping.place import place
from aimc_sim.mapping.replicate import replicate
from aimc_sim.mapping.route import route
from aimc_sim.mapping.split import split
from aimc_sim.spec import ChipSpec

__all__ = ["Network", "Node", "compile_network"]


def compile_network(network: Network, spec: ChipSpec) -> Program:
    """Compile a network into a program for a chip.

    Parameters
    ----------
    network : Network
        From :func:`aimc_sim.frontend.trace`, or built by hand.
    spec : ChipSpec
        Size of the cores, number of cores and links between them.

    Returns
    -------
    Program
        Steps with placed blocks, and the transfers between cores.

    Raises
    ------
    CapacityError
        If the network needs more cores than the chip has.
    MappingError
        If ``mapping.placement`` asks for direct links and there is no such placement.
    ValueError
        If the network has no convolution or linear layer.
    """
    steps, results = lower(network)
    if spec.mapping.replicate:
        steps, results = replicate(steps, results, spec.mapping.replicate)
    if not any(node.op in ANALOG for node in network.nodes):
        raise ValueError(
            "the network has no convolution, linear or recurrent layer, so nothing would run on "
            "the cores; expected at least one"
        )
    steps, paths = place(split(steps, spec), spec)
    return Program(
        input=network.input,
        output=leaves(results)[0][0],
        steps=steps,
        transfers=route(steps, spec, paths),
        cores_available=spec.cores,
        inputs=network.inputs,
        axis=network.axis,
        results=results,
        axes=network.axes,
        conditions=network.conditions,
    )
