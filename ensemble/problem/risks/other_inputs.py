"""Population risks under other inputs than N(0, I), made of the closed forms under it (theory.md §9).

c = √(2/π) is E|z| of a standard normal: what the centred activations |wᵀx| − c‖w‖ and half of it subtract, whatever
distribution x has. Where c‖w‖ is not the mean of |wᵀx|, a mean is left, which adds a square to the loss.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..models import TwoLayer, row_norms
from .base import AbstractDifferentiatedRisk
from .population import PopulationRisk

CENTRED = {"abs_centred": 1.0, "relu_even": 0.5}
"""k of the activations k(|wᵀx| − c‖w‖)."""
C = math.sqrt(2.0 / math.pi)


class SphereRisk(AbstractDifferentiatedRisk):
    """½E(f − f*)² for x uniform on the sphere of radius √d.

    L = `factor` · L_gauss + `shift` · (Σ_i a_i‖w_i‖ − Σ_j a*_j‖w*_j‖)²: factor d/(d+2) for `square`, shift k²c(c − s_d)
    for centred activations, s_d = E|x_1| = √(d/π) Γ(d/2)/Γ((d+1)/2).
    """

    risk: PopulationRisk
    factor: Float[Array, "*batch"]
    shift: Float[Array, "*batch"]

    @classmethod
    def of(cls, risk: PopulationRisk, inputs: Any) -> "SphereRisk":
        """That of d = `inputs`."""
        name = risk.teacher.activation.name
        d = jnp.asarray(inputs, float)
        factor = d / (d + 2.0) if name == "square" else jnp.ones(())
        return cls(risk, factor, CENTRED.get(name, 0.0) ** 2 * C**2 * (1.0 - sphere_share(d)))

    @property
    def teacher(self) -> TwoLayer:
        """f*."""
        return self.risk.teacher

    def value(self, model):
        excess = jnp.sum(model.a * row_norms(model.W)) - jnp.sum(self.teacher.a * row_norms(self.teacher.W))
        return self.factor * self.risk.value(model) + self.shift * excess**2

    def of_target(self, share: Float[Array, " neuron"]) -> "SphereRisk":
        """As that under N(0, I)."""
        return SphereRisk(self.risk.of_target(share), self.factor, self.shift)

    def read_out(self, model: TwoLayer):
        """The normal equations of the output layer."""
        return quadratic_in_a(self, model)


def sphere_share(d: Float[Array, ""]) -> Float[Array, ""]:
    """s_d/c = √(d/2) Γ(d/2)/Γ((d+1)/2), to a few 1e-14.

    Log-gammas of large d cancel; there, with y = 1/z,
    Γ(z + ½)/Γ(z) = √z (1 − y/8 + y²/128 + 5y³/1024 − 21y⁴/32768 − 399y⁵/262144 …).
    """
    z = 0.5 * d
    small = jnp.minimum(z, _MANY)
    exact = jnp.exp(0.5 * jnp.log(small) + jax.scipy.special.gammaln(small) - jax.scipy.special.gammaln(small + 0.5))
    y = 1.0 / jnp.maximum(z, _MANY)
    series = -0.125 + y * (1 / 128 + y * (5 / 1024 + y * (-21 / 32768 - 399 / 262144 * y)))
    return jnp.where(z < _MANY, exact, 1.0 / (1.0 + y * series))


_MANY = 100.0


class AnisotropicRisk(AbstractDifferentiatedRisk):
    """½E(f − f*)² for x ~ N(0, Σ), Σ diagonal: that of N(0, I) with w → Σ^{1/2}w on both networks.

    A centred activation leaves the mean k c(‖Σ^{1/2}w‖ − ‖w‖).

    **Arguments:** `teacher`; `risk` under N(0, I) of the teacher with Σ^{1/2}w*; `root`, the diagonal of Σ^{1/2}.
    """

    teacher: TwoLayer
    risk: PopulationRisk
    root: Float[Array, "*batch input"]

    @classmethod
    def of(cls, teacher: TwoLayer, root: Float[Array, " input"]) -> "AnisotropicRisk":
        """That of a teacher."""
        return cls(teacher, PopulationRisk.of(_stretched(teacher, root)), root)

    def value(self, model):
        loss = self.risk.value(_stretched(model, self.root))
        if k := CENTRED.get(model.activation.name, 0.0):
            left = self._means(model) - self._means(self.teacher)
            loss = loss + 0.5 * (k * C * left) ** 2
        return loss

    def _means(self, model: TwoLayer) -> Float[Array, ""]:
        return jnp.sum(model.a * (row_norms(model.W * self.root[None, :]) - row_norms(model.W)))

    def of_target(self, share: Float[Array, " neuron"]) -> "AnisotropicRisk":
        """As that under N(0, I)."""
        return AnisotropicRisk.of(self.teacher.weighted(share), self.root)

    def read_out(self, model: TwoLayer):
        """The normal equations of the output layer."""
        return quadratic_in_a(self, model)


def _stretched(model: TwoLayer, root: Float[Array, " input"]) -> TwoLayer:
    return TwoLayer(model.a, model.W * root[None, :], model.activation)


class QuarticRisk(AbstractDifferentiatedRisk):
    """½E(f − f*)² of `square` networks for independent coordinates of variance 1 and excess kurtosis κ₄.

    L = L_gauss + ½κ₄ ‖Σ_i a_i w_i∘w_i − Σ_j a*_j w*_j∘w*_j‖²: K gains κ₄ Σ_k w_k²v_k².
    """

    risk: PopulationRisk
    excess: Float[Array, "*batch"]

    @property
    def teacher(self) -> TwoLayer:
        """f*."""
        return self.risk.teacher

    def value(self, model):
        diagonal = model.a @ model.W**2 - self.teacher.a @ self.teacher.W**2
        return self.risk.value(model) + 0.5 * self.excess * jnp.sum(diagonal**2)

    def of_target(self, share: Float[Array, " neuron"]) -> "QuarticRisk":
        """As that under N(0, I)."""
        return QuarticRisk(self.risk.of_target(share), self.excess)

    def read_out(self, model: TwoLayer):
        """The normal equations of the output layer."""
        return quadratic_in_a(self, model)


def quadratic_in_a(risk: Any, model: TwoLayer) -> tuple[Float[Array, "neuron neuron"], Float[Array, " neuron"]]:
    """(K(W, W), K(W, W*) a*) of any risk that is quadratic in the output weights: its second and first derivatives."""

    def of_a(a: Array) -> Array:
        return risk.value(TwoLayer(a, model.W, model.activation))

    zero = jnp.zeros_like(model.a)
    return jax.hessian(of_a)(zero), -jax.grad(of_a)(zero)
