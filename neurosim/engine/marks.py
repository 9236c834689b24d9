"""Which values of an array are above a limit, or not: few of many, found 64 at a time."""

from __future__ import annotations

from llvmlite import ir
from numba import types, uint64
from numba.extending import intrinsic

from neurosim.engine.compiling import scalar_part

WORD = 64  # so many values behind the last one asked for are read, and left out


@intrinsic
def _word(typing, values, first, limit):
    """Bit k: whether ``values[first + k] > limit``."""

    def compare(context, builder, signature, args):
        kind = signature.args[0]
        number = context.get_value_type(kind.dtype)
        vector, lane = ir.VectorType(number, WORD), ir.IntType(32)
        data = context.make_array(kind)(context, builder, args[0]).data
        place = builder.bitcast(builder.gep(data, [args[1]]), vector.as_pointer())
        found = builder.load(place, align=kind.dtype.bitwidth // 8)
        unset = ir.Constant(vector, ir.Undefined)
        one = builder.insert_element(unset, args[2], ir.Constant(lane, 0))
        limits = builder.shuffle_vector(one, unset, ir.Constant(ir.VectorType(lane, WORD), [0] * WORD))
        return builder.bitcast(builder.fcmp_ordered(">", found, limits), ir.IntType(WORD))

    return types.uint64(values, types.intp, values.dtype), compare


@intrinsic
def _lowest(typing, word):
    """The place of the lowest bit that is set."""

    def count(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), count


@scalar_part
def _listed(values, count, limit, flips, places):
    found = 0
    for first in range(0, count, WORD):
        word = _word(values, first, limit) ^ flips
        if count - first < WORD:
            word &= (uint64(1) << uint64(count - first)) - uint64(1)
        while word != uint64(0):
            places[found] = uint64(first) + _lowest(word)
            found += 1
            word &= word - uint64(1)
    return found


@scalar_part
def above(values, count, limit, places):
    """Write the places of those of the first `count` values that are above the limit, in their order; how many."""
    return _listed(values, count, limit, uint64(0), places)


@scalar_part
def at_most(values, count, limit, places):
    """The same for those that are not above it."""
    return _listed(values, count, limit, ~uint64(0), places)
