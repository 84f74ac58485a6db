"""Weight decay."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from .base import AbstractProximalPenalty, Layers, penalised


class L2(AbstractProximalPenalty):
    """P = ½‖θ‖² over the weights of `layers` (all by default), ∇P = θ, prox θ/(1 + amount) (theory.md §1)."""

    kind: Literal["l2"] = "l2"
    rotation_invariant: ClassVar[bool] = True
    separable: ClassVar[bool] = True
    place: ClassVar[int | None] = 2
    over_measures: ClassVar[str] = "is of one layer alone, which rescaling makes as small as one likes"
    layers: Layers | None = None

    @property
    def total_variation(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.layers is None

    def value(self, model):
        if self.layers is not None:
            model = jax.tree.map(lambda x, c: x if c else jnp.zeros_like(x), model, penalised(model, self.layers))
        squares = [jnp.sum(x**2) for x in jax.tree.leaves(model)]
        return 0.5 * sum(squares[1:], squares[0])

    def gradient(self, model):
        if self.layers is None:
            return model
        return jax.tree.map(lambda x, c: x if c else jnp.zeros_like(x), model, penalised(model, self.layers))

    def prox(self, model, amount):
        return jax.tree.map(lambda x, c: x / (1.0 + amount) if c else x, model, penalised(model, self.layers))
