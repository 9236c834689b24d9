"""How the kernels are compiled: serial, without the GIL, cached on disk.

Numba counts references to arrays with atomic operations, also within a kernel's loops, where they cost more than the
neurons. A kernel here allocates nothing and so needs none of it: `_nrt=False`, as in numba's own sorts. No
`fastmath`: the order of the floating-point operations is part of the result. Division by zero gives infinity, as in
numpy: the branch that would raise an exception keeps a loop from becoming vector code. Two exceptions are for training:

* `distinct`: the arrays that it is given do not overlap, which lets the vectoriser do without checks, of which it
  allows itself few;
* `gradient`: `distinct`, and sums in whatever order is quickest (the same one every time), a product and a sum in one
  instruction. Gradients are held to a tolerance, spikes are not.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import njit, types
from numba.core.typing import Signature
from numba.extending import intrinsic

kernel = njit(nogil=True, cache=True, error_model="numpy", _nrt=False)
#: a part of a kernel, put into it before it is compiled
part = njit(inline="always", error_model="numpy")
#: the same for scalars, put in by LLVM: compiles several times faster where one part has many places
scalar_part = njit(forceinline=True, error_model="numpy", _nrt=False)


@intrinsic
def widest_vectors(typing_context):
    """Called once in a kernel, has it compiled for the widest vectors that the processor has.

    LLVM takes half of them on processors with 512 bits, for the sake of code in which they are rare. Loops over
    neurons are nothing else, and what they compute for each neuron does not depend on the width.
    """

    def generate(context: object, builder: ir.IRBuilder, signature: Signature, arguments: tuple) -> ir.Constant:
        # llvmlite's own list of attributes has only those without a value
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


def _without_overlap(function: Callable, **options: object) -> Callable:
    """Compile for arrays that do not overlap.

    Numba has the flag, for the loops that it takes out of parallel functions, but no option that sets it; where a later
    numba has it no longer, the loops stay right and get slower.
    """
    compiled = njit(nogil=True, cache=True, _nrt=False, error_model="numpy", **options)(function)

    def customised(flags: object) -> object:
        flags.noalias = True
        return flags

    compiled._compiler._customize_flags = customised
    return compiled


def distinct(function: Callable) -> Callable:
    return _without_overlap(function)


def gradient(function: Callable) -> Callable:
    return _without_overlap(function, fastmath={"reassoc", "contract", "nsz"})
