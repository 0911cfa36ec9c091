"""Sums of multiples of rows, by tiles of columns whose sums stay in registers.

``out[c] += a[0] m[i[0], c] + a[1] m[i[1], c] + ...`` one after the other, as plain loops have it:
every column is a sum of its own, so that tiles of any width have equal bits. Written in loops, the
compiler keeps the sums in memory, since it cannot exclude that ``out`` lies within ``m``.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils, errors, types
from numba.extending import intrinsic

from . import point
from .math32 import f32


def _tile(lanes: int) -> Callable[..., None]:
    """Return the sum over a tile of so many columns; arguments as of :func:`add_rows`."""

    @intrinsic
    def tile(_, a, i, n, m, out, first):
        if m.layout != "C" or out.layout != "C":
            raise errors.TypingError(f"rows {m} and their sum {out} must be contiguous")

        def codegen(context, builder, signature, values):
            kinds, freedom = signature.args, ["contract", "nsz"]
            factors, places, rows, target = (
                context.make_array(kinds[k])(context, builder, values[k]) for k in (0, 1, 3, 4)
            )
            vector = ir.VectorType(ir.FloatType(), lanes)
            nothing, pointer = ir.Constant(vector, ir.Undefined), vector.as_pointer()
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
            columns = builder.extract_value(rows.shape, 1)
            row = builder.gep(rows.data, [values[5]])
            place = builder.bitcast(builder.gep(target.data, [values[5]]), pointer)
            total = cgutils.alloca_once_value(builder, builder.load(place, align=4))
            with cgutils.for_range(builder, values[2]) as turn:
                factor = builder.load(builder.gep(factors.data, [turn.index]))
                number = builder.load(builder.gep(places.data, [turn.index]))
                one = builder.insert_element(nothing, factor, ir.Constant(ir.IntType(32), 0))
                factor = builder.shuffle_vector(one, nothing, zeros)
                source = builder.gep(row, [builder.mul(number, columns)])
                term = builder.load(builder.bitcast(source, pointer), align=4)
                term = builder.fmul(factor, term, flags=freedom)
                term = builder.fadd(builder.load(total), term, flags=freedom)
                builder.store(term, total)
            builder.store(builder.load(total), place, align=4)
            return context.get_dummy_value()

        return types.void(a, i, types.intp, m, out, types.intp), codegen

    return tile  # type: ignore[no-any-return]  # numba has no types


_tile64, _tile32, _tile16 = _tile(64), _tile(32), _tile(16)
_tile8, _tile4, _tile2, _tile1 = _tile(8), _tile(4), _tile(2), _tile(1)


@point
def add_rows(a, i, n, m, out):
    """Add ``a[k]`` times row ``i[k]`` to a vector, for ``k = 0 ... n - 1`` in this order.

    a : float32 and i : int64, at least n; m : (R, C) float32 in C order; out : (C,) float32,
    contiguous, updated, no part of m.
    """
    cols, first = m.shape[1], 0
    while cols - first >= 64:
        _tile64(a, i, n, m, out, first)
        first += 64
    if cols - first >= 32:
        _tile32(a, i, n, m, out, first)
        first += 32
    if cols - first >= 16:
        _tile16(a, i, n, m, out, first)
        first += 16
    if cols - first >= 8:
        _tile8(a, i, n, m, out, first)
        first += 8
    if cols - first >= 4:
        _tile4(a, i, n, m, out, first)
        first += 4
    if cols - first >= 2:
        _tile2(a, i, n, m, out, first)
        first += 2
    if cols - first >= 1:
        _tile1(a, i, n, m, out, first)


@point
def others_than_zero(x, a, i):
    """Write the values of a vector that are not zero, and their places; return how many.

    x : (N,) float32; a : (N,) float32 and i : (N,) int64, written. There is no branch: half of
    the activations are zeros, in no order that a processor could guess.
    """
    n = 0
    for r in range(x.size):
        a[n] = x[r]
        i[n] = r
        n += int(x[r] != f32(0.0))
    return n
