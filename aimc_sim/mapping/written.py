"""Products of values whose second factor is written into devices at inference.

``mapping.products`` chooses them by patterns of names; the others stay in the digital units.
Attention becomes three steps: a product with the keys (``NAME.scores``), the softmax
(``NAME.weights``), and a product with the values, which keeps the name. ``matmul`` and ``bmm`` are
such a product already; an ``einsum`` becomes one between steps that order its dimensions. Every
image and head has a matrix of its own, on cores of its own or on such that others release.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import Any

from aimc_sim import patterns
from aimc_sim.chip.program import Block, DigitalStep, WrittenBlock, WrittenProduct
from aimc_sim.errors import CapacityError
from aimc_sim.mapping.lower import Step
from aimc_sim.mapping.pack import pack
from aimc_sim.mapping.split import equal_cuts
from aimc_sim.ops.products import PRODUCTS
from aimc_sim.spec import ChipSpec

MOST = 2**16
"""Rows, columns and matrices of an image at most: the address of a draw has so many."""

_KIND = "product of two values"


def write_products(steps: Sequence[Step], spec: ChipSpec) -> tuple[Step, ...]:
    """Replace the products that are to be written by steps with blocks, on no cores yet.

    Parameters
    ----------
    steps : sequence of AnalogLayer or DigitalStep
        Steps of the program, from :func:`aimc_sim.mapping.lower.lower`.
    spec : ChipSpec
        The machine: ``mapping.products`` and ``written``.

    Returns
    -------
    tuple of AnalogLayer or DigitalStep
        The steps, with a :class:`~aimc_sim.chip.program.WrittenProduct` in the place of a product
        that is written.

    Raises
    ------
    ValueError
        If a pattern fits no product of values, or a product has a form that cannot be written.
    CapacityError
        If a crossbar has too few columns for the slices of one value.
    """
    choices = spec.mapping.products
    if not choices:
        return tuple(steps)
    products = {step.name: names_of(step) for step in steps if _is_product(step)}
    every = sorted({name for names in products.values() for name in names})
    for pattern, _ in choices:
        patterns.check("mapping.products", pattern, every, _KIND)
    done: list[Step] = []
    for step in steps:
        how = "digital"
        for pattern, wanted in choices if step.name in products else ():
            if any(patterns.fits(name, pattern) for name in products[step.name]):
                how = wanted
        if how == "written":
            assert isinstance(step, DigitalStep)  # products are
            done += _with_blocks(_written(step), spec)
        else:
            done.append(step)
    return tuple(done)


def _is_product(step: Step) -> bool:
    """Return whether a step multiplies values with values."""
    return isinstance(step, DigitalStep) and step.op in PRODUCTS and "sizes" in step.attrs


def names_of(step: Step) -> tuple[str, ...]:
    """Return the names by which patterns find a product: its own, its module's, and both."""
    assert isinstance(step, DigitalStep)
    inside = step.attrs.get("inside", "")
    return (step.name, inside, f"{inside}.{step.op}") if inside else (step.name,)


def _refused(step: DigitalStep, fault: str) -> ValueError:
    return ValueError(
        f"mapping.products: '{step.name}' ({step.op}, in '{step.attrs.get('inside', '')}') cannot "
        f"be written: {fault}; leave it digital"
    )


# ------------------------------------------------------------------------- forms of products


def _written(step: DigitalStep) -> Iterator[DigitalStep]:
    """Return the steps in the place of a product; written ones have no blocks yet."""
    if step.op == "scaled_dot_product_attention":
        yield from _attention(step)
    elif step.op == "einsum":
        yield from _einsum(step)
    else:
        left, right = (_source(step, part) for part in step.attrs["args"][:2])
        sizes = step.attrs["sizes"]
        yield _product(
            step, step.name, (step.sources[left], step.sources[right]), sizes[left], sizes[right],
            _free(step, right), (left, right),
        )  # fmt: skip


def _attention(step: DigitalStep) -> Iterator[DigitalStep]:
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    given = {**dict(zip(names, step.attrs["args"], strict=False)), **step.attrs.get("kwargs", {})}
    if given.get("enable_gqa"):
        raise _refused(step, "heads of queries share keys (enable_gqa)")
    query, key, value = (_source(step, given[name]) for name in ("query", "key", "value"))
    mask = given.get("attn_mask")
    sizes, sources = step.attrs["sizes"], step.sources
    scale = given.get("scale")
    scores = f"{step.name}.scores"
    yield _product(
        step, scores, (sources[query], sources[key]), sizes[query], _turned(sizes[key]),
        _turned(_free(step, key)), (query, key), True, "rows" if scale is None else scale,
    )  # fmt: skip
    arrays, read = {}, [scores]
    attrs: dict[str, Any] = {"causal": bool(given.get("is_causal", False))}
    if isinstance(mask, dict) and "array" in mask:
        arrays["mask"] = step.arrays[mask["array"]]
    elif mask is not None:
        read.append(sources[_source(step, mask)])
    weights = f"{step.name}.weights"
    yield DigitalStep(weights, "attention_weights", tuple(read), attrs, arrays, step.modules)
    columns = sizes[key][-2]
    yield _product(
        step, step.name, (weights, sources[value]), [*sizes[query][:-1], columns], sizes[value],
        _free(step, value), (query, value),
    )  # fmt: skip


def _einsum(step: DigitalStep) -> Iterator[DigitalStep]:
    equation, parts = step.attrs["args"][:2]
    left, arrow, out = equation.replace(" ", "").partition("->")
    letters = left.split(",")
    if not arrow or len(letters) != 2 or "." in equation:
        raise _refused(step, f"'{equation}' is no product of two factors with all letters named")
    a, b = letters
    both = [c for c in out if c in a and c in b]
    inner = [c for c in a if c in b and c not in out]
    own = [c for c in a if c not in b], [c for c in b if c not in a]
    counts = len(inner), len(own[0]), len(own[1])
    if counts != (1, 1, 1) or not both or len({*a}) + len({*b}) != len(a) + len(b):
        raise _refused(
            step, f"'{equation}' is no product of matrices: wanted letters of both, and one letter "
            "each that is summed, of the first and of the second factor",
        )  # fmt: skip
    (r,), (t,), (c,) = inner, *own
    if not set(out) == {*both, t, c}:
        raise _refused(step, f"'{equation}' sums over a letter of one factor")
    first, second = (_source(step, part) for part in parts)
    orders = [*both, t, r], [*both, r, c]
    made: list[str] = []
    shapes, free = [], []
    for name, source, own_letters, order in zip(
        ("left", "right"), (first, second), (a, b), orders, strict=True
    ):
        turn = [own_letters.index(letter) for letter in order]
        made.append(f"{step.name}.{name}")
        shapes.append([step.attrs["sizes"][source][d] for d in turn])
        free.append([step.attrs["free"][source][d] for d in turn])
        yield _permuted(step, made[-1], step.sources[source], turn)
        if own_letters.index(order[0]) != (step.attrs["axes"][source] or 0):
            raise _refused(step, f"the batch is not the first letter of both in '{equation}'")
    product = f"{step.name}.product"
    turned = replace(step, attrs={**step.attrs, "axes": [0] * len(step.sources)})
    yield _product(
        turned, product, (made[0], made[1]), shapes[0], shapes[1], free[1], (first, second)
    )  # fmt: skip
    yield _permuted(step, step.name, product, [[*both, t, c].index(letter) for letter in out])


def _permuted(step: DigitalStep, name: str, source: str, order: list[int]) -> DigitalStep:
    attrs = {"args": [{"value": 0}, order], "kwargs": {}}
    return DigitalStep(name, "permute", (source,), attrs, {}, step.modules)


def _source(step: DigitalStep, part: Any) -> int:
    """Return the number of the source that an argument stands for."""
    if not (isinstance(part, dict) and "value" in part):
        raise _refused(step, "a factor is a constant, whose devices could be written once")
    return int(part["value"])


def _free(step: DigitalStep, source: int) -> list[bool]:
    found: list[bool] = step.attrs["free"][source]
    return found


def _turned(sizes: list[Any]) -> list[Any]:
    return [*sizes[:-2], sizes[-1], sizes[-2]]


def _product(
    step: DigitalStep, name: str, sources: tuple[str, str], left: list[int], right: list[int],
    free: list[bool], factors: tuple[int, int], transposed: bool = False, scale: Any = None,
) -> WrittenProduct:  # fmt: skip
    """Return a written product without blocks; sizes are those of one image.

    ``factors`` are the sources of the product as it was that have the batch of the two factors.
    """
    if len(left) < 3 or len(left) != len(right) or left[:-2] != right[:-2]:
        raise _refused(
            step, f"factors of the sizes {left} and {right} per image; wanted equal sizes but for "
            "the last two, of which there is at least the batch",
        )  # fmt: skip
    if any(step.attrs["axes"][source] not in (0, None) for source in factors):
        raise _refused(step, "the batch is not the first dimension of its factors")
    if not all(step.attrs["moves"][source] for source in factors):
        raise _refused(step, "a factor is the same for all images")
    attrs = {
        "transposed": transposed, "scale": scale, "inside": step.attrs.get("inside", ""),
        "heads": prod(left[:-2]), "laid_out": right[-2:], "free": free[-2:],
    }  # fmt: skip
    return WrittenProduct(name, "written_product", sources, attrs, {}, step.modules)


# ------------------------------------------------------------------------------ blocks, cores


def _with_blocks(steps: Iterable[DigitalStep], spec: ChipSpec) -> Iterator[DigitalStep]:
    for step in steps:
        yield (
            replace(step, blocks=_blocks(step, spec)) if isinstance(step, WrittenProduct) else step
        )


def _blocks(step: WrittenProduct, spec: ChipSpec) -> tuple[WrittenBlock, ...]:
    """Cut the matrices of one image into blocks, head by head."""
    slices, core, most = spec.written.slices, spec.core, spec.written.max_tokens
    if core.cols < slices:
        raise CapacityError(
            f"core.cols = {core.cols}: one value takes {slices} columns (written.slices); use "
            "wider crossbars or fewer slices"
        )
    rows, cols = (
        max(size, most) if free and most is not None else size
        for size, free in zip(step.attrs["laid_out"], step.attrs["free"], strict=True)
    )
    if max(rows, cols, step.attrs["heads"]) > MOST:
        raise CapacityError(
            f"'{step.name}' writes {step.attrs['heads']} matrices of {rows} x {cols} values; "
            f"wanted at most {MOST:,} of each, which is what draws have addresses for"
        )
    row_cuts, col_cuts = equal_cuts(rows, core.rows), equal_cuts(cols, core.cols // slices)
    return tuple(
        WrittenBlock(head, -1, top, bottom, left, right, slices * (right - left))
        for head in range(step.attrs["heads"])
        for left, right in pairwise(col_cuts)
        for top, bottom in pairwise(row_cuts)
    )


def place_written(
    steps: Sequence[Step], spec: ChipSpec, taken: Iterable[Block]
) -> tuple[Step, ...]:
    """Give the blocks of written products their cores, the first that no weight lies on.

    Parameters
    ----------
    steps : sequence of AnalogLayer or DigitalStep
        Steps of the program in execution order.
    spec : ChipSpec
        The machine: its cores, ``mapping.blocks_per_core`` and ``written.cores``.
    taken : iterable of Block
        Blocks of weights, on their cores.

    Returns
    -------
    tuple of AnalogLayer or DigitalStep
        The steps, whose written products have cores.

    Raises
    ------
    CapacityError
        If there are too few cores.

    Notes
    -----
    A matrix lives from the step that makes it, which writes it, to the product that reads it. With
    ``written.cores`` "shared" a core is free for the next matrix behind that product.
    """
    products = [step for step in steps if isinstance(step, WrittenProduct)]
    if not products:
        return tuple(steps)
    used = {block.core for block in taken}
    free = [core for core in range(spec.cores) if core not in used]
    spots = {
        step.name: pack(
            [(block.rows, block.cell_columns) for block in step.blocks], spec.core.rows,
            spec.core.cols, spec.mapping.blocks_per_core,
        )
        for step in products
    }  # fmt: skip
    groups = {name: 1 + max(spot.group for spot in found) for name, found in spots.items()}
    cores = _assign(lifetimes(steps), groups, spec.written.cores == "shared")
    needed = 1 + max(max(own) for own in cores.values())
    if needed > len(free):
        raise CapacityError(
            f"matrices that are written at inference need {needed} cores of "
            f"{spec.core.rows}x{spec.core.cols} beside the {len(used)} of weights, the chip "
            f"'{spec.name}' has {spec.cores}; let layers share them (written.cores = 'shared'), "
            "let small blocks share cores (mapping.blocks_per_core), write fewer products "
            f"(mapping.products), or take {-(-(needed + len(used)) // spec.fabric.cores)} chips"
        )
    done = {
        step.name: replace(
            step,
            blocks=tuple(
                replace(block, core=free[cores[step.name][spot.group]])
                for block, spot in zip(step.blocks, spots[step.name], strict=True)
            ),
        )
        for step in products
    }
    return tuple(done.get(step.name, step) for step in steps)


def lifetimes(steps: Sequence[Step]) -> dict[str, tuple[int, int]]:
    """Return when the matrix of every written product lives.

    Parameters
    ----------
    steps : sequence of AnalogLayer or DigitalStep
        Steps of the program in execution order.

    Returns
    -------
    dict of str to (int, int)
        By name of the product, in order of the first number: the step that makes the matrix, and
        the product that reads it, counted from 0; -1 for an input of the network.
    """
    made = {step.name: number for number, step in enumerate(steps)}
    found = {
        step.name: (made.get(step.sources[1], -1), number)
        for number, step in enumerate(steps)
        if isinstance(step, WrittenProduct)
    }
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _assign(
    lives: Mapping[str, tuple[int, int]], groups: Mapping[str, int], shared: bool
) -> dict[str, list[int]]:
    """Return the cores of every product, counted among the free ones."""
    ends: list[int] = []  # of the last matrix on every core
    found: dict[str, list[int]] = {}
    for name, (start, end) in lives.items():
        own = [core for core, until in enumerate(ends) if shared and until < start]
        own = own[: groups[name]]
        own += range(len(ends), len(ends) + groups[name] - len(own))
        ends += [end] * (max([-1, *own]) + 1 - len(ends))
        for core in own:
            ends[core] = end
        found[name] = own
    return found


def with_blocks_of(steps: Sequence[Step], others: Iterable[Step]) -> tuple[Step, ...]:
    """Return steps whose written products have the blocks of others of the same names.

    Parameters
    ----------
    steps : sequence of AnalogLayer or DigitalStep
        Of a network that was recorded for other sizes.
    others : iterable of AnalogLayer or DigitalStep
        Steps of the placed program.

    Raises
    ------
    ValueError
        If a product has no counterpart.
    """
    known = {step.name: step.blocks for step in others if isinstance(step, WrittenProduct)}
    done: list[Step] = []
    for step in steps:
        if isinstance(step, WrittenProduct):
            if step.name not in known:
                raise ValueError(
                    f"'{step.name}' writes a matrix that has no cores on the chip: with inputs of "
                    "these sizes the network is another one; make a chip of its own for them"
                )
            step = replace(step, blocks=known[step.name])
        done.append(step)
    return tuple(done)
