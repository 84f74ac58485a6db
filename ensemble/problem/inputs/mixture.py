"""Mixtures of Gaussian clusters."""

from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from pydantic import Field, PositiveFloat, model_validator

from .base import AbstractInputs

Mean = Annotated[tuple[float, ...], Field(min_length=1)]


class Mixture(AbstractInputs):
    """x = μ_c + `spread` · z, z ~ N(0, I), cluster c drawn with equal shares, `means` μ_c one a row.

    No closed form: such studies need samples, and losses come from a test sample.
    """

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
        return ""

    def population(self, risk, inputs):
        return None

    @model_validator(mode="after")
    def _check(self):
        if len({len(row) for row in self.means}) != 1:
            raise ValueError(
                f"means: got rows of lengths {sorted({len(row) for row in self.means})}; give rows of one length"
            )
        return self
