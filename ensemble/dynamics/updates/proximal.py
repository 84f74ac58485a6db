"""Proximal descent, for penalties that are not differentiable."""

from typing import ClassVar, Literal

import jax

from ...problem.penalties import AbstractProximalPenalty
from .base import AbstractSteppedUpdate, Info, gradient_norm


class Proximal(AbstractSteppedUpdate):
    """θ ← prox_{ηλP}(θ − η∇L) (theory.md §8); a weight can become exactly 0."""

    kind: Literal["proximal"] = "proximal"
    rotation_equivariant: ClassVar[bool] = True

    def limit(self):
        return None

    def init(self, model):
        return ()

    def step(self, model, state, objective, clock):
        fit, _, whole = objective.gradients(model)
        forward = jax.tree.map(lambda x, g: x - objective.step_size * g, model, fit)
        assert isinstance(objective.penalty, AbstractProximalPenalty), "a stage refuses other penalties"
        moved = objective.penalty.prox(forward, objective.step_size * objective.strength)
        return moved, state, Info(gradient_norm(whole, objective.moves))
