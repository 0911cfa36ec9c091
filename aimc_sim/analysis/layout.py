"""Where a network went, as a record: cores, links, bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from aimc_sim import markup
from aimc_sim.chip.fabric import describe_links
from aimc_sim.chip.program import AnalogLayer, Program
from aimc_sim.mapping.traffic import Traffic, traffic, unused_links
from aimc_sim.spec import ChipSpec


@dataclass(frozen=True)
class LayerPlace:
    """One analog layer on the chip.

    Attributes
    ----------
    name : str
        Path of the torch module.
    rows, cols : int
        Size of its weights, as they lie in crossbars.
    patch : int
        Output pixels per MVM and direction.
    mvms : int or None
        MVMs per image, on each of its cores; None without an input shape.
    cores : tuple of int
        Core of every block, column block by column block, head to tail.
    cells : float
        Share of the cells of its cores that hold its weights.
    """

    name: str
    rows: int
    cols: int
    patch: int
    mvms: int | None
    cores: tuple[int, ...]
    cells: float


@dataclass(frozen=True)
class Layout:
    """Result of :func:`layout`; print it or ``.to_dict()``.

    Attributes
    ----------
    name, fabric : str
        Names of the machine and of its fabric.
    layers : tuple of LayerPlace
        Analog layers, in the order of the program.
    cores_used, cores_available, chips : int
        Cores with weights, cores of all chips, and the number of chips.
    transfers : mapping from str to int
        Number of transfers by kind.
    hops : mapping from int to int
        Number of transfers by links crossed; 0 is inside a core.
    off_chip_transfers : int
        Number of transfers between chips.
    links, unused_links : int
        Links of the fabric, and those of them that carry nothing.
    traffic : Traffic or None
        Bytes per image and link; None without an input shape.
    """

    name: str
    fabric: str
    layers: tuple[LayerPlace, ...]
    cores_used: int
    cores_available: int
    chips: int
    transfers: Mapping[str, int]
    hops: Mapping[int, int]
    off_chip_transfers: int
    links: int
    unused_links: int
    traffic: Traffic | None

    @property
    def one_hop(self) -> bool:
        """Whether no transfer needs more than one link."""
        return max(self.hops, default=0) <= 1 and self.off_chip_transfers == 0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        loads = self.traffic
        found = {k: v for k, v in asdict(self).items() if k not in ("traffic", "hops", "transfers")}
        found["transfers"] = dict(self.transfers)
        found["hops"] = {str(n): count for n, count in sorted(self.hops.items())}
        found["one_hop"] = self.one_hop
        found["traffic"] = loads and {
            "links": [
                {"from": a, "to": b, "bytes": size, "multicast_bytes": loads.multicast[a, b]}
                for (a, b), size in sorted(loads.unicast.items())
            ],
            "off_chip_bytes": loads.off_chip,
            "inside_bytes": loads.inside,
        }
        return found

    def _facts(self) -> list[tuple[str, str]]:
        """Return everything but the layers, in the order of the text."""
        hops = ", ".join(
            f"{count} over {n} link{'s' * (n != 1)}" if n else f"{count} inside a core"
            for n, count in sorted(self.hops.items())
        )
        kinds = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in self.transfers.items())
        chips = f" on {self.chips} chips" if self.chips > 1 else ""
        apart = f"; {self.off_chip_transfers} between chips" if self.off_chip_transfers else ""
        found = [
            ("cores", f"{self.cores_used} of {self.cores_available}{chips}"),
            ("fabric", self.fabric),
            ("links", f"{self.links - self.unused_links} of {self.links} carry data"),
            ("transfers", kinds or "none"),
            ("distance", f"{hops or '-'}{apart}"),
        ]
        if self.traffic is not None:
            found.append(("busiest link", self._busiest()))
            if self.off_chip_transfers:
                found.append(("between chips", f"{self.traffic.off_chip:,} bytes per image"))
        return found

    _repr_pretty_ = markup.printed

    def _repr_html_(self) -> str:
        layers = [
            (
                layer.name, f"{layer.rows}x{layer.cols}",
                "-" if layer.mvms is None else f"{layer.mvms:,}", f"{layer.cells:.0%}",
                f"{layer.patch} x {layer.patch}", " ".join(map(str, layer.cores)),
            )
            for layer in self.layers
        ]  # fmt: skip
        columns = ("layer", ">matrix", ">MVMs", ">cells", ">pixels per MVM", "cores")
        return markup.display(
            "Layout", self.name, markup.facts(self._facts()),
            markup.table(columns, layers, rest=".layers"),
        )  # fmt: skip

    def __str__(self) -> str:
        width = max(5, *(len(layer.name) for layer in self.layers))
        lines = [
            *markup.lines(self._facts()), "", f"{'layer':<{width}}      matrix   MVMs  cells  cores"
        ]  # fmt: skip
        for layer in self.layers:
            size = f"{layer.rows}x{layer.cols}"
            mvms = "-" if layer.mvms is None else f"{layer.mvms:,}"
            cores = " ".join(map(str, layer.cores))
            lines.append(
                f"{layer.name:<{width}}  {size:>10}  {mvms:>5}  {layer.cells:5.0%}  {cores}"
                + (f"  ({layer.patch} x {layer.patch} pixels per MVM)" if layer.patch > 1 else "")
            )
        return "\n".join(lines)

    def _busiest(self) -> str:
        assert self.traffic is not None  # asked for with traffic only
        link, size = self.traffic.busiest()
        if link is None:
            return "none"
        shared = self.traffic.busiest(multicast=True)[1]
        return f"{link[0]} to {link[1]}: {size:,} bytes per image ({shared:,} with multicast)"


def layout(compiled: Program, spec: ChipSpec, mvms: Mapping[str, int] | None = None) -> Layout:
    """Describe where a network went.

    Parameters
    ----------
    compiled : Program
        For example ``chip.compiled``.
    spec : ChipSpec
    mvms : mapping from layer name to MVMs per image, optional
        From :func:`aimc_sim.mapping.shapes.output_pixels`; without it bytes are unknown.
    """
    cells = spec.core.rows * spec.core.cols

    def place(layer: AnalogLayer) -> LayerPlace:
        cores = tuple(block.core for block in layer.blocks)
        rows, cols = layer.weight.shape
        return LayerPlace(
            layer.name, rows, cols, layer.patch, mvms[layer.name] if mvms else None, cores,
            layer.weight.size / (len(set(cores)) * cells),
        )  # fmt: skip

    unused = unused_links(compiled, spec)
    used = {link for t in compiled.transfers if not t.off_chip for link in pairwise(t.route)}
    return Layout(
        name=spec.name,
        fabric=describe_links(spec.fabric),
        layers=tuple(place(layer) for layer in compiled.layers),
        cores_used=compiled.cores_used,
        cores_available=compiled.cores_available,
        chips=spec.chips,
        transfers=dict(Counter(t.kind for t in compiled.transfers)),
        hops=dict(Counter(t.hops for t in compiled.transfers if not t.off_chip)),
        off_chip_transfers=sum(t.off_chip for t in compiled.transfers),
        links=unused + len(used),
        unused_links=unused,
        traffic=None if mvms is None else traffic(compiled, mvms),
    )
