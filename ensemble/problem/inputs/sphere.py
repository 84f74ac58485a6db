"""Inputs on a sphere."""

import math
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from ..risks.linear import LinearRisk
from ..risks.other_inputs import CENTRED, SphereRisk
from .base import AbstractInputs, activation_of

SAME = ("relu", "abs", "linear")
"""1-homogeneous activations, whose losses are those under N(0, I): ‖x‖² has mean d in both."""


class Sphere(AbstractInputs):
    """x uniform on the sphere of radius √d.

    Exact: relu, abs and linear as under N(0, I); square, abs_centred, relu_even; deep linear networks.
    """

    isotropic: ClassVar[bool] = True

    kind: Literal["sphere"] = "sphere"

    def draw(self, key, inputs):
        z = jax.random.normal(key, (inputs,))
        return z * (math.sqrt(inputs) / jnp.linalg.norm(z))

    def check(self, inputs, teacher):
        return

    def population_refusal(self, student, teacher):
        name = activation_of(teacher)
        if name in (None, "square", *SAME, *CENTRED):
            return None
        return f"with activation {name}: there is one for {', '.join((*SAME, 'square', *CENTRED))}"

    def population(self, risk, inputs):
        if isinstance(risk, LinearRisk) or risk.teacher.activation.name in SAME:
            return risk
        return SphereRisk.of(risk, inputs)
