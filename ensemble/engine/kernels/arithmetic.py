"""Arithmetic of the fused kernel: as operations of JAX, or in a card's own instructions.

What Pallas makes of a multiplication and an addition are two instructions, and of a root or a quotient a dozen with a
branch for rare arguments. Here a multiplication with an addition is one, and a root one step from the card's own
approximation, 1/√z to 22 bits, whose error e = 1 − zy² it makes of order e³:

    1/√z ≈ y + ye(1/2 + 3e/8)        relative error under 2⁻⁵⁷ before rounding

Interpreted, the same formulas are JAX's own operations: the two agree to rounding.
"""

import struct
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp


class Arithmetic(Protocol):
    """What the kernel's formulas are written in; all arguments of a call have one shape and one precision."""

    def fma(self, x: jax.Array, y: jax.Array, z: jax.Array) -> jax.Array:
        """xy + z."""
        ...

    def one_minus_square(self, x: jax.Array) -> jax.Array:
        """1 − x², to rounding of itself where |x| is near 1."""
        ...

    def polynomial(self, coefficients: Sequence[float], z: jax.Array) -> jax.Array:
        """Σ_i c_i z^i."""
        ...

    def inverse_root(self, z: jax.Array, least: float = 0.0) -> jax.Array:
        """1/√z; finite where z = 0 if `least` is positive, a number that no other z feels."""
        ...

    def with_sign(self, size: jax.Array, like: jax.Array) -> jax.Array:
        """|size| with the sign of `like`."""
        ...


class Plain:
    """In operations of JAX."""

    def fma(self, x, y, z):
        return x * y + z

    def one_minus_square(self, x):
        return (1.0 - x) * (1.0 + x)

    def polynomial(self, coefficients, z):
        value = jnp.full_like(z, coefficients[-1])
        for c in reversed(coefficients[:-1]):
            value = value * z + c
        return value

    def inverse_root(self, z, least=0.0):
        return 1.0 / jnp.sqrt(z + least)

    def with_sign(self, size, like):
        return jnp.where(like < 0.0, -jnp.abs(size), jnp.abs(size))


class Card:
    """In instructions of NVIDIA's cards (PTX)."""

    def fma(self, x, y, z):
        return _call("fma.rn.{t} $0, $1, $2, $3;", *jnp.broadcast_arrays(x, y, z))

    def one_minus_square(self, x):
        return self.fma(-x, x, jnp.ones_like(x))  # rounded once

    def polynomial(self, coefficients, z):
        last, *others = [_literal(c, z.dtype) for c in reversed(coefficients)]
        steps = " ".join(f"fma.rn.{{t}} v, v, $1, {c};" for c in others)
        return _call(f".reg .{{t}} v; mov.{{t}} v, {last}; {steps} mov.{{t}} $0, v;", z)

    def inverse_root(self, z, least=0.0):
        one, half, rest, added = (_literal(x, z.dtype) for x in (1.0, 0.5, 0.375, least))
        begin = f"add.rn.{{t}} x, $1, {added};" if least else "mov.{t} x, $1;"
        steps = (
            f"rsqrt.approx.ftz.{{t}} y, x; mul.rn.{{t}} x, y, y; neg.{{t}} x, x; fma.rn.{{t}} e, $1, x, {one}; "
            f"fma.rn.{{t}} x, e, {rest}, {half}; mul.rn.{{t}} e, y, e; fma.rn.{{t}} $0, x, e, y;"
        )
        return _call(f".reg .{{t}} x, y, e; {begin} {steps}", z)

    def with_sign(self, size, like):
        return _call("copysign.{t} $0, $2, $1;", size, like)


def _literal(number: float, dtype: Any) -> str:
    """A number as PTX writes it: by its bits."""
    if dtype == jnp.float64:
        return f"0d{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
    return f"0f{struct.unpack('<I', struct.pack('<f', number))[0]:08X}"


def _call(asm: str, *arguments: jax.Array) -> jax.Array:
    """Instructions on every number alone; `{t}` is the precision's name in PTX."""
    from jax.experimental.pallas import triton

    like = arguments[0]
    name, register = ("f64", "d") if like.dtype == jnp.float64 else ("f32", "f")
    (found,) = triton.elementwise_inline_asm(
        f"{{ {asm.format(t=name)} }}",
        args=arguments,
        constraints=",".join([f"={register}", *[register] * len(arguments)]),
        pack=1,
        result_shape_dtypes=[jax.ShapeDtypeStruct(like.shape, like.dtype)],
    )
    return found
