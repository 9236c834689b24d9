"""A square of sixteen numbers by sixteen turned within registers.

Of a loop that reads along one axis and writes along the other, LLVM makes single loads; here they are whole vectors,
and four rounds of shuffles between them.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core.typing import Signature
from numba.extending import intrinsic

SIDE = 16


@intrinsic
def turn_square(typing_context, source, first, stride, out, row, column):
    """``out[row + b, column + a] = source[first + a stride + b]``, a and b below `SIDE`; both arrays contiguous."""

    def generate(context: object, builder: ir.IRBuilder, signature: Signature, arguments: tuple) -> ir.Constant:
        from_, to = (context.make_array(kind)(context, builder, arguments[place])
                     for kind, place in ((source, 0), (out, 3)))
        kind, align = ir.VectorType(context.get_value_type(source.dtype), SIDE), source.dtype.bitwidth // 8

        def place(data: ir.Value, at: ir.Value, step: ir.Value, count: int) -> ir.Value:
            far = builder.mul(step, ir.Constant(ir.IntType(64), count))
            return builder.bitcast(builder.gep(data, [builder.add(at, far)]), kind.as_pointer())

        lines = [builder.load(place(from_.data, arguments[1], arguments[2], a), align=align) for a in range(SIDE)]
        side = 1
        while side < SIDE:  # squares of `side` by `side` change places across the diagonal of squares of twice the side
            for a in range(SIDE):
                if not a & side:
                    pair = lines[a], lines[a + side]
                    upper = [j if not j & side else SIDE + j - side for j in range(SIDE)]
                    lower = [j + side if not j & side else SIDE + j for j in range(SIDE)]
                    lines[a], lines[a + side] = (
                        builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(ir.IntType(32), SIDE), mask))
                        for mask in (upper, lower))
            side *= 2
        width = builder.extract_value(to.shape, 1)
        at = builder.add(builder.mul(arguments[4], width), arguments[5])
        for b, line in enumerate(lines):
            builder.store(line, place(to.data, at, width, b), align=align)
        return context.get_dummy_value()

    return types.void(source, types.int64, types.int64, out, types.int64, types.int64), generate
