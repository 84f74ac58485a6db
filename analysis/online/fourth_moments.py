"""Moments of four neurons that move their overlaps in online learning, in closed form.

Of Gaussian preactivations z with the covariance S of all neurons of f − y, Δ = Σ_k c_k σ(z_k),

    E σ′(z_i) σ′(z_j) Δ² = Σ_kl c_k c_l E σ′(z_i) σ′(z_j) σ(z_k) σ(z_l)

(Saad & Solla 1995, Phys. Rev. E 52, 4225, for erf; Goldt et al. 2019, arXiv 1906.08632).
"""

import itertools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ensemble.problem.activations import AbstractActivation, AbstractPolynomial, Erf, Linear, Square

MOST_NEURONS = 4
"""Of student and teacher together, for polynomials: the sum over nodes grows with their power."""


def has_fourth_moments(sigma: AbstractActivation, neurons: int) -> bool:
    """Whether the moments of so many neurons, of student and teacher, are known exactly."""
    polynomial = isinstance(sigma, AbstractPolynomial) and neurons <= MOST_NEURONS
    return isinstance(sigma, Erf | Square | Linear) or polynomial


def squared_errors(
    sigma: AbstractActivation, S: Float[Array, "both both"], c: Float[Array, " both"], count: int
) -> Float[Array, "neuron other_neuron"]:
    """E σ′(z_i) σ′(z_j) (Σ_k c_k σ(z_k))² of the first `count` neurons i, j.

    **Arguments:** an activation of `has_fourth_moments`; the covariance S of all preactivations; their weights c.
    """
    if isinstance(sigma, Linear):
        return jnp.broadcast_to(c @ S @ c, (count, count))
    if isinstance(sigma, Square):
        return _square(S, c, count)
    if isinstance(sigma, Erf):
        return _erf(S, c, count)
    assert isinstance(sigma, AbstractPolynomial), "the moments of other activations are not known"
    return _polynomial(sigma, S, c, count)


def _square(S, c, count):
    """4 E z_i z_j Δ² with Δ = Σ_k c_k z_k²: the fifteen pairings of six Gaussians."""
    D = jnp.diagonal(S)
    weighted = S * c[None, :]
    first = weighted[:count]
    alone = (c @ D) ** 2 + 2.0 * jnp.sum(weighted * weighted.T)
    return 4.0 * (
        S[:count, :count] * alone + 4.0 * (c @ D) * (first @ S[:, :count]) + 8.0 * (first @ weighted @ S[:, :count])
    )


def _erf(S, c, count):
    """(4/π²) Σ_kl c_k c_l arcsin(Λ₀/√(Λ₁Λ₂))/√Λ₄."""
    own, cross, plus = S[:count, :count], S[:count], 1.0 + jnp.diagonal(S)
    ii, jj = plus[:count, None, None, None], plus[None, :count, None, None]
    ij = own[:, :, None, None]
    ik, il = cross[:, None, :, None], cross[:, None, None, :]
    jk, jl = cross[None, :, :, None], cross[None, :, None, :]
    kl = S[None, None]
    kk, ll = plus[None, None, :, None], plus[None, None, None, :]
    four = ii * jj - ij * ij
    zero = four * kl - jk * jl * ii - ik * il * jj + ij * ik * jl + ij * il * jk
    one = four * kk - jk * jk * ii - ik * ik * jj + 2.0 * ij * ik * jk
    two = four * ll - jl * jl * ii - il * il * jj + 2.0 * ij * il * jl
    angle = jnp.arcsin(jnp.clip(zero / jnp.sqrt(one * two), -1.0, 1.0)) / jnp.sqrt(four)
    return (4.0 / math.pi**2) * jnp.einsum("ijkl,k,l->ij", angle, c, c)


def _polynomial(sigma: AbstractPolynomial, S, c, count):
    """By Gauss–Hermite's rule in as many dimensions as there are neurons, exact for a polynomial's degree."""
    degree = len(sigma.powers) - 1
    nodes, weights = np.polynomial.hermite_e.hermegauss(2 * degree)
    points = np.array(list(itertools.product(nodes, repeat=len(c))))
    shares = np.prod(np.array(list(itertools.product(weights / weights.sum(), repeat=len(c)))), axis=1)
    # Any root of S serves, and S is singular where neurons are parallel.
    values, vectors = jnp.linalg.eigh(S)
    root = vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None, :]
    z = jnp.asarray(points) @ root.T
    error = _value(sigma.powers, z) @ c
    slopes = _value([n * a for n, a in enumerate(sigma.powers)][1:], z[:, :count])
    return (slopes * (jnp.asarray(shares) * error * error)[:, None]).T @ slopes


def _value(powers, z):
    return sum(a * z**n for n, a in enumerate(powers)) + jnp.zeros_like(z)
