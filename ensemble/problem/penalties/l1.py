"""The sum of the sizes of all weights."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from .base import AbstractProximalPenalty, Layers, penalised


class L1(AbstractProximalPenalty):
    """P = Σ|θ| over the weights of `layers` (all by default); prox: the soft threshold (theory.md §8).

    ∇P = sign θ, 0 where θ = 0. It knows the axes of the input: a balanced neuron of mass m and direction ŵ costs
    2√(m‖ŵ‖₁), least on an axis.
    """

    kind: Literal["l1"] = "l1"
    smooth: ClassVar[bool] = False
    separable: ClassVar[bool] = True
    place: ClassVar[int | None] = 0
    over_measures: ClassVar[str] = (
        "costs a balanced neuron 2√(m‖ŵ‖₁), which is concave in its mass m: it is not convex over measures"
    )
    layers: Layers | None = None

    def value(self, model):
        sizes = jax.tree.map(lambda x, c: jnp.sum(jnp.abs(x)) if c else 0.0, model, penalised(model, self.layers))
        return jnp.asarray(sum(jax.tree.leaves(sizes)))

    def gradient(self, model):
        return jax.tree.map(lambda x, c: jnp.sign(x) if c else jnp.zeros_like(x), model, penalised(model, self.layers))

    def prox(self, model, amount):
        def shrunk(x, chosen: bool):
            return jnp.sign(x) * jnp.maximum(jnp.abs(x) - amount, 0.0) if chosen else x

        return jax.tree.map(shrunk, model, penalised(model, self.layers))
