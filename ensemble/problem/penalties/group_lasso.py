"""The sum of the norms of neurons."""

from typing import Any, ClassVar, Literal

import jax.numpy as jnp

from ...numerics import safe_divide, safe_norm
from ..models import TwoLayer
from .base import AbstractProximalPenalty, Layers


class GroupLasso(AbstractProximalPenalty):
    """P = Σ_i n_i, n_i = √(a_i² + ‖w_i‖²): a neuron is a group, and shrinks to exactly 0 as one (theory.md §8).

        ∇P = (a_i, w_i)/n_i, 0 where n_i = 0;    prox: (a_i, w_i) ← max(0, 1 − amount/n_i)(a_i, w_i)

    With `layers = "first"` the groups are the w_i alone, with `"output"` the a_i. A balanced neuron of mass m costs
    √(2m), which is concave: the global minimum jumps from mass 2/3 to 0 (`analysis.predictions`).
    """

    kind: Literal["group_lasso"] = "group_lasso"
    rotation_invariant: ClassVar[bool] = True
    smooth: ClassVar[bool] = False
    of_neurons: ClassVar[bool] = True
    place: ClassVar[int | None] = 1
    over_measures: ClassVar[str] = (
        "costs a balanced neuron √(2m), which is concave in its mass m: it is not convex over measures"
    )
    layers: Layers | None = None

    def _norms(self, model: Any):
        output = 0.0 if self.layers == "first" else 1.0
        first = 0.0 if self.layers == "output" else 1.0
        return safe_norm(output * model.a**2 + first * jnp.sum(model.W * model.W, axis=-1))

    def _scaled(self, model: Any, factor: Any, other: Any) -> Any:
        """Groups times a factor each; `other` times what is in no group."""
        a = model.a * (other if self.layers == "first" else factor)
        W = model.W * (other if self.layers == "output" else factor[:, None])
        return TwoLayer(a, W, model.activation)

    def value(self, model):
        return jnp.sum(self._norms(model))

    def gradient(self, model):
        norms = self._norms(model)
        return self._scaled(model, safe_divide(jnp.ones_like(norms), norms), 0.0)

    def prox(self, model, amount):
        norms = self._norms(model)
        return self._scaled(model, safe_divide(jnp.maximum(norms - amount, 0.0), norms), 1.0)
