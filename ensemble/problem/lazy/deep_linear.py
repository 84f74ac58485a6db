"""Deep linear networks: B(θ, θ′) = tr(MᵀM′) of the products M = W_L⋯W_1."""

from functools import reduce
from itertools import product

import jax
import jax.numpy as jnp

from .base import AbstractTangent


class DeepLinearTangent(AbstractTangent):
    """f_θ(x) = W_L⋯W_1 x; ∂f/∂W_l = A_l ⊗ B_l x with A_l = W_L⋯W_{l+1}, B_l = W_{l−1}⋯W_1.

    `overlap` = Σ_{l,k} tr(A_lA_lᵀA′_kA′_kᵀ) tr(B_lᵀB_lB′_kᵀB′_k). `other` of `inner` and `slope` is anything with a
    `matrix`.
    """

    def inner(self, model, other):
        return jnp.sum(model.matrix * other.matrix)

    def slope(self, model, other):
        return jax.grad(lambda at: jnp.sum(at.matrix * other.matrix))(model)

    def response(self, model, direction):
        _, change = jax.jvp(lambda at: at.matrix, (model,), (direction,))
        return jax.vjp(lambda at: at.matrix, model)[1](change)[0]

    def overlap(self, model, other):
        out, taken = _sides(model)
        other_out, other_taken = _sides(other)
        pairs = product(zip(out, taken, strict=True), zip(other_out, other_taken, strict=True))
        return reduce(jnp.add, [jnp.sum(A * C) * jnp.sum(B * D) for (A, B), (C, D) in pairs])


def _sides(model):
    """(A_lA_lᵀ, B_lᵀB_l) of every layer: what is above it, and what is below."""
    layers = model.layers
    above = [jnp.eye(layers[-1].shape[0])]
    for W in layers[:0:-1]:
        above.insert(0, above[0] @ W)
    below = [jnp.eye(layers[0].shape[1])]
    for W in layers[:-1]:
        below.append(W @ below[-1])
    return [A @ A.T for A in above], [B.T @ B for B in below]
