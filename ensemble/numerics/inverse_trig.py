"""Inverse sine and cosine built from elementary arithmetic.

XLA's own `arccos` is an `atan2` of two square roots and costs a large share of a descent step; these
need one polynomial and one square root. They also make results reproducible: `+`, `×` and `√` are
rounded the same way in every SIMD lane, so a member's bits do not depend on its neighbours.

For |x| ≤ 1/2, asin x = x + x·z·R(z) with z = x²; for |x| > 1/2, acos |x| = 2 asin √((1 − |x|)/2),
whose argument is again ≤ 1/2. R is the Chebyshev fit of (asin(√z)/√z − 1)/z on [0, 1/4], computed with
60 digits: the fit's own error, times z, is 3.8e-18 (float64) and 1.0e-9 (float32).
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

COEFFICIENTS_64 = (
    0.16666666666666669,
    0.07499999999998433,
    0.04464285714635543,
    0.030381944138531247,
    0.02237217294214989,
    0.017352392720869973,
    0.013971212973552933,
    0.011479177415184906,
    0.01032281435018578,
    0.005457506718640358,
    0.01740087944269402,
    -0.014851887071247204,
    0.028757851367421566,
)
COEFFICIENTS_32 = (
    0.16666666337430908,
    0.07500094543497424,
    0.04459940152851218,
    0.03110066273549457,
    0.017149238357677253,
    0.03369084720283012,
)
_HALF_PI_REST_64 = 6.123233995736766e-17
"""π/2 minus its float64."""
_HALF_PI_REST_32 = -4.371139000186241e-08
"""π/2 minus its float32."""


def _horner(coefficients: Sequence[float], z: Float[Array, "..."]) -> Float[Array, "..."]:
    value = jnp.full_like(z, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = value * z + c
    return value


def _half_range(x: Float[Array, "..."]) -> tuple[Bool[Array, "..."], Float[Array, "..."]]:
    """(is |x| > 1/2, asin of the reduced argument, which is never negative)."""
    magnitude = jnp.abs(x)
    outer = magnitude > 0.5
    z = jnp.where(outer, 0.5 * (1.0 - magnitude), x * x)
    s = jnp.where(outer, jnp.sqrt(z), magnitude)
    coefficients = COEFFICIENTS_32 if x.dtype == jnp.float32 else COEFFICIENTS_64
    return outer, s + s * (z * _horner(coefficients, z))


def _inverse_slope(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """1/√(1 − x²), and 0 where |x| = 1.

    The infinite slope at the ends is only ever met multiplied by a factor that vanishes faster (two
    duplicated or opposite neurons): 0 is the limit of that product.
    """
    square = (1.0 - x) * (1.0 + x)
    inside = square > 0.0
    return jnp.where(inside, 1.0 / jnp.sqrt(jnp.where(inside, square, 1.0)), 0.0)


@jax.custom_jvp
def arcsin(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Inverse sine on [−1, 1], in radians, within 2 ulp; its derivative is taken as 0 at |x| = 1."""
    outer, s = _half_range(x)
    # π/2 in two parts: near |x| = 1/2 the rounding of π/2 alone is most of an ulp of the result.
    rest = _HALF_PI_REST_32 if x.dtype == jnp.float32 else _HALF_PI_REST_64
    size = jnp.where(outer, (math.pi / 2 - 2.0 * s) + rest, s)
    return jnp.where(x < 0.0, -size, size)


@jax.custom_jvp
def arccos(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Inverse cosine on [−1, 1], in radians, within 2 ulp; its derivative is taken as 0 at |x| = 1.

    The relative accuracy holds up to x = 1, where the result is 0.
    """
    outer, s = _half_range(x)
    negative = x < 0.0
    inner_value = math.pi / 2 - jnp.where(negative, -s, s)
    outer_value = jnp.where(negative, math.pi - 2.0 * s, 2.0 * s)
    return jnp.where(outer, outer_value, inner_value)


@arcsin.defjvp
def _arcsin_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return arcsin(x), _inverse_slope(x) * dx


@arccos.defjvp
def _arccos_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return arccos(x), -_inverse_slope(x) * dx
