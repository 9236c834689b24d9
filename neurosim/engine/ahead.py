"""What will soon be read, asked for early: the memory works while something else is computed.

The processor does so by itself within a page; from step to step of `[time, batch, neurons]` it is a jump.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core.typing import Signature
from numba.extending import intrinsic

from neurosim.engine.compiling import part

_LINE = 64  # bytes


@intrinsic
def _ask(typing_context, values, at):
    """The line of the cache with the value at the place `at` of a contiguous array; no value changes."""

    def generate(context: object, builder: ir.IRBuilder, signature: Signature, arguments: tuple) -> ir.Constant:
        number, byte = ir.IntType(32), ir.IntType(8).as_pointer()
        data = context.make_array(values)(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        ask = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        builder.call(ask, [place, number(0), number(3), number(1)])  # for reading, into all caches, data
        return context.get_dummy_value()

    return types.void(values, types.int64), generate


@part
def ask_row(values, step, row):
    """Ask for ``values[step, row]``, `[time, batch, neurons]` and contiguous."""
    size = values.shape[2]
    at = (step * values.shape[1] + row) * size
    for n in range(0, size, _LINE // values.itemsize):
        _ask(values, at + n)
