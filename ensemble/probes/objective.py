"""Probes of the objective: the risk, the penalty, their gradient, and the numbers of the step."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from ..dynamics.updates import gradient_norm
from ..problem.risks import HeldOutRisk, scored
from .base import AbstractPlainProbe, Measured


def fit(at: Measured):
    """(L, ∇L) at the model: of what it is trained on, all samples of it."""
    return at.moment.risk.value_and_gradient(at.moment.model)


def population_loss(at: Measured):
    """The loss that the model is scored by: of the population, or of a risk that has none beside it."""
    risk = at.moment.risk
    return at.view(fit)[0] if scored(risk) is risk else scored(risk).value(at.moment.model)


class Loss(AbstractPlainProbe):
    """L of the population, whatever the member is trained on."""

    name: ClassVar[str] = "loss"
    long_name: ClassVar[str] = "loss L: ½E(f−f*)² of the population, or the value of the risk of one's own"
    default: ClassVar[bool] = True

    def __call__(self, at):
        return at.view(population_loss)


class LossError(AbstractPlainProbe):
    """The standard error of `loss` where a test sample estimates it, and 0 where it is exact."""

    name: ClassVar[str] = "loss_error"
    long_name: ClassVar[str] = "standard error of the loss, of the size of its test sample; 0: the loss is exact"

    def __call__(self, at):
        risk = scored(at.moment.risk)
        if isinstance(risk, HeldOutRisk):
            return risk.value_and_error(at.moment.model)[1]
        return jnp.zeros_like(at.moment.decay)


class Risk(AbstractPlainProbe):
    """L + λP at the λ of the step, L the `loss`."""

    name: ClassVar[str] = "risk"
    long_name: ClassVar[str] = "regularised risk L + λP, P = (‖a‖²+‖W‖²)/2 by default, λ of the step"
    default: ClassVar[bool] = True

    def __call__(self, at):
        return at.view(population_loss) + at.moment.decay * at.penalty.value(at.moment.model)


class GradNorm(AbstractPlainProbe):
    """‖∇(L + λP)‖ on the leaves that move, L what the member is trained on: all of its sample, where it has one."""

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
