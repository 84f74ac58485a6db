"""Probes of the objective: the risk, the penalty, their gradient, and the numbers of the step."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from ..dynamics.updates import gradient_norm
from .base import AbstractPlainProbe, Measured


def fit(at: Measured):
    """(L, ∇L) at the model."""
    return at.moment.risk.value_and_gradient(at.moment.model)


class Loss(AbstractPlainProbe):
    """L, what is fitted."""

    name: ClassVar[str] = "loss"
    long_name: ClassVar[str] = "loss L: ½E(f−f*)² of the population, or the value of the risk of one's own"
    default: ClassVar[bool] = True

    def __call__(self, at):
        return at.view(fit)[0]


class Risk(AbstractPlainProbe):
    """L + λP at the λ of the step."""

    name: ClassVar[str] = "risk"
    long_name: ClassVar[str] = "regularised risk L + λP, P = (‖a‖²+‖W‖²)/2 by default, λ of the step"
    default: ClassVar[bool] = True

    def __call__(self, at):
        return at.view(fit)[0] + at.moment.decay * at.penalty.value(at.moment.model)


class GradNorm(AbstractPlainProbe):
    """‖∇(L + λP)‖ on the leaves that move."""

    name: ClassVar[str] = "grad_norm"
    long_name: ClassVar[str] = "norm of the gradient of the regularised risk on the weights that move"
    default: ClassVar[bool] = True

    def __call__(self, at):
        now = at.moment
        shrink = jax.tree.map(lambda slope: now.decay * slope, at.penalty.gradient(now.model))
        return gradient_norm(jax.tree.map(jnp.add, at.view(fit)[1], shrink), now.moves)


class AppliedDecay(AbstractPlainProbe):
    """λ."""

    name: ClassVar[str] = "applied_decay"
    long_name: ClassVar[str] = "λ of the step: of the one after a record, of the last one looked at at an end"

    def __call__(self, at):
        return at.moment.decay


class AppliedStepSize(AbstractPlainProbe):
    """η."""

    name: ClassVar[str] = "applied_step_size"
    long_name: ClassVar[str] = "step size η of that step; 0 where a stage takes none"

    def __call__(self, at):
        return at.moment.step_size
