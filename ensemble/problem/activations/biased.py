"""Dual kernels of neurons with biases, in closed form: E σ(u)σ(v) of u = wᵀx + b, v = vᵀx + c, x ~ N(0, I).

K is a function of wᵀv, ‖w‖, ‖v‖ and the biases. By partial integration

    ∂K/∂w = E σ″(u)σ(v) w + E σ′(u)σ′(v) v,    ∂K/∂b = E σ′(u)σ(v)

    z, z₊, their sums (linear, relu, leaky_relu, abs), erf      by Φ₂, the probability that two normal numbers are
                                                                 below two limits (`numerics.normal`)
    polynomials (square, h2, h3, polynomial)                     by the Hermite coefficients of σ(· + b)
    sin                                                          elementary

No method has a singularity; a neuron with w = 0 is the constant σ(b).
"""

import abc
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...numerics import positive_part, safe_divide, safe_norm
from ...numerics.normal import below, beyond, density, distribution, huge, orthant
from .base import AbstractActivation
from .homogeneous import Abs, LeakyReLU, Linear, ReLU
from .polynomial import AbstractPolynomial
from .smooth import Erf, Sine, Square

Triple = tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]


class Pairs(NamedTuple):
    """What a kernel is a function of; the arrays broadcast."""

    gram: Float[Array, "..."]
    """wᵀv."""
    norm_w: Float[Array, "..."]
    norm_v: Float[Array, "..."]
    bias_w: Float[Array, "..."]
    """b."""
    bias_v: Float[Array, "..."]
    """c."""

    @property
    def cross(self) -> Float[Array, "..."]:
        """‖w‖²‖v‖² − (wᵀv)² ≥ 0."""
        norms = self.norm_w * self.norm_v
        return positive_part((norms - self.gram) * (norms + self.gram))


class AbstractBiasedDual(abc.ABC):
    """K of one activation."""

    @abc.abstractmethod
    def dual(self, at: Pairs) -> Float[Array, "..."]:
        """E σ(u)σ(v)."""

    @abc.abstractmethod
    def slopes(self, at: Pairs) -> Triple:
        """(E σ″(u)σ(v), E σ′(u)σ′(v), E σ′(u)σ(v))."""

    @abc.abstractmethod
    def mean(self, norm: Float[Array, "..."], bias: Float[Array, "..."]) -> Triple:
        """(E σ(u), E σ′(u), E σ″(u))."""


class Bent(AbstractBiasedDual):
    """σ(z) = s z + (1 − s) z₊: linear (s = 1), relu (0), abs (−1) and leaky_relu.

    With h = b/‖w‖, k = c/‖v‖, ρ the cosine, r = √(1−ρ²), t = (k − ρh)/r and t′ = (h − ρk)/r,

        E u₊v₊ = (wᵀv + bc)Φ₂(h, k; ρ) + b‖v‖φ(k)Φ(t′) + c‖w‖φ(h)Φ(t) + ‖w‖‖v‖ r φ(h)φ(t)
        E 1(u > 0)v₊ = cΦ₂ + ‖v‖[φ(k)Φ(t′) + ρφ(h)Φ(t)],    E δ(u)v₊ = φ(h)(‖v‖/‖w‖)[rφ(t) + (k − ρh)Φ(t)]
    """

    def __init__(self, slope: float):
        self.slope = slope

    def dual(self, at: Pairs) -> Float[Array, "..."]:
        gram, norm_w, norm_v, b, c = at
        s, q, of = self.slope, 1.0 - self.slope, _Half(at)
        both = (gram + b * c) * of.both + b * norm_v * of.end_v + c * norm_w * of.end_w
        both = both + norm_w * norm_v * of.sine * density(of.h) * density(of.t)
        one_w = c * (b * of.share_w + norm_w * density(of.h)) + gram * of.share_w
        one_v = b * (c * of.share_v + norm_v * density(of.k)) + gram * of.share_v
        return s * s * (gram + b * c) + s * q * (one_w + one_v) + q * q * both

    def slopes(self, at: Pairs) -> Triple:
        _, norm_w, norm_v, _, c = at
        s, q, of = self.slope, 1.0 - self.slope, _Half(at)
        along = s * s + s * q * (of.share_w + of.share_v) + q * q * of.both
        one = c * (of.share_w + of.share_v) + norm_v * (of.rho * density(of.h) + density(of.k))
        of_bias = s * s * c + s * q * one + q * q * (c * of.both + norm_v * (of.end_v + of.rho * of.end_w))
        ahead = beyond(of.h, of.k, of.rho, of.sine)
        at_kink = q * (of.sine * density(of.t) + ahead * distribution(of.t)) + s * ahead
        return q * norm_v * safe_divide(density(of.h), norm_w) * at_kink, along, of_bias

    def mean(self, norm: Float[Array, "..."], bias: Float[Array, "..."]) -> Triple:
        s, q, h = self.slope, 1.0 - self.slope, _limit(bias, norm)
        share, dense = distribution(h), density(h)
        return s * bias + q * (bias * share + norm * dense), s + q * share, q * safe_divide(dense, norm)


class _Half:
    """Probabilities and densities at the kinks of two neurons."""

    def __init__(self, at: Pairs):
        norms = at.norm_w * at.norm_v
        self.h, self.k = _limit(at.bias_w, at.norm_w), _limit(at.bias_v, at.norm_v)
        self.rho = jnp.clip(safe_divide(at.gram, norms), -1.0, 1.0)
        self.sine = jnp.where(norms > 0.0, safe_divide(safe_norm(at.cross), norms), 1.0)
        self.t, other = below(self.h, self.k, self.rho, self.sine), below(self.k, self.h, self.rho, self.sine)
        self.both = orthant(self.h, self.k, self.rho, self.sine)
        self.end_w, self.end_v = density(self.h) * distribution(self.t), density(self.k) * distribution(other)
        self.share_w, self.share_v = distribution(self.h), distribution(self.k)


def _limit(bias: Float[Array, "..."], norm: Float[Array, "..."]) -> Float[Array, "..."]:
    """b/‖w‖; of a neuron without weights on x the sign of its bias times a number beyond every limit."""
    most = huge(norm)
    return jnp.where(norm > 0.0, jnp.clip(safe_divide(bias, norm), -most, most), jnp.sign(bias) * most)


class ErrorFunction(AbstractBiasedDual):
    """σ(z) = erf(z/√2) = 2P(Z ≤ z) − 1, Z ~ N(0, 1) of its own: with p = b/√(1+‖w‖²), p′ = c/√(1+‖v‖²),

    K = 4Φ₂(p, p′; wᵀv/√((1+‖w‖²)(1+‖v‖²))) − 2Φ(p) − 2Φ(p′) + 1
    """

    def dual(self, at: Pairs) -> Float[Array, "..."]:
        wide_w, wide_v, determinant = self._wide(at)
        p, other = at.bias_w / wide_w, at.bias_v / wide_v
        both = orthant(p, other, at.gram / (wide_w * wide_v), jnp.sqrt(determinant) / (wide_w * wide_v))
        return 4.0 * both - 2.0 * distribution(p) - 2.0 * distribution(other) + 1.0

    def slopes(self, at: Pairs) -> Triple:
        wide_w, _, determinant = self._wide(at)
        root = jnp.sqrt(determinant)
        p = at.bias_w / wide_w
        # What v is expected to be where u + Z = 0, over its spread there.
        t = wide_w / root * (at.bias_v - at.gram * p / wide_w)
        along = 4.0 * density(p) * density(t) / root
        of_bias = 2.0 * density(p) / wide_w * (2.0 * distribution(t) - 1.0)
        return -(p * of_bias + along * at.gram / wide_w) / wide_w, along, of_bias

    def mean(self, norm: Float[Array, "..."], bias: Float[Array, "..."]) -> Triple:
        wide = jnp.sqrt(1.0 + norm**2)
        p = bias / wide
        slope = 2.0 * density(p) / wide
        return 2.0 * distribution(p) - 1.0, slope, -p * slope / wide

    @staticmethod
    def _wide(at: Pairs) -> Triple:
        plus_w, square_v = 1.0 + at.norm_w**2, at.norm_v**2
        return jnp.sqrt(plus_w), jnp.sqrt(1.0 + square_v), plus_w + square_v + at.cross


class Powers(AbstractBiasedDual):
    """σ(z) = Σ_n a_n zⁿ: K = Σ_k β_k(‖w‖², b) β_k(‖v‖², c) (wᵀv)^k, with the β_k of `polynomial` for σ(· + b)."""

    def __init__(self, powers: Sequence[float]):
        self.powers = tuple(powers)

    def dual(self, at: Pairs) -> Float[Array, "..."]:
        return _moment(self.powers, self.powers, at)

    def slopes(self, at: Pairs) -> Triple:
        once = _derived(self.powers)
        pairs = ((_derived(once), self.powers), (once, once), (once, self.powers))
        radial, along, of_bias = (_moment(first, second, at) for first, second in pairs)
        return radial, along, of_bias

    def mean(self, norm: Float[Array, "..."], bias: Float[Array, "..."]) -> Triple:
        once = _derived(self.powers)
        value, slope, second = (_betas(f, norm**2, bias)[0] for f in (self.powers, once, _derived(once)))
        return value, slope, second


def _derived(powers: Sequence[float]) -> tuple[float, ...]:
    return tuple(n * a for n, a in enumerate(powers))[1:] or (0.0,)


def _moment(first: Sequence[float], second: Sequence[float], at: Pairs) -> Float[Array, "..."]:
    """E f(u)g(v) of two polynomials."""
    pairs = zip(
        _betas(first, at.norm_w**2, at.bias_w), _betas(second, at.norm_v**2, at.bias_v), strict=False
    )  # degrees that one of them lacks have no product
    total = jnp.zeros(jnp.broadcast_shapes(*(x.shape for x in at)), at.gram.dtype)
    for k, (one, other) in enumerate(pairs):
        total = total + one * other * at.gram**k
    return total


def _betas(powers: Sequence[float], square: Float[Array, "..."], bias: Float[Array, "..."]) -> list[Any]:
    """β_k(‖w‖², b) of every degree."""
    degree, factorial = len(powers) - 1, math.factorial
    shifted = [
        sum((powers[m] * math.comb(m, n) * bias ** (m - n) for m in range(n + 1, degree + 1)), powers[n] + 0.0 * bias)
        for n in range(degree + 1)
    ]
    return [
        sum(
            (
                shifted[k + 2 * j]
                * (factorial(k + 2 * j) / (2.0**j * factorial(j) * math.sqrt(factorial(k))))
                * square**j
                for j in range((degree - k) // 2 + 1)
            ),
            0.0,
        )
        for k in range(degree + 1)
    ]


class SineWave(AbstractBiasedDual):
    """σ(z) = sin z: with e± = e^{−(‖w‖²+‖v‖²)/2 ± wᵀv}, K = ½[e₊ cos(b − c) − e₋ cos(b + c)]."""

    def dual(self, at: Pairs) -> Float[Array, "..."]:
        up, down = self._factors(at)
        return 0.5 * (up * jnp.cos(at.bias_w - at.bias_v) - down * jnp.cos(at.bias_w + at.bias_v))

    def slopes(self, at: Pairs) -> Triple:
        up, down = self._factors(at)
        apart, together = at.bias_w - at.bias_v, at.bias_w + at.bias_v
        along = 0.5 * (up * jnp.cos(apart) + down * jnp.cos(together))
        return -self.dual(at), along, 0.5 * (down * jnp.sin(together) - up * jnp.sin(apart))

    def mean(self, norm: Float[Array, "..."], bias: Float[Array, "..."]) -> Triple:
        less = jnp.exp(-0.5 * norm**2)
        return less * jnp.sin(bias), less * jnp.cos(bias), -less * jnp.sin(bias)

    @staticmethod
    def _factors(at: Pairs) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        half = 0.5 * (at.norm_w**2 + at.norm_v**2)
        return jnp.exp(at.gram - half), jnp.exp(-at.gram - half)


BIASED = ("relu", "leaky_relu", "abs", "linear", "erf", "square", "h2", "h3", "polynomial", "sin")
"""The names of the activations whose kernel with biases is closed."""


def biased_dual(sigma: AbstractActivation) -> AbstractBiasedDual | None:
    """The kernel of an activation for neurons with biases; None where it has none in closed form."""
    match sigma:
        case LeakyReLU():
            return Bent(sigma.slope)
        case Linear() | ReLU() | Abs():
            return Bent({"linear": 1.0, "relu": 0.0, "abs": -1.0}[sigma.name])
        case Erf():
            return ErrorFunction()
        case Square():
            return Powers((0.0, 0.0, 1.0))
        case AbstractPolynomial():
            return Powers(sigma.powers)
        case Sine():
            return SineWave()
    return None
