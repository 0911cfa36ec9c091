"""The whole way from a network to a program for a chip."""

from __future__ import annotations

from aimc_sim.chip.program import Program, leaves, own_blocks
from aimc_sim.mapping.graph import ANALOG, Network
from aimc_sim.mapping.lower import lower
from aimc_sim.mapping.place import place
from aimc_sim.mapping.replicate import replicate
from aimc_sim.mapping.route import route
from aimc_sim.mapping.spikes import check_attention
from aimc_sim.mapping.split import split
from aimc_sim.mapping.written import place_written, write_products
from aimc_sim.spec import ChipSpec


def compile_network(network: Network, spec: ChipSpec) -> Program:
    """Compile a network into a program for a chip.

    Parameters
    ----------
    network : Network
        The graph, from :func:`aimc_sim.frontend.trace` or built by hand.
    spec : ChipSpec
        The machine: size and number of its cores, their links, and how to map.

    Returns
    -------
    Program
        Steps with placed blocks, and the transfers between cores.

    Raises
    ------
    UnsupportedLayerError
        If attention of spikes reads something else.
    CapacityError
        If the network needs more cores than the chip has.
    MappingError
        If ``mapping.placement`` asks for direct links and there is no such placement.
    ValueError
        If the network has no layer with weights for a crossbar, or a pattern or a core of the
        ``mapping`` settings does not exist.
    """
    steps, results = lower(network)
    check_attention(steps)
    if spec.mapping.replicate:
        steps, results = replicate(steps, results, spec.mapping.replicate)
    steps = write_products(steps, spec)
    if not any(node.op in ANALOG for node in network.nodes):
        raise ValueError(
            "the network has no convolution, linear or recurrent layer, so nothing would run on "
            "the cores; expected at least one"
        )
    steps, paths = place(split(steps, spec), spec)
    steps = place_written(steps, spec, own_blocks(steps))
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
