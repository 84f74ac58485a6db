"""Standard normal inputs."""

from typing import ClassVar, Literal

import jax

from .base import AbstractInputs


class Gaussian(AbstractInputs):
    """x ~ N(0, I), which every closed form of this project begins with."""

    isotropic: ClassVar[bool] = True
    with_biases: ClassVar[bool] = True

    kind: Literal["gaussian"] = "gaussian"

    def draw(self, key, inputs):
        return jax.random.normal(key, (inputs,))

    def check(self, inputs, teacher):
        return

    def population_refusal(self, student, teacher):
        return None

    def population(self, risk, inputs):
        return risk
