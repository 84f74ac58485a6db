"""Probabilities of two correlated normal numbers: what dual kernels of neurons with biases are made of."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_TINY = 1e-150
"""In place of a quotient's 0/0: its square is no denormal number."""
_NODES, _WEIGHTS = (x.astype(float) for x in np.polynomial.legendre.leggauss(24))


def density(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """φ(x) of N(0, 1)."""
    return jnp.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def distribution(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Φ(x) of N(0, 1), with its relative accuracy in the lower tail."""
    return 0.5 * jax.scipy.special.erfc(-x / math.sqrt(2.0))


def below(
    limit: Float[Array, "..."], other: Float[Array, "..."], rho: Float[Array, "..."], sine: Float[Array, "..."]
) -> Float[Array, "..."]:
    """The standardised distance (other − ρ·limit)/√(1−ρ²) of one limit beyond what the other one predicts.

    **Arguments:** two limits, their correlation ρ and √(1 − ρ²), which the caller knows better than ρ says it.
    """
    return (other - rho * limit) / jnp.maximum(sine, _TINY)


def orthant(
    h: Float[Array, "..."], k: Float[Array, "..."], rho: Float[Array, "..."], sine: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Φ₂(h, k; ρ) = P(X ≤ h, Y ≤ k) of standard normal X, Y with correlation ρ, to 2·10⁻¹⁵.

        Φ₂ = ½[Φ(h) + Φ(k)] − T(h, (k−ρh)/(h√(1−ρ²))) − T(k, (h−ρk)/(k√(1−ρ²))) − ½ [hk < 0, or hk = 0 and h + k < 0]

    with Owen's T(h, a) = ∫_0^a e^{−h²(1+x²)/2}/(1+x²) dx/2π, by Gauss and Legendre's rule of 24 nodes for a ≤ 1, where
    the integrand is analytic, and for the others by T(h, a) + T(ah, 1/a) = ½[Φ(h) + Φ(ah)] − Φ(h)Φ(ah).

    **Arguments:** limits, which may be infinite in size as ±1e300; ρ, and √(1 − ρ²) ≥ 0; they broadcast.

    **Returns:** the probability. It is not meant to be differentiated: kernels know their own slopes.

    Source: Owen 1956, Annals of Mathematical Statistics 27.
    """
    h, k = jnp.broadcast_arrays(h, k)
    # A limit of 0 has no sign, and what stands below is continuous there.
    h, k = (jnp.where(jnp.abs(x) < _TINY, _TINY, jnp.clip(x, -1e100, 1e100)) for x in (h, k))
    sides = _owen(h, below(h, k, rho, sine)) + _owen(k, below(k, h, rho, sine))
    apart = jnp.where((h < 0.0) != (k < 0.0), 0.5, 0.0)
    return jnp.clip(0.5 * (distribution(h) + distribution(k)) - sides - apart, 0.0, 1.0)


def _owen(h: Float[Array, "..."], product: Float[Array, "..."]) -> Float[Array, "..."]:
    """T(h, product/h): even in h, odd in the product where h > 0."""
    size, other = jnp.abs(h), jnp.abs(product)
    # T(x, y/x) for the smaller of the two as y, whose quotient is at most 1.
    x, y = jnp.maximum(size, other), jnp.minimum(size, other)
    a = y / x
    nodes, weights = (jnp.asarray(y, a.dtype).reshape((1,) * a.ndim + (-1,)) for y in (0.5 * (_NODES + 1.0), _WEIGHTS))
    square = 1.0 + (a[..., None] * nodes) ** 2
    terms = weights * jnp.exp(-0.5 * (x * x)[..., None] * square) / square
    direct = a * jnp.sum(terms, axis=-1) / (4.0 * math.pi)
    # ½[Φ(h) + Φ(ah)] − Φ(h)Φ(ah) = ½[Φ(h)Φ(−ah) + Φ(−h)Φ(ah)], which loses no digits in the tails.
    both = distribution(size) * distribution(-other) + distribution(-size) * distribution(other)
    return jnp.sign(h) * jnp.sign(product) * jnp.where(other <= size, direct, 0.5 * both - direct)
