"""Traffic: how many bytes every link carries for one image, and what leaves the chip."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from aimc_sim.chip.fabric import fabric_graph
from aimc_sim.chip.program import Program
from aimc_sim.spec import ChipSpec

Link = tuple[int, int]


@dataclass(frozen=True)
class Traffic:
    """Bytes per image.

    Attributes
    ----------
    unicast : by link (sender, receiver): one copy of the data for every consumer.
    multicast : by link: copies that start at the same core share the links they have in common.
    off_chip : between chips, through the host; one copy for every consumer.
    inside : from block to block of one core, over no link.
    """

    unicast: Mapping[Link, int]
    multicast: Mapping[Link, int]
    off_chip: int
    inside: int

    def busiest(self, multicast: bool = False) -> tuple[Link | None, int]:
        """Return the link with most bytes, and those; (None, 0) if no link is used."""
        loads = self.multicast if multicast else self.unicast
        return max(loads.items(), key=lambda item: item[1], default=(None, 0))


def traffic(compiled: Program, pixels: Mapping[str, int]) -> Traffic:
    """Return what the links carry.

    Parameters
    ----------
    compiled : Program
    pixels : mapping from layer name to output pixels per image (1 for a vector)
        MVMs; where one MVM computes several pixels, their values are already counted as
        channels.
    """
    unicast: Counter[Link] = Counter()
    shared: defaultdict[Link, dict[tuple[str, int, str], int]] = defaultdict(dict)
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
    """Return how many links of the fabric carry nothing (counted per direction)."""
    links = fabric_graph(spec.fabric).number_of_edges() * spec.chips
    used = {link for t in compiled.transfers if not t.off_chip for link in pairwise(t.route)}
    return links - len(used)
