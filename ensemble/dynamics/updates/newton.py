"""Newton's method, as a finish: from near a stationary point to gradient norms at rounding level."""

from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg
from pydantic import Field

from .base import AbstractSteppedUpdate, Info, Objective, gradient_norm
from .optax_updates import promotion

_REACH = 1e-5
"""Central differences of a gradient in float64: truncation (the square of it) and rounding (ε over it) are alike."""
_PRECISION = 1e-4
"""To which share of its right side a step's linear system is solved: the gradient falls by about as much a step."""


class Newton(AbstractSteppedUpdate):
    """Regularised Newton steps towards ∇(L + λP) = 0, on what a stage moves.

        (H + μI) p = −g,   μ = ν‖g‖;   θ ← θ + p and ν ← ν/10 where the gradient's norm falls, else ν ← 10ν

    with g = ∇(L + λP) and H its Jacobian, whose products are central differences of g: the system is solved by
    conjugate gradients without a matrix (Knoll & Keyes 2004). The norm falls superlinearly near a minimum, also where H
    is singular (Li, Fukushima, Qi & Yamashita 2004), down to rounding. Steps are judged by the gradient alone, because
    differences of losses are rounding there: it finds **the stationary point that is near, a saddle as well as a
    minimum**, and can stand still far from one. Begin it where another update has come close, and end it by
    `grad_norm`.

    A step of the clock is one attempt; `step_size` says what time it counts, and shortens nothing. `most`: products a
    step at most, of two gradients each.
    """

    kind: Literal["newton"] = "newton"
    rotation_equivariant: ClassVar[bool] = True
    most: Annotated[int, Field(ge=1, le=10_000)] = 200

    def limit(self):
        return None

    def init(self, model):
        return jnp.ones((), jax.tree.leaves(model)[0].dtype)

    def step(self, model, state, objective, clock):
        slope = objective.on_what_moves(objective.gradients(model)[2])
        norm = gradient_norm(slope, objective.moves)
        product = _product(model, objective)

        def regularised(direction: Any) -> Any:
            return jax.tree.map(lambda h, v: h + state * norm * v, product(direction), direction)

        with promotion():
            change, _ = cg(regularised, jax.tree.map(jnp.negative, slope), tol=_PRECISION, maxiter=self.most)
        candidate = jax.tree.map(jnp.add, model, change)
        after = gradient_norm(objective.on_what_moves(objective.gradients(candidate)[2]), objective.moves)
        better = after < norm
        new = jax.tree.map(lambda one, other: jnp.where(better, one, other), candidate, model)
        return new, jnp.where(better, 0.1 * state, 10.0 * state), Info(norm)


def _product(model: Any, objective: Objective) -> Any:
    """v ↦ Hv, by central differences of the gradient over a length that is small beside the model's."""
    size = _length(model)

    def along(direction: Any) -> Any:
        length = _length(direction)
        reach = _REACH * size / jnp.where(length > 0.0, length, 1.0)
        ahead = objective.gradients(jax.tree.map(lambda x, v: x + reach * v, model, direction))[2]
        behind = objective.gradients(jax.tree.map(lambda x, v: x - reach * v, model, direction))[2]
        return objective.on_what_moves(jax.tree.map(lambda one, other: (one - other) / (2.0 * reach), ahead, behind))

    return along


def _length(model: Any) -> Any:
    first, *others = (jnp.sum(x * x) for x in jax.tree.leaves(model))
    return jnp.sqrt(sum(others, first))
