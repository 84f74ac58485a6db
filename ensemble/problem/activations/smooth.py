"""Activations that are no polynomials and not homogeneous, with closed dual kernels all the same."""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from ...numerics import positive_part
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
        cross = positive_part((norm_w * norm_v - gram) * (norm_w * norm_v + gram))
        along = (2.0 / math.pi) / jnp.sqrt(plus_w + norm_v * norm_v + cross)
        return -along * gram / plus_w, along * jnp.ones_like(plus_v)


class Square(AbstractActivation):
    """σ(z) = z²: K = ‖w‖²‖v‖² + 2(wᵀv)²."""

    name: ClassVar[str] = "square"
    symmetry: ClassVar[Symmetry] = "line"
    homogeneous: ClassVar[bool] = False
    growth: ClassVar[int] = 2

    def __call__(self, preactivation, norm):
        return preactivation * preactivation

    def dual(self, gram, norm_w, norm_v):
        norms = norm_w * norm_v
        return norms * norms + 2.0 * gram * gram

    def dual_slopes(self, gram, norm_w, norm_v):
        return 2.0 * norm_v * norm_v * jnp.ones_like(gram), 4.0 * gram


class Sine(AbstractActivation):
    """σ(z) = sin z: K = e^{−(‖w‖²+‖v‖²)/2} sinh wᵀv."""

    name: ClassVar[str] = "sin"
    symmetry: ClassVar[Symmetry] = "ray"
    homogeneous: ClassVar[bool] = False

    def __call__(self, preactivation, norm):
        return jnp.sin(preactivation)

    def dual(self, gram, norm_w, norm_v):
        half = 0.5 * (norm_w * norm_w + norm_v * norm_v)
        # |wᵀv| ≤ half, so that no exponent is positive; the difference of two would lose small products.
        small = jnp.exp(-half) * jnp.sinh(jnp.clip(gram, -1.0, 1.0))
        return jnp.where(jnp.abs(gram) <= 1.0, small, 0.5 * (jnp.exp(gram - half) - jnp.exp(-gram - half)))

    def dual_slopes(self, gram, norm_w, norm_v):
        half = 0.5 * (norm_w * norm_w + norm_v * norm_v)
        return -self.dual(gram, norm_w, norm_v), 0.5 * (jnp.exp(gram - half) + jnp.exp(-gram - half))


class GELU(AbstractActivation):
    """σ(z) = z Φ(z), Φ the normal distribution function.

    With q = ‖w‖², p = ‖v‖², c = wᵀv, D = (1+q)(1+p) − c², I = E φ(wᵀx)φ(vᵀx) = 1/(2π√D) and
    A = E Φ(wᵀx)Φ(vᵀx) = ¼ + arcsin(c/√((1+q)(1+p)))/2π, partial integration gives

        K = qpI + cA + c²IS,    S = 1/(1+q) + 1/(1+p) − 1
        along = A + cI [1/(1+q) + 1/(1+p) + 1/D],    radial = 2 ∂K/∂q
    """

    name: ClassVar[str] = "gelu"
    symmetry: ClassVar[Symmetry] = "ray"
    homogeneous: ClassVar[bool] = False

    def __call__(self, preactivation, norm):
        return preactivation * jax.scipy.stats.norm.cdf(preactivation)

    def _terms(self, gram, norm_w, norm_v):
        q, p = norm_w * norm_w, norm_v * norm_v
        # As in `Erf`: q p − c² ≥ 0 on its own, so that D ≥ 1 + q + p.
        cross = positive_part((norm_w * norm_v - gram) * (norm_w * norm_v + gram))
        determinant = 1.0 + q + p + cross
        both = 1.0 / (2.0 * math.pi * jnp.sqrt(determinant))
        scale = jnp.sqrt(1.0 + q) * jnp.sqrt(1.0 + p)
        orthant = 0.25 + arcsin(jnp.clip(gram / scale, -1.0, 1.0)) / (2.0 * math.pi)
        return q, p, determinant, both, orthant

    def dual(self, gram, norm_w, norm_v):
        q, p, _, both, orthant = self._terms(gram, norm_w, norm_v)
        shares = 1.0 / (1.0 + q) + 1.0 / (1.0 + p) - 1.0
        return (q * p + gram * gram * shares) * both + gram * orthant

    def dual_slopes(self, gram, norm_w, norm_v):
        q, p, determinant, both, orthant = self._terms(gram, norm_w, norm_v)
        one_w, one_v = 1.0 / (1.0 + q), 1.0 / (1.0 + p)
        square = gram * gram
        falls = (1.0 + p) / determinant  # −2 ∂I/∂q over I
        kernel_part = (q * p + square * (one_w + one_v - 1.0)) * falls
        radial = both * (2.0 * p - kernel_part - square * one_w * (1.0 + 2.0 * one_w))
        return radial, orthant + gram * both * (one_w + one_v + 1.0 / determinant)
