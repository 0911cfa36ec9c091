"""Convolutions as tensor trains on crossbars: cores, utilisation, conversions, energy and time.

    python validation/spiking/tensor_train.py [--work FOLDER]

Networks: a spiking one of the shape of ResNet-18 (64 to 512 channels, images of 32 x 32, four time
steps, convolutions of stride 1 with a max-pool where channels change, as of TT-SNN,
arXiv:2401.08001, READ), and ResNet-32 for CIFAR-10, which does not spike. Their convolutions of
3 x 3 but the first become trains of a quarter and a half of their inputs
(:func:`aimc_sim.transforms.tensor_train`). Every network is mapped twice on cores of the 64-core
chip, as many as it needs: every block on a core of its own, and small blocks on shared cores.
Weights are random: nothing is trained, nothing but mapping is compared, and no row says that a
rank keeps an accuracy.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from comparison import Row, write
from kept import Kept, at_least

import aimc_sim
from aimc_sim import presets
from aimc_sim.chip import ledger
from aimc_sim.chip.ledger.parts import phases
from aimc_sim.spiking import LIF
from aimc_sim.transforms import TensorTrainConv2d, merged, tensor_train
from aimc_sim.zoo import resnet32

HERE = Path(__file__).with_suffix("")
STEPS, SHARED, SIDE = 4, 64, 24
"""Time steps of the spiking network; blocks that may share a core; cores along an edge."""
SHARES = {"plain": None, "r = I/4": 0.25, "r = I/2": 0.5}
NEURONS = {"decay": 0.25, "threshold": 0.5, "batch_first": True}


class Stage(nn.Module):
    """Two convolutions with neurons and a shortcut; a max-pool first where channels change."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        change = inputs != outputs
        self.pool = nn.MaxPool2d(2) if change else nn.Identity()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), norm(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), norm(outputs)
        self.short = nn.Conv2d(inputs, outputs, 1, bias=False) if change else nn.Identity()
        self.lif1, self.lif2 = LIF(**NEURONS), LIF(**NEURONS)

    def forward(self, x: Tensor) -> Tensor:
        """Return spikes (B, T, O, H', W') of spikes (B, T, I, H, W)."""
        steps = x.shape[:2]
        x = self.pool(x.flatten(0, 1))
        y, _ = self.lif1(self.bn1(self.conv1(x)).unflatten(0, steps))
        y = self.bn2(self.conv2(y.flatten(0, 1))) + self.short(x)
        spikes, _ = self.lif2(y.unflatten(0, steps))
        return spikes


class SpikingResNet18(nn.Module):
    """Images (B, T, 3, 32, 32) to scores (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.lif = nn.Conv2d(3, 64, 3, 1, 1), norm(64), LIF(**NEURONS)
        sizes = [64, 64, 64, 128, 128, 256, 256, 512, 512]
        self.stages = nn.Sequential(*map(Stage, sizes[:-1], sizes[1:]))
        self.scores = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        maps = self.bn1(self.conv1(x.flatten(0, 1))).unflatten(0, x.shape[:2])
        spikes, _ = self.lif(maps)
        return self.scores(self.stages(spikes).mean((-1, -2))).mean(1)


def norm(channels: int) -> nn.BatchNorm2d:
    """Return batch norm as it is before training."""
    return nn.BatchNorm2d(channels)


def networks() -> dict[str, tuple[nn.Module, Tensor]]:
    """Return networks in evaluation mode, each with an image."""
    torch.manual_seed(0)
    spiking = SpikingResNet18().eval()
    image = torch.rand(1, 1, 3, 32, 32)
    return {
        "spiking ResNet-18": (spiking, image.expand(-1, STEPS, -1, -1, -1).contiguous()),
        "ResNet-32": (resnet32(), image[:, 0]),
    }


def with_trains(net: nn.Module, share: float | None, form: str, drawn: bool) -> nn.Module:
    """Return a network with trains, or as it is; the first convolution stays."""
    if share is None:
        return net
    pattern = "stages.*" if isinstance(net, SpikingResNet18) else "layer*"
    return tensor_train(net, {pattern: share}, form, drawn=drawn)


# ------------------------------------------------------------------------------ mapping


def machine(shared: int) -> aimc_sim.ChipSpec:
    """Return cores of the 64-core chip, as many as the largest network needs."""
    return presets.hermes("odp").with_({
        "fabric.rows": SIDE, "fabric.cols": SIDE, "mapping.blocks_per_core": shared,
    })  # fmt: skip


def pixels_of(net: nn.Module, image: Tensor) -> dict[str, int]:
    """Return MVMs per image of every layer, by its path: output pixels of all time steps."""
    found: dict[str, int] = {}

    def note(path: str) -> Any:
        def hook(layer: nn.Module, _: Any, y: Tensor) -> None:
            outputs = y.shape[1] if isinstance(layer, nn.Conv2d) else y.shape[-1]
            found[path] = y.numel() // outputs

        return hook

    handles = [
        layer.register_forward_hook(note(path)) for path, layer in net.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]  # fmt: skip
    with torch.no_grad():
        net(image)
    for handle in handles:
        handle.remove()
    return found


def mapped(net: nn.Module, image: Tensor, shared: int) -> dict[str, float]:
    """Return the numbers of one mapping."""
    chip = aimc_sim.Chip.from_model(net, machine(shared), example=image)
    compiled, spec, pixels = chip.compiled, chip.spec, pixels_of(net, image)
    found = ledger.estimate(compiled, spec, pixels)
    cells = sum(math.prod(block.footprint) for block in compiled.blocks)
    used = len({block.core for block in compiled.blocks})
    whole = spec.core.rows * spec.core.cols
    columns = conversions = joules = 0
    for layer in compiled.layers:
        own, count = spec.for_layer(layer.owner), pixels[layer.name]
        for block in layer.blocks:
            columns += count * block.footprint[1]
            conversions += count * block.footprint[1] * phases(own.core)
            joules += count * ledger.mvm_parts(own, *block.footprint).joules
    return {
        "weights": sum(layer.weight.size for layer in compiled.layers),
        "blocks": len(compiled.blocks), "cores": used, "utilisation": cells / (used * whole),
        "columns": columns, "conversions": conversions, "used joules": joules,
        "mvms": found.energies.core_mvms, "joules": found.energies.joules,
        "mvm joules": found.energies.mvm_joules, "interval": found.interval_seconds,
        "latency": sum(
            pixels[layer.name] * ledger.operation_seconds(
                max(block.footprint[1] for block in layer.blocks),
                max(len(chain) for chain in layer.chains), spec.for_layer(layer.owner),
            ) for layer in compiled.layers
        ),
    }  # fmt: skip


def columns_of(net: nn.Module, image: Tensor) -> int:
    """Return the columns converted per image, from sizes alone: 256 rows, whole channels."""
    pixels, total = pixels_of(net, image), 0
    for path, layer in net.named_modules():
        if path in pixels:
            channels = 256 // layer.weight[0, 0].numel()  # of a block of rows
            blocks = math.ceil(layer.weight.shape[1] / channels)
            total += pixels[path] * len(layer.weight) * blocks
    return total


def parity(net: nn.Module) -> dict[str, float]:
    """Return how far trains of a network are from their merged kernels, and from given weights."""
    found = {"float64": 0.0, "float32": 0.0, "corners": 0.0, "exact": 0.0}
    draw = torch.Generator().manual_seed(3)
    for form in ("sequential", "parallel"):
        train = with_trains(net, 0.25, form, drawn=False).double()
        plain = merged(train)
        for path, one in train.named_modules():
            if not isinstance(one, TensorTrainConv2d):
                continue
            x = torch.randn(1, one.enter.in_channels, 8, 8, dtype=torch.float64, generator=draw)
            with torch.no_grad():
                wanted = plain.get_submodule(path)(x)
                found["float64"] = max(found["float64"], _share(one(x), wanted))
                found["float32"] = max(found["float32"], _share(one.float()(x.float()), wanted))
                if form == "parallel":
                    corners = one.kernel()[:, :, ::2, ::2].abs().max()
                    found["corners"] = max(found["corners"], float(corners))
    for layer in (net.layer1[0].conv1, net.layer2[0].conv1, net.layer3[0].conv2):
        whole = TensorTrainConv2d(layer.in_channels, layer.out_channels, 9 * 64).double()
        found["exact"] = max(found["exact"], whole.decompose(layer.weight))
    return found


def _share(found: Tensor, wanted: Tensor) -> float:
    """Return the largest difference as a share of the largest number."""
    return float((found.double() - wanted).abs().max() / wanted.abs().max())


def compared() -> dict[str, Any]:
    """Return the numbers of all networks, forms and mappings."""
    found: dict[str, Any] = {}
    for name, (net, image) in networks().items():
        for share, rank in SHARES.items():
            forms = ("sequential",) if rank is None else ("sequential", "parallel")
            for form in forms:
                one = with_trains(net, rank, form, drawn=True)
                label = share if rank is None else f"{share}, {form}"
                expected = sum(
                    layer.ranks[0] * (layer.enter.in_channels + layer.leave.out_channels)
                    + 6 * layer.ranks[0] ** 2
                    for layer in one.modules() if isinstance(layer, TensorTrainConv2d)
                )  # fmt: skip
                trains = sum(
                    factor.weight.numel() for layer in one.modules()
                    if isinstance(layer, TensorTrainConv2d) for factor in layer.factors
                )  # fmt: skip
                found[f"{name}: {label}"] = {
                    "trains": trains, "closed form": expected,
                    "columns": columns_of(one, image),
                    "own": mapped(one, image, 1), "shared": mapped(one, image, SHARED),
                }  # fmt: skip
                print(name, label, found[f"{name}: {label}"], flush=True)
    return found


# ------------------------------------------------------------------------------- table


def rows_of(near: dict[str, float], found: dict[str, Any]) -> list[Row]:
    """Return the rows."""
    rows = [
        Row("trains and their merged kernels, float64 (share of the largest output)", 0.0,
            near["float64"], 1e-12, "ResNet-32, r = I/4, both forms, every layer",
            "self-consistency", 1e-6),
        Row("trains and their merged kernels, float32", 0.0, near["float32"], 1e-6,
            "the same", "self-consistency", 1e-3),
        Row("error of full ranks (share of the kernel)", 0.0, near["exact"], 1e-12,
            "sequential, three layers", "self-consistency", 1e-3),
        Row("corners of the parallel form's kernels", 0.0, near["corners"], 0.0,
            "zero whatever the rank", "self-consistency", 1e-3),
        Row("weights of all trains less r (I + O) + 6 r^2", 0.0,
            max(abs(one["trains"] - one["closed form"]) for one in found.values()), 0.0,
            "every network and rank", "self-consistency", 1.0),
    ]  # fmt: skip
    for name in ("spiking ResNet-18", "ResNet-32"):
        plain, train = found[f"{name}: plain"], found[f"{name}: r = I/4, sequential"]
        ours = "as found; r = I/4, sequential"
        shared = train["shared"]["cores"] / plain["shared"]["cores"]
        rows += [
            Row(f"{name}: cores of trains / plain, shared cores", 0.0, shared, 0.999,
                f"below 1; {ours}", "self-consistency", 1.0),
            at_least(f"{name}: core MVMs of trains / plain", 1.001,
                     train["own"]["mvms"] / plain["own"]["mvms"], "times", ours, 1.0),
        ]  # fmt: skip
    plain, train = found["ResNet-32: plain"], found["ResNet-32: r = I/4, sequential"]
    return [
        *rows,
        at_least("ResNet-32: conversions of trains / plain", 1.001,
                 train["own"]["conversions"] / plain["own"]["conversions"], "times",
                 "as found; r = I/4, sequential", 1.0),
        Row("columns converted, all networks, less outputs x row blocks of every layer",
            0.0, max(abs(one["own"]["columns"] - one["columns"]) for one in found.values()), 0.0,
            "closed form, from sizes alone; row blocks hold whole channels", "self-consistency",
            256.0),
    ]  # fmt: skip


def notes(found: dict[str, Any], kept: Kept) -> str:
    """Return the paragraphs below the table."""
    text = (
        f"Shared: up to {SHARED} blocks on a core, which take turns. Utilisation: cells of blocks "
        "in those of the cores in use. Conversions: columns of blocks times phases of an MVM (four "
        "for numbers, two for spikes, as if all phases had inputs). Energy and time are a model, "
        "not measured: whole arrays (in brackets: MVMs of the rows and columns in use), static "
        "power for the interval of a full pipeline; layer by layer is the latency of all MVMs, one "
        "after the other. Other layers in other time steps (HTT) are not built.\n\n"
        "| network | weights | blocks | cores, own / shared | utilisation, own / shared | core "
        "MVMs | columns | conversions | energy, own / shared (mJ) | of it MVMs (mJ) | interval, "
        f"own / shared (ms) | layer by layer (ms) |\n{'|---' * 12}|\n"
    )
    for name, one in found.items():
        a, b = one["own"], one["shared"]
        text += (
            f"| {name} | {a['weights']:,} | {a['blocks']} | {a['cores']} / {b['cores']} | "
            f"{a['utilisation']:.1%} / {b['utilisation']:.1%} | {a['mvms']:,} | "
            f"{a['columns']:,} | {a['conversions']:,} | {a['joules'] * 1e3:.3g} / "
            f"{b['joules'] * 1e3:.3g} | {a['mvm joules'] * 1e3:.3g} ({a['used joules'] * 1e3:.3g}) "
            f"| {a['interval'] * 1e3:.3g} / {b['interval'] * 1e3:.3g} "
            f"| {a['latency'] * 1e3:.3g} |\n"
        )
    return text + "\n" + found_text(found) + "\n\n" + kept.cost()


def found_text(found: dict[str, Any]) -> str:
    """Return what the numbers say, as a paragraph."""
    text = []
    for name in ("spiking ResNet-18", "ResNet-32"):
        plain, train = found[f"{name}: plain"], found[f"{name}: r = I/4, sequential"]
        own, shared = (
            {key: train[how][key] / plain[how][key]
             for key in ("cores", "conversions", "mvms", "joules", "used joules", "interval")}
            for how in ("own", "shared")
        )  # fmt: skip
        text.append(
            f"{name}, r = I/4, beside plain convolutions: {own['cores']:.2f} times the cores where "
            f"blocks have their own and {shared['cores']:.2f} times where they share, "
            f"{own['mvms']:.2f} times the MVMs, {own['conversions']:.2f} times the conversions, "
            f"{own['joules']:.2f} and {shared['joules']:.2f} times the energy, that of the MVMs of "
            f"rows and columns in use {own['used joules']:.2f} times, "
            f"{own['interval']:.2f} and {shared['interval']:.2f} times the interval."
        )
    return " ".join([
        *text, "Conversions rise where a plain kernel fits a few cores, as in ResNet-32, and fall "
        "where it is cut into many blocks of rows, whose partial sums are all converted: 19 blocks "
        "for 512 channels. Only the first factor of a train reads spikes: the others read sums, "
        "through modulators of eight bits and in more phases, so that a spiking network loses its "
        "short pulses with them.",
    ])  # fmt: skip


def main() -> None:
    """Map, compare, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    kept = Kept(given.work)
    near = kept.run("parity", lambda: parity(networks()["ResNet-32"][0]))
    found = kept.run("mappings", compared)
    command = "python validation/spiking/tensor_train.py"
    title = "Convolutions as tensor trains"
    raise SystemExit(not write(HERE, title, command, rows_of(near, found), notes(found, kept)))


if __name__ == "__main__":
    main()
