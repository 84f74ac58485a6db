"""Smooth activations whose dual kernels are Hermite series (`series.py`)."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from .base import Symmetry
from .series import AbstractSeries


class Tanh(AbstractSeries):
    """σ(z) = tanh z."""

    name: ClassVar[str] = "tanh"
    symmetry: ClassVar[Symmetry] = "ray"
    homogeneous: ClassVar[bool] = False

    def __call__(self, preactivation, norm):
        return jnp.tanh(preactivation)


class Sigmoid(AbstractSeries):
    """σ(z) = 1/(1 + e^−z)."""

    name: ClassVar[str] = "sigmoid"
    symmetry: ClassVar[Symmetry] = "ray"
    homogeneous: ClassVar[bool] = False

    def __call__(self, preactivation, norm):
        return jax.nn.sigmoid(preactivation)


class Softplus(AbstractSeries):
    """σ(z) = log(1 + e^z)."""

    name: ClassVar[str] = "softplus"
    symmetry: ClassVar[Symmetry] = "ray"
    homogeneous: ClassVar[bool] = False

    def __call__(self, preactivation, norm):
        return jax.nn.softplus(preactivation)


class SiLU(AbstractSeries):
    """σ(z) = z/(1 + e^−z), also called swish."""

    name: ClassVar[str] = "silu"
    symmetry: ClassVar[Symmetry] = "ray"
    homogeneous: ClassVar[bool] = False

    def __call__(self, preactivation, norm):
        return preactivation * jax.nn.sigmoid(preactivation)
