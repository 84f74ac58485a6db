"""Polynomials of the preactivation: closed dual kernels by their Hermite coefficients.

Of σ(z) = Σ_n a_n zⁿ and u = wᵀx, x ~ N(0, I), with q = ‖w‖², p = ‖v‖² and c = wᵀv,

    K(w, v) = Σ_k β_k(q) β_k(p) c^k,    β_k(q) = Σ_j a_{k+2j} (k+2j)! / (2^j j! √k!) q^j

(σ(wᵀx) has the k-th normalised Hermite coefficient ‖w‖^k β_k(‖w‖²)), so that `along` = Σ_k k β_k(q) β_k(p) c^{k−1} and
`radial` = 2 Σ_k β_k′(q) β_k(p) c^k, without a quotient of norms.
"""

import abc
import math
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp

from .base import AbstractActivation, Symmetry

MOST_DEGREE = 12
"""Of a polynomial: the 12th moments of a Gaussian are of order 10⁴, and float64 has 16 digits."""


class AbstractPolynomial(AbstractActivation):
    """A polynomial of the preactivation, given by its coefficients."""

    homogeneous: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def powers(self) -> tuple[float, ...]:
        """a_0, a_1, …: the factors of 1, z, z², …"""

    @property
    def growth(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] (its coefficients decide)
        """Its degree."""
        return max(n for n, a in enumerate(self.powers) if a)

    def __call__(self, preactivation, norm):
        return _horner(self.powers, preactivation)

    def dual(self, gram, norm_w, norm_v):
        q, p = norm_w * norm_w, norm_v * norm_v
        return _horner([_horner(b, q) * _horner(b, p) for b in self._hermite()], gram)

    def dual_slopes(self, gram, norm_w, norm_v):
        q, p = norm_w * norm_w, norm_v * norm_v
        betas = self._hermite()
        along = [k * _horner(b, q) * _horner(b, p) for k, b in enumerate(betas)][1:] or [jnp.zeros_like(q * p)]
        radial = [2.0 * _horner(_derivative(b), q) * _horner(b, p) for b in betas]
        return _horner(radial, gram), _horner(along, gram)

    def _hermite(self) -> list[list[float]]:
        """β_k as coefficients in q, for every degree k."""
        a, factorial = self.powers, math.factorial
        return [
            [
                a[k + 2 * j] * factorial(k + 2 * j) / (2.0**j * factorial(j) * math.sqrt(factorial(k)))
                for j in range((len(a) - 1 - k) // 2 + 1)
            ]
            for k in range(len(a))
        ]


def _horner(coefficients, x):
    """Σ_n coefficients_n xⁿ, of the shape of x and the coefficients."""
    total = jnp.zeros_like(x) + coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


def _derivative(coefficients: list[float]) -> list[float]:
    return [n * a for n, a in enumerate(coefficients)][1:] or [0.0]


class HermiteTwo(AbstractPolynomial):
    """σ(z) = (z² − 1)/√2, the second normalised Hermite polynomial: K = ρ² between unit vectors."""

    name: ClassVar[str] = "h2"
    symmetry: ClassVar[Symmetry] = "line"

    @property
    def powers(self):
        return (-1.0 / math.sqrt(2.0), 0.0, 1.0 / math.sqrt(2.0))


class HermiteThree(AbstractPolynomial):
    """σ(z) = (z³ − 3z)/√6, the third normalised Hermite polynomial: K = ρ³ between unit vectors."""

    name: ClassVar[str] = "h3"
    symmetry: ClassVar[Symmetry] = "ray"

    @property
    def powers(self):
        return (0.0, -3.0 / math.sqrt(6.0), 0.0, 1.0 / math.sqrt(6.0))


class Polynomial(AbstractPolynomial):
    """σ(z) = Σ_n coefficients_n zⁿ: `{kind = "polynomial", coefficients = [0.0, 1.0, 0.5]}` in a study.

    Its neurons are lines where no odd power occurs, and rays otherwise.

    **Raises:** `ValueError` for no coefficients, more than 13 of them, one that is not finite, and a constant.
    """

    name: ClassVar[str] = "polynomial"

    coefficients: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, coefficients):
        given = coefficients if isinstance(coefficients, list | tuple) else [coefficients]
        if not all(isinstance(a, int | float) and not isinstance(a, bool) and math.isfinite(a) for a in given):
            raise ValueError(f"coefficients: got {coefficients!r}; give finite numbers, the factors of 1, z, z², …")
        self.coefficients = tuple(float(a) for a in given)
        if not any(self.coefficients[1:]):
            raise ValueError(f"coefficients: got {coefficients!r}, a constant; give factors of 1, z, z², … beyond it")
        if len(self.coefficients) > MOST_DEGREE + 1:
            raise ValueError(
                f"coefficients: got {len(self.coefficients)}, a degree of {len(self.coefficients) - 1}; at most "
                f"{MOST_DEGREE}, beyond which the moments of a Gaussian leave no digits"
            )

    @property
    def symmetry(self) -> Symmetry:  # pyright: ignore[reportIncompatibleVariableOverride] (its coefficients decide)
        return "ray" if any(self.coefficients[1::2]) else "line"

    @property
    def powers(self):
        return self.coefficients
