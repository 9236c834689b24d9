"""A few rows times a matrix, `out += left right`, with the sums kept in registers.

BLAS copies the matrix first, at every call; for eight rows that costs more than the product. And in loops over arrays
LLVM does not find the sums that could stay in registers: so it gets them here as vectors, a few rows by two vectors.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import binding, ir
from numba import types
from numba.core.cgutils import alloca_once, for_range
from numba.core.typing import Signature
from numba.extending import intrinsic

from neurosim.engine.compiling import gradient

# bytes of a vector, and rows at a time: with 32 registers of 512 bits, or 16 of 256
_WIDE = binding.get_host_cpu_features().get("avx512f", False)
_BYTES, ROWS = (64, 8) if _WIDE else (32, 4)


def _tile(rows: int, vectors: int) -> Callable:
    """`rows` rows of out from the row `first` on, `vectors` vectors from `column` on (0: one number): an intrinsic.

    ``out[r, c] = start[r, c] + sum over k from begin to end of left[r, k] right[k, c]``, all contiguous.
    """

    @intrinsic
    def tile(typing_context, out, start, left, right, first, column, begin, end):
        def generate(context: object, builder: ir.IRBuilder, signature: Signature, arguments: tuple) -> ir.Constant:
            def number(value: int) -> ir.Constant:
                return ir.Constant(ir.IntType(64), value)

            def place(array: object, row: ir.Value, at: ir.Value, kind: ir.Type) -> ir.Value:
                width = builder.extract_value(array.shape, 1)
                pointer = builder.gep(array.data, [builder.add(builder.mul(row, width), at)])
                return builder.bitcast(pointer, kind.as_pointer())

            scalar, align = context.get_value_type(out.dtype), out.dtype.bitwidth // 8
            lanes = _BYTES // align if vectors else 1
            kind = ir.VectorType(scalar, lanes) if vectors else scalar
            c, d, a, b = (context.make_array(array)(context, builder, value)
                          for array, value in zip((out, start, left, right), arguments[:4], strict=True))
            columns = [builder.add(arguments[5], number(v * lanes)) for v in range(max(vectors, 1))]
            lines = [builder.add(arguments[4], number(r)) for r in range(rows)]
            targets, sources = ([place(array, line, at, kind) for line in lines for at in columns] for array in (c, d))
            sums = [alloca_once(builder, kind) for _ in targets]  # registers, once LLVM has seen them
            for source, total in zip(sources, sums, strict=True):
                builder.store(builder.load(source, align=align), total)
            with for_range(builder, arguments[7], arguments[6]) as loop:
                factors = [builder.load(place(b, loop.index, at, kind), align=align) for at in columns]
                for r, line in enumerate(lines):
                    weight = builder.load(place(a, line, loop.index, scalar), align=align)
                    if vectors:
                        weight = builder.insert_element(ir.Constant(kind, ir.Undefined), weight, number(0))
                        every = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
                        weight = builder.shuffle_vector(weight, ir.Constant(kind, ir.Undefined), every)
                    for total, factor in zip(sums[r * len(factors):], factors, strict=False):
                        term = builder.fmul(weight, factor, flags=("contract",))
                        builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)
            for target, total in zip(targets, sums, strict=True):
                builder.store(builder.load(total), target, align=align)
            return context.get_dummy_value()

        return types.void(out, start, left, right, *(types.int64,) * 4), generate

    return tile


_MOST = ROWS * 3 // 2
_most_2, _most_1, _most_0 = (_tile(_MOST, vectors) for vectors in (2, 1, 0))
_full_2, _full_1, _full_0 = (_tile(ROWS, vectors) for vectors in (2, 1, 0))
_half_2, _half_1, _half_0 = (_tile(ROWS // 2, vectors) for vectors in (2, 1, 0))
_single_2, _single_1, _single_0 = (_tile(1, vectors) for vectors in (2, 1, 0))


@gradient
def set_part(out, start, left, right, begin, end):
    """``out = start + left[:, begin:end] right[begin:end]``: out and start `[rows, columns]`, left `[rows, k]`, right
    `[k, columns]`, all contiguous; start may be out. A row's sums have the same order whatever other rows there are."""
    lanes = _BYTES // out.itemsize
    rows, columns = out.shape
    two, one = columns - columns % (2 * lanes), columns - columns % lanes
    first = 0
    while first + _MOST <= rows:
        for column in range(0, two, 2 * lanes):
            _most_2(out, start, left, right, first, column, begin, end)
        for column in range(two, one, lanes):
            _most_1(out, start, left, right, first, column, begin, end)
        for column in range(one, columns):
            _most_0(out, start, left, right, first, column, begin, end)
        first += _MOST
    while first + ROWS <= rows:
        for column in range(0, two, 2 * lanes):
            _full_2(out, start, left, right, first, column, begin, end)
        for column in range(two, one, lanes):
            _full_1(out, start, left, right, first, column, begin, end)
        for column in range(one, columns):
            _full_0(out, start, left, right, first, column, begin, end)
        first += ROWS
    while first + ROWS // 2 <= rows:
        for column in range(0, two, 2 * lanes):
            _half_2(out, start, left, right, first, column, begin, end)
        for column in range(two, one, lanes):
            _half_1(out, start, left, right, first, column, begin, end)
        for column in range(one, columns):
            _half_0(out, start, left, right, first, column, begin, end)
        first += ROWS // 2
    while first < rows:
        for column in range(0, two, 2 * lanes):
            _single_2(out, start, left, right, first, column, begin, end)
        for column in range(two, one, lanes):
            _single_1(out, start, left, right, first, column, begin, end)
        for column in range(one, columns):
            _single_0(out, start, left, right, first, column, begin, end)
        first += 1


@gradient
def set_product(out, start, left, right):
    """``out = start + left right``, see `set_part`."""
    set_part(out, start, left, right, 0, right.shape[0])


@gradient
def add_product(out, left, right):
    """``out += left right``, see `set_part`."""
    set_part(out, out, left, right, 0, right.shape[0])
