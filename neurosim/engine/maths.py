"""Exponential, logarithm and hyperbolic tangent that the compiler turns into vector code.

pip's llvmlite brings no vector maths library, so a call of `exp` in a loop makes the whole loop scalar. In float32
these are a reduction of the range and a short polynomial, without branches; in float64, where only reference runs go,
they are the library's. Largest error in float32: 1e-7 of the value for exp (|x| <= 87), 1.5e-7 of the larger of |ln x|
and 0.35 for log of normal numbers, 2e-7 of the value for tanh; the tests hold them to it.

`fma` rounds once by definition, so results are the same on every processor; one without such an instruction is slow.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

_F, _I = np.float32, np.int32
_LOG2E, _ROUND = _F(1.4426950408889634), _F(12582912.0)  # 1.5 * 2^23: adding it rounds to whole numbers
_LN2_HIGH, _LN2_LOW = _F(0.693359375), _F(-2.12194440e-4)  # the first has few bits: its products are exact
_LARGEST = _F(87.0)
# e^r = 1 + r (1 + r P(r)) for |r| <= ln(2) / 2
_EXP = tuple(_F(c) for c in (0.4999999403953552, 0.1666652113199234, 0.04166838899254799, 0.008368716575205326,
                             0.001381459878757596))
# ln(1 + f) / f on [sqrt(1/2) - 1, sqrt(2) - 1]
_LOG = tuple(_F(c) for c in (1.0, -0.4999997913837433, 0.3333415985107422, -0.25002944469451904, 0.19958415627479553,
                             -0.1654374599456787, 0.14917394518852234, -0.14482136070728302, 0.08959803730249405))
# tanh(x) = x + x^3 P(x^2) for |x| <= 0.625
_TANH = tuple(_F(c) for c in (-0.3333328068256378, 0.13331441581249237, -0.053739700466394424, 0.020639032125473022,
                              -0.005704923998564482))


@intrinsic
def as_float(typing, bits):
    """The float32 whose bits an int32 has."""

    def bitcast(context, builder, signature, args):
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), bitcast


@intrinsic
def as_bits(typing, value):
    """The int32 that has the bits of a float32."""

    def bitcast(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), bitcast


@intrinsic
def fma(typing, a, b, c):
    """``a b + c``, rounded once."""
    def fused(context, builder, signature, args):
        return builder.fma(*args)

    return a(a, a, a), fused


def exp(x: float) -> float:
    """``e^x`` within a kernel; in float32 x is held within +-87."""
    return math.exp(x)


def exp_within(x: float) -> float:
    """``e^x`` within a kernel where |x| <= 87 is certain, or the result does not matter."""
    return math.exp(x)


def log(x: float) -> float:
    """``ln x`` within a kernel, x a positive normal number."""
    return math.log(x)


def tanh(x: float) -> float:
    """``tanh x`` within a kernel."""
    return math.tanh(x)


@overload(exp, jit_options={"forceinline": True})
def _exp(x):
    if x != types.float32:
        return lambda x: math.exp(x)

    return lambda x: exp_within(min(max(x, -_LARGEST), _LARGEST))


@overload(exp_within, jit_options={"forceinline": True})
def _exp_within(x):
    if x != types.float32:
        return lambda x: math.exp(x)

    def single(x):
        shifted = fma(x, _LOG2E, _ROUND)  # its last bits are the whole number, as an integer
        whole = shifted - _ROUND
        r = fma(whole, -_LN2_LOW, fma(whole, -_LN2_HIGH, x))
        p = fma(r, fma(r, fma(r, fma(r, _EXP[4], _EXP[3]), _EXP[2]), _EXP[1]), _EXP[0])
        return as_float(as_bits(fma(r, fma(r, p, _F(1.0)), _F(1.0))) + (as_bits(shifted) << _I(23)))

    return single


@overload(log, jit_options={"forceinline": True})
def _log(x):
    if x != types.float32:
        return lambda x: math.log(x)

    def single(x):
        bits = as_bits(x)
        exponent = (bits - _I(0x3F3504F3)) >> _I(23)
        f = as_float(bits - (exponent << _I(23))) - _F(1.0)
        p = fma(f, fma(f, fma(f, fma(f, _LOG[8], _LOG[7]), _LOG[6]), _LOG[5]), _LOG[4])
        p = fma(f, fma(f, fma(f, fma(f, p, _LOG[3]), _LOG[2]), _LOG[1]), _LOG[0])
        whole = _F(exponent)
        return fma(whole, _LN2_HIGH, fma(whole, _LN2_LOW, f * p))

    return single


@overload(tanh, jit_options={"forceinline": True})
def _tanh(x):
    if x != types.float32:
        return lambda x: math.tanh(x)

    def single(x):
        size = abs(x)
        z = x * x
        near = x + x * z * (_TANH[0] + z * (_TANH[1] + z * (_TANH[2] + z * (_TANH[3] + z * _TANH[4]))))
        far = _F(1.0) - _F(2.0) / (exp(size + size) + _F(1.0))
        far = -far if x < _F(0.0) else far
        return near if size < _F(0.625) else far

    return single
