"""Mixtures of Gaussian clusters."""

from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
from pydantic import Field, PositiveFloat, model_validator

from ..activations.biased import BIASED, biased_dual
from ..risks.linear import LinearRisk
from ..risks.mixture import MixtureLinearRisk, MixtureRisk
from .base import AbstractInputs, activation_of

Mean = Annotated[tuple[float, ...], Field(min_length=1)]


class Mixture(AbstractInputs):
    """x = μ_c + `spread` · z, z ~ N(0, I), cluster c drawn with equal shares, `means` μ_c one a row.

    Exact for the activations whose kernel has a closed form with biases, which every cluster's mean is, and for deep
    linear networks.
    """

    with_biases: ClassVar[bool] = True

    kind: Literal["mixture"] = "mixture"
    means: Annotated[tuple[Mean, ...], Field(min_length=1)]
    spread: PositiveFloat = 1.0

    def draw(self, key, inputs):
        means = jnp.asarray(self.means)
        cluster = jax.random.randint(jax.random.fold_in(key, 0), (), 0, len(means))
        return means[cluster] + self.spread * jax.random.normal(jax.random.fold_in(key, 1), (inputs,))

    def check(self, inputs, teacher):
        if len(self.means[0]) != inputs:
            raise ValueError(
                f"means: got rows of {len(self.means[0])} for {inputs} inputs; give one number a coordinate"
            )

    def population_refusal(self, student, teacher):
        sigma = activation_of(teacher)
        if sigma is None or biased_dual(sigma) is not None:
            return None
        return f"with activation {sigma.name}: there is one for {', '.join(BIASED)}"

    def population(self, risk, inputs):
        means, root = jnp.asarray(self.means), jnp.full(inputs, self.spread)
        made = MixtureLinearRisk if isinstance(risk, LinearRisk) else MixtureRisk.of
        return made(risk.teacher, means, root)

    @model_validator(mode="after")
    def _check(self):
        if len({len(row) for row in self.means}) != 1:
            raise ValueError(
                f"means: got rows of lengths {sorted({len(row) for row in self.means})}; give rows of one length"
            )
        return self
