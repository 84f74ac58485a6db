"""Inputs of independent coordinates with mean 0 and variance 1."""

import abc
import math
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from pydantic import Field, model_validator

from ..risks.linear import LinearRisk
from ..risks.other_inputs import QuarticRisk
from .base import AbstractInputs, activation_of


class AbstractIndependent(AbstractInputs):
    """Independent coordinates of variance 1, known by their excess kurtosis.

    Exact: linear networks as under N(0, I), and `square` (`QuarticRisk`).
    """

    @abc.abstractmethod
    def excess_kurtosis(self) -> Any:
        """E x_1⁴ − 3."""

    @abc.abstractmethod
    def moments(self) -> float:
        """The order from which on moments are infinite."""

    def check(self, inputs, teacher):
        sigma = activation_of(teacher)
        if sigma is not None and not (needed := 2 * sigma.growth) < self.moments():
            raise ValueError(
                f"got {self.kind!r}, of which moments of order {self.moments():g} are infinite, with activation "
                f"{sigma.name}, whose loss has moments of order {needed}; take lighter tails or another activation"
            )

    def population_refusal(self, student, teacher):
        sigma = activation_of(teacher)
        if sigma is None or sigma.name in ("linear", "square"):
            return None
        return f"with activation {sigma.name}: there is one for linear, square"

    def population(self, risk, inputs):
        if isinstance(risk, LinearRisk) or risk.teacher.activation.name == "linear":
            return risk
        return QuarticRisk(risk, jnp.asarray(self.excess_kurtosis()))


class Rademacher(AbstractIndependent):
    """x_k = ±1."""

    kind: Literal["rademacher"] = "rademacher"

    def draw(self, key, inputs):
        return jax.random.rademacher(key, (inputs,), float)

    def excess_kurtosis(self):
        return -2.0

    def moments(self):
        return math.inf


class Uniform(AbstractIndependent):
    """x_k uniform on [−√3, √3]."""

    kind: Literal["uniform"] = "uniform"

    def draw(self, key, inputs):
        return math.sqrt(3.0) * jax.random.uniform(key, (inputs,), minval=-1.0, maxval=1.0)

    def excess_kurtosis(self):
        return -1.2

    def moments(self):
        return math.inf


class StudentT(AbstractIndependent):
    """x_k of Student's t with ν = `freedom` degrees of freedom, scaled to variance 1: heavy tails.

    Moments of order ν and beyond are infinite: networks whose activation grows as |z|^n have a finite loss for ν > 2n
    alone.
    """

    kind: Literal["student_t"] = "student_t"
    freedom: Annotated[float, Field(gt=0.0)]

    def draw(self, key, inputs):
        return jnp.sqrt(1.0 - 2.0 / self.freedom) * jax.random.t(key, self.freedom, (inputs,))

    def excess_kurtosis(self):
        return 6.0 / (self.freedom - 4.0) if isinstance(self.freedom, jax.Array) or self.freedom > 4 else math.inf

    def moments(self):
        return self.freedom

    @model_validator(mode="after")
    def _check(self):
        if self.freedom <= 2.0:
            raise ValueError(
                f"freedom: got {self.freedom:g} degrees of freedom, of which Student's t has no variance, so that no "
                "loss is finite; take more than 2"
            )
        return self
