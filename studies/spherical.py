"""Descent on the sphere, as the theory of single-index models has it: an update of one's own (docs/extending.md)."""

from typing import Literal

import jax.numpy as jnp

import ensemble as ens


@ens.register
class Spherical(ens.AbstractGradientUpdate):
    """w ← (w − η g)/‖w − η g‖ with g = ∇_w L − (wᵀ∇_w L) w of unit rows; output weights by plain descent.

    η = step_size · d^(−`exponent`), which needs all d coordinates: with an exponent it asks for them.
    """

    kind: Literal["spherical"] = "spherical"
    exponent: float = 0.0

    @property
    def rotation_equivariant(self):
        return self.exponent == 0.0

    def limit(self):
        return None

    def init(self, model):
        return ()

    def amount(self, gradient, state, model, step_size):
        W = model.W
        step_size = step_size * W.shape[-1] ** -self.exponent
        tangent = gradient.W - jnp.sum(gradient.W * W, axis=-1, keepdims=True) * W
        moved = W - step_size * tangent
        unit = moved / jnp.linalg.norm(moved, axis=-1, keepdims=True)
        return ens.TwoLayer(step_size * gradient.a, W - unit, model.activation), state
