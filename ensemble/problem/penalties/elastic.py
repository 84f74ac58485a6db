"""An elastic coupling to the weights with which a stage began."""

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from pydantic import PrivateAttr

from .base import AbstractPenalty, AbstractProximalPenalty, Layers, penalised
from .weighted import WeightedSum


class Elastic(AbstractProximalPenalty):
    """P = ½‖θ − θ₁‖² over the weights of `layers` (all by default), θ₁ those with which the stage began.

        ∇P = θ − θ₁,   prox (θ + amount · θ₁)/(1 + amount)

    What a stage before it has learned is held by a spring: of stiffness λ, with its schedule. Each stage has an anchor
    of its own, after its `fresh` layers were drawn. θ₁ = 0 for a penalty that no stage holds.

    Source: Li, Grandvalet & Davoine 2018, arXiv 1802.01483 (L²-SP).
    """

    kind: Literal["elastic"] = "elastic"
    rotation_invariant: ClassVar[bool] = True
    separable: ClassVar[bool] = True
    over_measures: ClassVar[str] = "pulls towards given weights, and is no function of the measure"
    layers: Layers | None = None
    _anchor: Any = PrivateAttr(default=None)

    def value(self, model):
        squares = [jnp.sum(x**2) for x in jax.tree.leaves(self.gradient(model))]
        return 0.5 * sum(squares[1:], squares[0])

    def gradient(self, model):
        chosen = penalised(model, self.layers)
        return jax.tree.map(lambda x, at, c: x - at if c else jnp.zeros_like(x), model, self._from(model), chosen)

    def prox(self, model, amount):
        def pulled(x, at, chosen: bool):
            return (x + amount * at) / (1.0 + amount) if chosen else x

        return jax.tree.map(pulled, model, self._from(model), penalised(model, self.layers))

    def _from(self, model: Any) -> Any:
        return jax.tree.map(jnp.zeros_like, model) if self._anchor is None else self._anchor

    def held_at(self, anchor: Any) -> "Elastic":
        """This penalty with an anchor, a model of the structure that it will be asked of."""
        held = self.model_copy()
        held._anchor = anchor
        return held


def needs_anchor(penalty: Any) -> bool:
    """Whether a penalty, or a term of it, is one of the weights with which a stage began."""
    return isinstance(penalty, Elastic) or any(needs_anchor(term.penalty) for term in getattr(penalty, "terms", ()))


def anchored(penalty: AbstractPenalty, anchor: Any) -> AbstractPenalty:
    """A penalty whose elastic terms pull towards `anchor`; the penalty itself where it has none."""
    if not needs_anchor(penalty):
        return penalty
    if isinstance(penalty, WeightedSum):
        terms = [term.model_copy(update={"penalty": anchored(term.penalty, anchor)}) for term in penalty.terms]
        return penalty.model_copy(update={"terms": tuple(terms)})
    assert isinstance(penalty, Elastic), "no other penalty needs one"
    return penalty.held_at(anchor)
