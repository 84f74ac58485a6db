"""The sum of the masses of neurons."""

from typing import ClassVar, Literal

import jax.numpy as jnp

from ...numerics import safe_divide
from ..models import TwoLayer, masses, row_norms, unit_rows
from .base import AbstractProximalPenalty


class PathNorm(AbstractProximalPenalty):
    """P = Σ_i |a_i|‖w_i‖: the total variation of the measure of a network, balanced or not (theory.md §4, §8).

        ∇P = (sign(a_i)‖w_i‖, |a_i| ŵ_i), 0 where a_i or w_i is 0

    Its minima are those of l2. The proximal map keeps signs and directions, and with x = |a_i|, y = ‖w_i‖ and t =
    amount gives ((x − ty)/(1 − t²), (y − tx)/(1 − t²)) where both are positive; else the smaller of the two becomes 0
    and the other stays.
    """

    kind: Literal["path_norm"] = "path_norm"
    rotation_invariant: ClassVar[bool] = True
    smooth: ClassVar[bool] = False
    of_neurons: ClassVar[bool] = True
    needs_homogeneous: ClassVar[bool] = True
    total_variation: ClassVar[bool] = True

    def value(self, model):
        return jnp.sum(masses(model.a, model.W))

    def gradient(self, model):
        slope_W = jnp.abs(model.a)[:, None] * unit_rows(model.W)
        return TwoLayer(jnp.sign(model.a) * row_norms(model.W), slope_W, model.activation)

    def prox(self, model, amount):
        # ½(x − |a|)² + ½(y − ‖w‖)² + txy over x, y ≥ 0 is convex for t < 1; for t ≥ 1 its minimum is on an edge.
        size, norm = jnp.abs(model.a), row_norms(model.W)
        inner_a, inner_w = size - amount * norm, norm - amount * size
        inside = (amount < 1.0) & (inner_a > 0.0) & (inner_w > 0.0)
        scale = 1.0 / jnp.where(amount < 1.0, (1.0 - amount) * (1.0 + amount), 1.0)
        # Of a tie one has to go: the first layer stays.
        new_a = jnp.where(inside, scale * inner_a, jnp.where((amount > 0.0) & (size <= norm), 0.0, size))
        new_w = jnp.where(inside, scale * inner_w, jnp.where((amount > 0.0) & (size > norm), 0.0, norm))
        direction = safe_divide(new_w, norm)[:, None] * model.W
        return TwoLayer(jnp.sign(model.a) * new_a, direction, model.activation)
