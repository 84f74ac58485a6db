"""Positively 1-homogeneous activations: K(w, v) = ‖w‖‖v‖ κ(ρ), ρ = cos∠(w, v).

    ∂K/∂w = ‖v‖ [ (κ − ρκ′) w/‖w‖ + κ′ v/‖v‖ ]

so that `along` = κ′ and `radial` = (κ − ρκ′)‖v‖/‖w‖. Each activation gives σ on unit vectors, κ, and the
pair (κ − ρκ′, κ′); see theory.md §2 for the table.
"""

import abc
import math
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...numerics import positive_part, safe_divide
from ...numerics.inverse_trig import arccos, arcsin
from .base import AbstractActivation, Symmetry

_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)


def _sine(rho: Float[Array, "..."]) -> Float[Array, "..."]:
    """√(1 − ρ²) ≥ 0 for |ρ| ≤ 1, with derivative 0 instead of −∞ at |ρ| = 1."""
    square = (1.0 - rho) * (1.0 + rho)
    inside = square > 0.0
    return jnp.where(inside, jnp.sqrt(jnp.where(inside, square, 1.0)), 0.0)


class AbstractHomogeneous(AbstractActivation):
    """A positively 1-homogeneous activation, given by its dual activation κ."""

    homogeneous: ClassVar[bool] = True
    bend: ClassVar[float]
    """κ″(ρ)√(1 − ρ²), a constant: κ″ itself is infinite at |ρ| = 1, where it always meets a factor 1 − ρ²."""

    @abc.abstractmethod
    def kappa(self, rho: Float[Array, "..."]) -> Float[Array, "..."]:
        """κ(ρ) = E σ(wᵀx)σ(vᵀx) for unit vectors with wᵀv = ρ."""

    @abc.abstractmethod
    def kappa_slopes(self, rho: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """(κ − ρκ′, κ′) at ρ."""

    def dual(self, gram, norm_w, norm_v):
        norms = norm_w * norm_v
        return norms * self.kappa(_cosine(gram, norms))

    def dual_slopes(self, gram, norm_w, norm_v):
        remainder, slope = self.kappa_slopes(_cosine(gram, norm_w * norm_v))
        return remainder * safe_divide(norm_v, norm_w), slope


def _cosine(gram: Float[Array, "..."], norms: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.clip(safe_divide(gram, norms), -1.0, 1.0)


class ReLU(AbstractHomogeneous):
    """σ(z) = max(z, 0): κ = [√(1−ρ²) + ρ(π − arccos ρ)] / 2π."""

    name: ClassVar[str] = "relu"
    symmetry: ClassVar[Symmetry] = "ray"
    bend: ClassVar[float] = 0.5 / math.pi

    def __call__(self, preactivation, norm):
        return positive_part(preactivation)

    def kappa(self, rho):
        return (_sine(rho) + rho * arccos(-rho)) / (2.0 * math.pi)

    def kappa_slopes(self, rho):
        return _sine(rho) / (2.0 * math.pi), arccos(-rho) / (2.0 * math.pi)


class Abs(AbstractHomogeneous):
    """σ(z) = |z|: κ = (2/π)[√(1−ρ²) + ρ arcsin ρ]."""

    name: ClassVar[str] = "abs"
    symmetry: ClassVar[Symmetry] = "line"
    bend: ClassVar[float] = 2.0 / math.pi

    def __call__(self, preactivation, norm):
        return jnp.abs(preactivation)

    def kappa(self, rho):
        return (2.0 / math.pi) * (_sine(rho) + rho * arcsin(rho))

    def kappa_slopes(self, rho):
        return (2.0 / math.pi) * _sine(rho), (2.0 / math.pi) * arcsin(rho)


def _centred_sine(rho: Float[Array, "..."]) -> Float[Array, "..."]:
    """√(1 − ρ²) − 1 without cancellation at small ρ."""
    return -(rho * rho) / (1.0 + _sine(rho))


class AbsCentred(AbstractHomogeneous):
    """|z| with Hermite degree 0 removed: σ = |wᵀx| − ‖w‖√(2/π), κ = κ_abs − 2/π."""

    name: ClassVar[str] = "abs_centred"
    symmetry: ClassVar[Symmetry] = "line"
    bend: ClassVar[float] = 2.0 / math.pi

    def __call__(self, preactivation, norm):
        return jnp.abs(preactivation) - norm * _SQRT_2_OVER_PI

    def kappa(self, rho):
        return (2.0 / math.pi) * (_centred_sine(rho) + rho * arcsin(rho))

    def kappa_slopes(self, rho):
        return (2.0 / math.pi) * _centred_sine(rho), (2.0 / math.pi) * arcsin(rho)


class ReLUEven(AbstractHomogeneous):
    """relu with Hermite degrees 0 and 1 removed: σ = |wᵀx|/2 − ‖w‖/√(2π), κ = κ_abs/4 − 1/2π."""

    name: ClassVar[str] = "relu_even"
    symmetry: ClassVar[Symmetry] = "line"
    bend: ClassVar[float] = 0.5 / math.pi

    def __call__(self, preactivation, norm):
        return 0.5 * (jnp.abs(preactivation) - norm * _SQRT_2_OVER_PI)

    def kappa(self, rho):
        return (_centred_sine(rho) + rho * arcsin(rho)) / (2.0 * math.pi)

    def kappa_slopes(self, rho):
        return _centred_sine(rho) / (2.0 * math.pi), arcsin(rho) / (2.0 * math.pi)


class Linear(AbstractHomogeneous):
    """σ(z) = z: κ = ρ."""

    name: ClassVar[str] = "linear"
    symmetry: ClassVar[Symmetry] = "ray"
    bend: ClassVar[float] = 0.0

    def __call__(self, preactivation, norm):
        return preactivation

    def kappa(self, rho):
        return rho

    def kappa_slopes(self, rho):
        return jnp.zeros_like(rho), jnp.ones_like(rho)


class LeakyReLU(AbstractHomogeneous):
    """σ(z) = z for z > 0, else slope · z: `{kind = "leaky_relu", slope = 0.1}` in a study.

    It is (1+slope)/2 · z + (1−slope)/2 · |z|, so that κ = ((1+slope)/2)² ρ + ((1−slope)/2)² κ_abs.

    **Raises:** `ValueError` for a slope that is not finite, or ±1, which are `linear` and `abs`.
    """

    name: ClassVar[str] = "leaky_relu"
    symmetry: ClassVar[Symmetry] = "ray"

    slope: float = eqx.field(static=True, default=0.01)

    def __check_init__(self):
        slope = self.slope
        if isinstance(slope, bool) or not isinstance(slope, int | float) or not math.isfinite(slope):
            raise ValueError(f"slope: got {slope!r}; give a finite number")
        if abs(slope) == 1.0:
            raise ValueError(f"slope: got {slope:g}; take the activation {'linear' if slope > 0 else 'abs'}")

    @property
    def bend(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride] (its slope decides)
        return self.four_numbers()[3]

    def four_numbers(self) -> tuple[float, float, float, float]:
        """(p₀, p₁, q₀, q₁): κ′ = p₀ + p₁ arcsin ρ and κ − ρκ′ = q₀ + q₁ √(1 − ρ²)."""
        even = 0.5 * (1.0 - self.slope)
        size = even * even * 2.0 / math.pi
        return (0.25 * (1.0 + self.slope) ** 2, size, 0.0, size)

    def __call__(self, preactivation, norm):
        return jnp.where(preactivation > 0.0, preactivation, self.slope * preactivation)

    def kappa(self, rho):
        p0, size, _, _ = self.four_numbers()
        return p0 * rho + size * (_sine(rho) + rho * arcsin(rho))

    def kappa_slopes(self, rho):
        p0, size, _, _ = self.four_numbers()
        return size * _sine(rho), p0 + size * arcsin(rho)
