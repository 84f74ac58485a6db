"""Newton's method, as a finish."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from .base import AbstractSteppedUpdate, Info, gradient_norm

_FLAT = 1e-11
"""Directions whose curvature is below this share of the largest are left as they are."""


class Newton(AbstractSteppedUpdate):
    """θ ← θ − η H⁺ ∇(L + λP) on the weights that move, H⁺ the pseudo-inverse of the Hessian.

    A finish for members near a stationary point, of whatever kind: at `step_size = 1` the gradient's norm is squared
    from step to step, down to rounding (1e-13 and below), where descent takes as many steps as the smallest curvature
    says. Directions without curvature (rescaled neurons without decay, mass that aligned neurons share) do not move.
    Each step costs a dense Hessian of all weights, m(d + 1) gradients, and its eigenvalues. At a neuron of exactly
    w = 0 the risk has no second derivative: there it can fail to end.
    """

    kind: Literal["newton"] = "newton"
    rotation_equivariant: ClassVar[bool] = True

    def limit(self):
        return None

    def init(self, model):
        return ()

    def step(self, model, state, objective, clock):
        flat, unravel = ravel_pytree(model)
        moves, _ = ravel_pytree(jax.tree.map(lambda moved, x: jnp.broadcast_to(moved, x.shape), objective.moves, model))

        def slope(vector):
            whole, _ = ravel_pytree(objective.gradients(unravel(vector))[2])
            return jnp.where(moves, whole, 0.0)

        gradient = slope(flat)
        jacobian = jnp.where(moves[None, :], jax.jacfwd(slope)(flat), 0.0)
        values, vectors = jnp.linalg.eigh(0.5 * (jacobian + jacobian.T))
        size = jnp.abs(values)
        curved = size > _FLAT * jnp.max(size)
        inverse = jnp.where(curved, 1.0 / jnp.where(curved, values, 1.0), 0.0)
        new = unravel(flat - objective.step_size * (vectors @ (inverse * (vectors.T @ gradient))))
        return new, state, Info(gradient_norm(objective.gradients(model)[2], objective.moves))
