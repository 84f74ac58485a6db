"""The risk of two tasks with a sample each; and the whole sample of any risk."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .adversary import AdversarialRisk
from .base import AbstractScoredRisk
from .sample import BatchRisk, SampleRisk


class TwoSamplesRisk(AbstractScoredRisk):
    """(1 − w) · ½ mean (f − y₁)² + w · ½ mean (f − y₂)² over a sample of each task of a teacher of two.

    Stages choose: w = 0 of a `target` in the first task, 1 of one in the second. Of the whole teacher, as probes see
    it, it is the mean over all rows of both.

    **Arguments:** `population`, of the whole teacher; the samples of the tasks; w, `weight` of the second.
    """

    population: Any
    first: SampleRisk
    second: SampleRisk
    weight: Float[Array, "*batch"]

    @classmethod
    def of(cls, population: Any, first: SampleRisk, second: SampleRisk) -> "TwoSamplesRisk":
        """That of all rows."""
        share = len(second.x) / (len(first.x) + len(second.x))
        return cls(population, first, second, jnp.full((), share, first.y.dtype))

    @property
    def scoring(self):
        return self.population

    @property
    def sample(self) -> SampleRisk:
        """All rows, those of the first task before those of the second; the noise is that of the first."""
        x, y = (jnp.concatenate([getattr(one, name) for one in (self.first, self.second)]) for name in ("x", "y"))
        return SampleRisk(self.population, x, y, self.first.noise)

    def value(self, model):
        return self._both(self.first.value(model), self.second.value(model))

    def value_and_gradient(self, model):
        return self._both(self.first.value_and_gradient(model), self.second.value_and_gradient(model))

    def read_out(self, model: Any):
        """Normal equations of the output layer: those of both samples."""
        return self._both(self.first.read_out(model), self.second.read_out(model))

    def _both(self, first: Any, second: Any) -> Any:
        return jax.tree.map(lambda one, other: (1.0 - self.weight) * one + self.weight * other, first, second)

    def of_target(self, share: Float[Array, " neuron"]) -> "TwoSamplesRisk":
        """That of the sample of the one task that the target is."""
        is_second = jnp.max(share[len(share) // 2 :]) > 0.0
        weight = jnp.where(is_second, 1.0, 0.0).astype(self.weight.dtype)
        return TwoSamplesRisk(self.population.of_target(share), self.first, self.second, weight)


def task_share(neurons: int, number: int) -> Array:
    """The share of every neuron of a teacher of two tasks in one of them: 1 of its own half, else 0."""
    return jnp.where(jnp.arange(neurons) // (neurons // 2) == number, 1.0, 0.0)


def whole_sample(risk: Any) -> Any:
    """The sample inside a risk: of batches, of an adversary, of two tasks; the risk itself where it is none."""
    return risk.sample if isinstance(risk, BatchRisk | AdversarialRisk | TwoSamplesRisk) else risk
