"""Traffic: the bytes that every link carries for one image, and those that leave the chip."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from aimc_sim.chip.fabric import fabric_graph
from aimc_sim.chip.program import Program
from aimc_sim.spec import ChipSpec

CorePair = tuple[int, int]


@dataclass(frozen=True)
class Traffic:
    """Bytes per image.

    Attributes
    ----------
    unicast : mapping of (int, int) to int
        Bytes by link (sender, receiver), with one copy of the data for every consumer.
    multicast : mapping of (int, int) to int
        Bytes by link, if copies that start at one core share the links that they have in common.
    off_chip : int
        Bytes between chips, through the host, with one copy for every consumer.
    inside : int
        Bytes from block to block of one core, over no link.
    """

    unicast: Mapping[CorePair, int]
    multicast: Mapping[CorePair, int]
    off_chip: int
    inside: int

    def busiest(self, multicast: bool = False) -> tuple[CorePair | None, int]:
        """Return the link that carries the most bytes.

        Parameters
        ----------
        multicast : bool
            Whether copies share links, see the attributes of that name.

        Returns
        -------
        link : (int, int) or None
            Sender and receiver; None if no link is used.
        bytes : int
            Bytes that the link carries per image.
        """
        loads = self.multicast if multicast else self.unicast
        return max(loads.items(), key=lambda item: item[1], default=(None, 0))


def traffic(compiled: Program, pixels: Mapping[str, int]) -> Traffic:
    """Return the bytes that the links carry for one image.

    Parameters
    ----------
    compiled : Program
        A placed and routed program.
    pixels : mapping of str to int
        MVMs per image of every layer, by its name: its output pixels, 1 for a vector. Where one
        MVM computes several pixels, their values are already counted as channels.

    Returns
    -------
    Traffic
        Bytes by link, between chips, and inside cores.

    Raises
    ------
    KeyError
        If ``pixels`` lacks a layer.
    """
    unicast: Counter[CorePair] = Counter()
    shared: defaultdict[CorePair, dict[tuple[str, int, bool], int]] = defaultdict(dict)
    off_chip = inside = 0
    for transfer in compiled.transfers:
        size = transfer.channels * pixels[transfer.value]
        if transfer.off_chip:
            off_chip += size
            continue
        inside += size * (transfer.hops == 0)
        # Partial sums and finished outputs of one core are different data.
        stream = transfer.value, transfer.producer, transfer.kind == "partial_sum"
        for link in pairwise(transfer.route):
            unicast[link] += size
            shared[link][stream] = max(size, shared[link].get(stream, 0))
    multicast = {link: sum(streams.values()) for link, streams in shared.items()}
    return Traffic(dict(unicast), multicast, off_chip, inside)


def unused_links(compiled: Program, spec: ChipSpec) -> int:
    """Return the number of links of the fabric that carry nothing.

    Parameters
    ----------
    compiled : Program
        A placed and routed program.
    spec : ChipSpec
        The machine: its links and the number of chips are read.

    Returns
    -------
    int
        Links, counted per direction.
    """
    links: int = fabric_graph(spec.fabric).number_of_edges() * spec.chips
    used = {link for t in compiled.transfers if not t.off_chip for link in pairwise(t.route)}
    return links - len(used)
