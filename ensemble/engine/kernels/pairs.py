"""κ − ρκ′ and κ′ of pairs of neurons, in the arithmetic of the fused kernel."""

import math

import jax
import jax.numpy as jnp

from ...numerics.inverse_trig import COEFFICIENTS_32, COEFFICIENTS_64
from ...problem.activations import AbstractHomogeneous
from .arithmetic import Arithmetic
from .duals import four_numbers

_LEAST = {"float64": 2.0**-120, "float32": 2.0**-60}
"""Added under a root that may be of 0: less than half an ulp of the least positive 1 − |ρ|."""


def kappa_slopes(arithmetic: Arithmetic, sigma: AbstractHomogeneous, rho: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(κ − ρκ′, κ′) of every pair, as `AbstractHomogeneous.kappa_slopes` to rounding.

    **Arguments:** `rho`, ρ of unit rows: where rounding takes it beyond ±1 by ε it counts as ±(1 − ε).
    """
    numbers = four_numbers(sigma)
    if numbers is None or (numbers[1] == 0.0 and numbers[3] == 0.0):
        return sigma.kappa_slopes(jnp.clip(rho, -1.0, 1.0))
    p0, p1, q0, q1 = numbers
    arcsin, sine = _arcsin_and_sine(arithmetic, rho)

    def line(slope: float, x: jax.Array, at_zero: float) -> jax.Array:
        return slope * x if at_zero == 0.0 else arithmetic.fma(jnp.full_like(x, slope), x, jnp.full_like(x, at_zero))

    return line(q1, sine, q0), line(p1, arcsin, p0)


def _arcsin_and_sine(arithmetic: Arithmetic, rho: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(arcsin ρ, √(1 − ρ²)); the arcsine as in `numerics/inverse_trig.py`, with z = (1 − |ρ|)/2 beyond |ρ| = 1/2."""
    fma, least = arithmetic.fma, _LEAST[str(rho.dtype)]

    def filled(number: float) -> jax.Array:
        return jnp.full_like(rho, number)

    def root(z: jax.Array) -> jax.Array:
        return z * arithmetic.inverse_root(z, least)

    size = jnp.abs(rho)
    outer = size > 0.5
    z = jnp.where(outer, jnp.abs(fma(filled(-0.5), size, filled(0.5))), rho * rho)
    s = jnp.where(outer, root(z), size)
    series = arithmetic.polynomial(COEFFICIENTS_64 if rho.dtype == jnp.float64 else COEFFICIENTS_32, z)
    angle = fma(s * z, series, s)
    angle = jnp.where(outer, fma(filled(-2.0), angle, filled(math.pi / 2)), angle)
    return arithmetic.with_sign(angle, rho), root(jnp.abs(arithmetic.one_minus_square(rho)))
