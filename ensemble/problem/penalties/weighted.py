"""Sums of penalties, each with a strength of its own."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from pydantic import BeforeValidator, Field, NonNegativeFloat

from ...parts import chosen
from ...spec import Spec
from .base import AbstractPenalty, AbstractProximalPenalty

Single: Any = chosen(AbstractPenalty)


class Term(Spec):
    """One penalty of a sum: `strength` · P."""

    strength: NonNegativeFloat = 1.0
    penalty: Single  # pyright: ignore[reportInvalidTypeForm] (a type that the registry makes)


def _term(data: Any) -> Any:
    """`{kind = "l1", strength = 0.5}` is `{penalty = "l1", strength = 0.5}`; a name alone has strength 1."""
    if isinstance(data, AbstractPenalty | str):
        return {"penalty": data}
    if isinstance(data, Mapping) and "penalty" not in data:
        table = dict(data)
        strength = {"strength": table.pop("strength")} if "strength" in table else {}
        return {"penalty": table, **strength}
    return data


class WeightedSum(AbstractProximalPenalty):
    """P = Σ_k s_k P_k, the penalties of a list with a `strength` s_k each.

    It has a proximal map where its terms are l1, at most one group_lasso, and l2: their maps one after another, in this
    order, are exactly the map of the sum (Yuan, Liu & Ye 2011 for l1 and group_lasso; l2 rescales what they give).
    """

    kind: Literal["sum"] = "sum"
    terms: Annotated[tuple[Annotated[Term, BeforeValidator(_term)], ...], Field(min_length=1)]
    over_measures: ClassVar[str] = "is a sum, for which no certificate is known here"

    @property
    def parts(self) -> tuple[AbstractPenalty, ...]:
        return tuple(term.penalty for term in self.terms)

    @property
    def rotation_invariant(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return all(part.rotation_invariant for part in self.parts)

    @property
    def of_neurons(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return any(part.of_neurons or getattr(part, "layers", None) is not None for part in self.parts)

    @property
    def smooth(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return all(part.smooth for part in self.parts)

    @property
    def needs_homogeneous(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return any(part.needs_homogeneous for part in self.parts)

    @property
    def separable(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return all(isinstance(part, AbstractProximalPenalty) and part.separable for part in self.parts)

    @property
    def composes(self) -> bool:
        """Whether it has a proximal map."""
        places = [getattr(part, "place", None) for part in self.parts]
        return None not in places and places.count(1) <= 1

    def value(self, model):
        return jnp.asarray(sum(term.strength * term.penalty.value(model) for term in self.terms))

    def gradient(self, model):
        slopes = [jax.tree.map(lambda g, s=term.strength: s * g, term.penalty.gradient(model)) for term in self.terms]
        return jax.tree.map(lambda *gs: sum(gs[1:], gs[0]), *slopes)

    def prox(self, model, amount):
        for term in sorted(self.terms, key=lambda term: getattr(term.penalty, "place", 0)):
            model = term.penalty.prox(model, amount * term.strength)
        return model


def as_sum(value: Any) -> Any:
    """A list of penalties as the table of their sum; anything else as it is."""
    return {"kind": "sum", "terms": value} if isinstance(value, list | tuple) else value


Penalty: Any = Annotated[chosen(AbstractPenalty), BeforeValidator(as_sum)]
"""A field that holds a penalty: its name, a table, or a list of them with a `strength` each."""


def has_prox(penalty: AbstractPenalty) -> bool:
    """Whether a penalty has a proximal map."""
    return penalty.composes if isinstance(penalty, WeightedSum) else isinstance(penalty, AbstractProximalPenalty)
