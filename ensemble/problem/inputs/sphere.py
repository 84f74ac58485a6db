"""Inputs on a sphere."""

import math
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from ..risks.linear import LinearRisk
from ..risks.other_inputs import CENTRED, SphereRisk
from .base import AbstractInputs, activation_of, is_of_product


class Sphere(AbstractInputs):
    """x uniform on the sphere of radius √d.

    Exact: 1-homogeneous activations of wᵀx alone as under N(0, I), since ‖x‖² has mean d in both; square, abs_centred,
    relu_even; deep linear networks.
    """

    isotropic: ClassVar[bool] = True

    kind: Literal["sphere"] = "sphere"

    def draw(self, key, inputs):
        z = jax.random.normal(key, (inputs,))
        return z * (math.sqrt(inputs) / jnp.linalg.norm(z))

    def check(self, inputs, teacher):
        return

    def population_refusal(self, student, teacher):
        sigma = activation_of(teacher)
        if sigma is None or sigma.name in ("square", *CENTRED) or (sigma.homogeneous and is_of_product(sigma)):
            return None
        return (
            f"with activation {sigma.name}: there is one for 1-homogeneous ones of wᵀx alone (relu, leaky_relu, abs, "
            f"linear), {', '.join(('square', *CENTRED))}"
        )

    def population(self, risk, inputs):
        if isinstance(risk, LinearRisk):
            return risk
        sigma = risk.teacher.activation
        if sigma.homogeneous and sigma.name not in CENTRED:
            return risk
        return SphereRisk.of(risk, inputs)
