"""Two-layer networks: B(θ, θ′) = aᵀK(W, W′)a′ (theory.md §2)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...numerics import safe_divide
from ..activations import AbstractActivation, AbstractHomogeneous
from ..models import TwoLayer, row_norms, unit_rows
from ..risks.population import kernel
from .base import AbstractTangent

Pairs = Float[Array, "neuron other_neuron"]


class TwoLayerTangent(AbstractTangent):
    """f_θ(x) = Σ_i a_i σ(w_iᵀx), any activation with a dual kernel; rows of all d coordinates.

    With M_ij = ∂²K(w_i, v_j)/∂w∂v, which for a 1-homogeneous σ, θ = ∠(w, v), s = sin θ, is

        M = κ′I + (b/s) r qᵀ + (κ − ρκ′) ŵv̂ᵀ,   r = v̂ − ρŵ,  q = ŵ − ρv̂
        ‖M‖² = dκ′² + b²s² + (κ−ρκ′)² − 2κ′ρbs + 2κ′ρ(κ−ρκ′)

    and κ′ = κ′(1) − bθ, κ − ρκ′ = (κ−ρκ′)(1) + bs: of the angle, not of its cosine, which near duplicates does not know
    it. Other activations are smooth, and differentiated by JAX.
    """

    def inner(self, model, other):
        return model.a @ kernel(model.activation, model.W, other.W) @ other.a

    def slope(self, model, other):
        sigma, W, V = model.activation, model.W, other.W
        radial, along = sigma.dual_slopes(W @ V.T, row_norms(W)[:, None], row_norms(V)[None, :])
        pull = (radial @ other.a)[:, None] * W + (along * other.a[None, :]) @ V
        return TwoLayer(kernel(sigma, W, V) @ other.a, model.a[:, None] * pull, sigma)

    def response(self, model, direction):
        # At duplicated neurons the slopes' own singular derivatives are coefficients of v̂ − ρŵ, which vanishes there.
        return jax.jvp(lambda other: self.slope(model, other), (model,), (direction,))[1]

    def overlap(self, model, other):
        sigma, W, V = model.activation, model.W, other.W
        of_pairs = _homogeneous if isinstance(sigma, AbstractHomogeneous) else _smooth
        K, along_w, along_v, mixed = of_pairs(sigma, W, V)
        a, b = model.a[:, None] ** 2, other.a[None, :] ** 2
        return jnp.sum(K**2 + b * along_v + a * along_w + a * b * mixed)


def _homogeneous(sigma: AbstractHomogeneous, W: Array, V: Array) -> tuple[Pairs, Pairs, Pairs, Pairs]:
    """(K, ‖∂K/∂w‖², ‖∂K/∂v‖², ‖M‖²) of all pairs, from their angles."""
    norm_w, norm_v = row_norms(W)[:, None], row_norms(V)[None, :]
    unit_w, unit_v = unit_rows(W)[:, None, :], unit_rows(V)[None, :, :]
    apart, together = row_norms(unit_w - unit_v), row_norms(unit_w + unit_v)
    angle, sine = 2.0 * jnp.arctan2(apart, together), 0.5 * apart * together
    rho, one = jnp.cos(angle), jnp.ones((), W.dtype)
    at_one = sigma.kappa_slopes(one)
    remainder, slope = at_one[0] + sigma.bend * sine, at_one[1] - sigma.bend * angle
    length = remainder**2 + slope**2 + 2.0 * rho * remainder * slope
    bent = sigma.bend * sine
    mixed = W.shape[1] * slope**2 + bent**2 + remainder**2 + 2.0 * slope * rho * (remainder - bent)
    there = (norm_w > 0.0) & (norm_v > 0.0)  # a zero neuron has no direction: its slopes are 0
    return (
        norm_w * norm_v * (remainder + rho * slope),
        jnp.where(there, norm_v**2 * length, 0.0),
        jnp.where(there, norm_w**2 * length, 0.0),
        jnp.where(there, mixed, 0.0),
    )


def _smooth(sigma: AbstractActivation, W: Array, V: Array) -> tuple[Pairs, Pairs, Pairs, Pairs]:
    """The same of a smooth K(wᵀv, ‖w‖, ‖v‖), ∂K/∂w = R w + A v, from the slopes of R and A."""
    gram = W @ V.T
    p, q = (jnp.broadcast_to(n, gram.shape) for n in (row_norms(W)[:, None], row_norms(V)[None, :]))
    one, none = jnp.ones_like(gram), jnp.zeros_like(gram)
    (R, A), (R_gram, A_gram) = jax.jvp(sigma.dual_slopes, (gram, p, q), (one, none, none))
    _, (R_v, A_v) = jax.jvp(sigma.dual_slopes, (gram, p, q), (none, none, one))
    S, _ = sigma.dual_slopes(gram, q, p)
    # M = A·I + [w v] C [w v]ᵀ, ‖[w v] C [w v]ᵀ‖² = tr(C G Cᵀ G) with the Gram matrix G of w and v.
    G = _block(p**2, gram, gram, q**2)
    C = _block(R_gram, safe_divide(R_v, q), A_gram, safe_divide(A_v, q))
    product = jnp.matmul(C, G)
    square = jnp.trace(jnp.matmul(product, jnp.matmul(C.swapaxes(-1, -2), G)), axis1=-2, axis2=-1)
    mixed = W.shape[1] * A**2 + 2.0 * A * jnp.trace(product, axis1=-2, axis2=-1) + square
    along_w = R**2 * p**2 + A**2 * q**2 + 2.0 * R * A * gram
    along_v = S**2 * q**2 + A**2 * p**2 + 2.0 * S * A * gram
    return sigma.dual(gram, p, q), along_w, along_v, mixed


def _block(a: Array, b: Array, c: Array, d: Array) -> Array:
    """2 × 2 matrices of all pairs."""
    return jnp.stack([jnp.stack([a, b], -1), jnp.stack([c, d], -1)], -2)
