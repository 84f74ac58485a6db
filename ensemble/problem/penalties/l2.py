"""Weight decay."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from .base import AbstractProximalPenalty


class L2(AbstractProximalPenalty):
    """P = ½‖θ‖² over all weights, ∇P = θ, prox θ/(1 + amount) (theory.md §1)."""

    kind: Literal["l2"] = "l2"
    rotation_invariant: ClassVar[bool] = True
    total_variation: ClassVar[bool] = True
    separable: ClassVar[bool] = True
    place: ClassVar[int | None] = 2

    def value(self, model):
        squares = [jnp.sum(x**2) for x in jax.tree.leaves(model)]
        return 0.5 * sum(squares[1:], squares[0])

    def gradient(self, model):
        return model

    def prox(self, model, amount):
        return jax.tree.map(lambda x: x / (1.0 + amount), model)
