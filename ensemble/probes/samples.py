"""Probes of members that are trained on a sample of their own (theory.md §10)."""

from typing import ClassVar

import jax.numpy as jnp

from ..numerics import safe_divide
from ..problem.risks import whole_sample
from ..problem.risks.sample import seen, values
from .base import AbstractPlainProbe, Measured
from .objective import fit, population_loss


class AbstractSampleProbe(AbstractPlainProbe):
    """A probe of a member with a sample."""

    of_samples: ClassVar[bool] = True


def sample_of(at: Measured):
    """The member's whole sample."""
    return whole_sample(at.moment.risk)


class TrainLoss(AbstractSampleProbe):
    """½ mean ‖f(x_i) − y_i‖² over the member's whole sample, noise of the labels included."""

    name: ClassVar[str] = "train_loss"
    long_name: ClassVar[str] = "training loss ½ mean (f(x_i) − y_i)² over the member's sample, noise included"
    default: ClassVar[bool] = True

    def __call__(self, at):
        return at.view(fit)[0]


class GeneralisationGap(AbstractSampleProbe):
    """½E‖f(x) − y‖² − ½ mean ‖f(x_i) − y_i‖², fresh labels as noisy as those of the sample: `loss` + kσ²/2 −
    `train_loss` for k outputs."""

    name: ClassVar[str] = "generalisation_gap"
    long_name: ClassVar[str] = "expected loss on a fresh noisy sample minus the training loss"
    default: ClassVar[bool] = True

    def __call__(self, at):
        sample = sample_of(at)
        outputs = sample.y.size // len(sample.y)
        return at.view(population_loss) + 0.5 * outputs * sample.noise**2 - at.view(fit)[0]


class LabelNoiseFit(AbstractSampleProbe):
    """Σ (f − f*)(x_i) ξ_i / Σ ξ_i², ξ = y − f*: 0 where the noise was not fitted, 1 where f goes through every label;
    0 without noise."""

    name: ClassVar[str] = "label_noise_fit"
    long_name: ClassVar[str] = "share of the labels' noise that was fitted: regression of f − f* on it over the sample"

    def __call__(self, at):
        sample = sample_of(at)
        clean = values(sample.teacher, sample.x)
        noise, error = sample.y - clean, values(seen(sample.population, at.moment.model), sample.x) - clean
        # Without noise ξ is the rounding of two programs, and its square no scale.
        square = jnp.where(sample.noise > 0.0, jnp.sum(noise**2), 0.0)
        return safe_divide(jnp.sum(error * noise), square)
