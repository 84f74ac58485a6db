"""Activations that are not homogeneous, with closed dual kernels all the same."""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from ...numerics.inverse_trig import arcsin
from .base import AbstractActivation, Symmetry


class Erf(AbstractActivation):
    """σ(z) = erf(z/√2): K = (2/π) arcsin( wᵀv / √((1+‖w‖²)(1+‖v‖²)) )."""

    name: ClassVar[str] = "erf"
    symmetry: ClassVar[Symmetry] = "ray"
    homogeneous: ClassVar[bool] = False

    def __call__(self, preactivation, norm):
        return jax.scipy.special.erf(preactivation / math.sqrt(2.0))

    def dual(self, gram, norm_w, norm_v):
        # The square roots apart: their product would overflow at half the exponent.
        scale = jnp.sqrt(1.0 + norm_w * norm_w) * jnp.sqrt(1.0 + norm_v * norm_v)
        return (2.0 / math.pi) * arcsin(jnp.clip(gram / scale, -1.0, 1.0))

    def dual_slopes(self, gram, norm_w, norm_v):
        plus_w, plus_v = 1.0 + norm_w * norm_w, 1.0 + norm_v * norm_v
        # plus_w · plus_v − gram² = 1 + ‖w‖² + ‖v‖² + (‖w‖²‖v‖² − gram²), whose bracket is ≥ 0.
        cross = jnp.maximum((norm_w * norm_v - gram) * (norm_w * norm_v + gram), 0.0)
        along = (2.0 / math.pi) / jnp.sqrt(plus_w + norm_v * norm_v + cross)
        return -along * gram / plus_w, along * jnp.ones_like(plus_v)


class Square(AbstractActivation):
    """σ(z) = z²: K = ‖w‖²‖v‖² + 2(wᵀv)²."""

    name: ClassVar[str] = "square"
    symmetry: ClassVar[Symmetry] = "line"
    homogeneous: ClassVar[bool] = False

    def __call__(self, preactivation, norm):
        return preactivation * preactivation

    def dual(self, gram, norm_w, norm_v):
        norms = norm_w * norm_v
        return norms * norms + 2.0 * gram * gram

    def dual_slopes(self, gram, norm_w, norm_v):
        return 2.0 * norm_v * norm_v * jnp.ones_like(gram), 4.0 * gram
