"""Proximal descent, for penalties that are not differentiable: plain, with momentum, accelerated."""

from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from pydantic import Field

from ...problem.penalties import AbstractProximalPenalty
from .base import AbstractSteppedUpdate, Info, Objective, gradient_norm


class AbstractProximalUpdate(AbstractSteppedUpdate):
    """θ ← prox_{ηλP}(y − η∇L(y)) from some y, on the leaves that move; a weight can become exactly 0.

    Rules look at the norm of the gradient mapping (y − prox_{ηλP}(y − η∇L(y)))/η: 0 exactly at stationary points
    of L + λP, where a subgradient that is 0 at zeros need not be (theory.md §8); without a penalty it is ∇L.
    """

    rotation_equivariant: ClassVar[bool] = True


class Proximal(AbstractProximalUpdate):
    """θ ← prox_{ηλP}(θ − η∇L(θ) + μ(θ − θ₋)), μ = `momentum`: 0 by default (theory.md §8).

    With momentum the inertial proximal method of Ochs et al. 2014 (iPiano), θ₋ the weights before the last step.
    """

    kind: Literal["proximal"] = "proximal"
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None

    def limit(self):
        return None

    def init(self, model):
        return () if self.momentum is None else model

    def step(self, model, state, objective, clock):
        pushed = forward(model, objective)
        plain = backward(pushed, model, objective)
        seen = Info(_mapping(model, plain, objective))
        if self.momentum is None:
            return plain, (), seen
        carried = jax.tree.map(lambda y, x, before: y + self.momentum * (x - before), pushed, model, state)
        return backward(carried, model, objective), model, seen


class FISTA(AbstractProximalUpdate):
    """Accelerated proximal descent with restart (Beck & Teboulle 2009; O'Donoghue & Candès 2015).

        θ⁺ = prox_{ηλP}(y − η∇L(y)),   t⁺ = (1 + √(1 + 4t²))/2,   y⁺ = θ⁺ + (t − 1)/t⁺ (θ⁺ − θ)

    from y = θ, t = 1, to which it returns (t = 1, y⁺ = θ⁺) whenever ⟨y − θ⁺, θ⁺ − θ⟩ > 0. Step sizes are those of
    descent: η ≤ 1/curvature. Rules look at the gradient mapping at y, where the gradient is taken.
    """

    kind: Literal["fista"] = "fista"

    def limit(self):
        return None

    def init(self, model):
        return {"ahead": model, "t": jnp.ones((), jax.tree.leaves(model)[0].dtype)}

    def step(self, model, state, objective, clock):
        ahead, t = state["ahead"], state["t"]
        moved = backward(forward(ahead, objective), ahead, objective)
        overshoots = _inner(jax.tree.map(jnp.subtract, ahead, moved), jax.tree.map(jnp.subtract, moved, model)) > 0.0
        later = 0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * t * t))
        carry = jnp.where(overshoots, 0.0, (t - 1.0) / later)
        onward = jax.tree.map(lambda new, old: new + carry * (new - old), moved, model)
        state = {"ahead": onward, "t": jnp.where(overshoots, 1.0, later)}
        return moved, state, Info(_mapping(ahead, moved, objective))


def forward(model: Any, objective: Objective) -> Any:
    """θ − η∇L."""
    _, fit = objective.risk.value_and_gradient(model)
    return jax.tree.map(lambda x, g: x - objective.step_size * g, model, fit)


def backward(pushed: Any, model: Any, objective: Objective) -> Any:
    """prox_{ηλP}, on the leaves that move."""
    assert isinstance(objective.penalty, AbstractProximalPenalty), "a stage refuses other penalties"
    moved = objective.penalty.prox(pushed, objective.step_size * objective.strength)
    return jax.tree.map(jnp.where, objective.moves, moved, model)


def _mapping(model: Any, moved: Any, objective: Objective) -> Any:
    steps = jax.tree.map(lambda x, new: (x - new) / objective.step_size, model, moved)
    return gradient_norm(steps, objective.moves)


def _inner(first: Any, second: Any) -> Any:
    products = jax.tree.map(lambda x, y: jnp.sum(x * y), first, second)
    head, *others = jax.tree.leaves(products)
    return sum(others, head)
