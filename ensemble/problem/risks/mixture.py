"""Population risks under Gaussian clusters, made of that of networks with biases under N(0, I) (theory.md §9).

x = μ_c + Σ^{1/2}z, z ~ N(0, I), Σ diagonal: within a cluster wᵀx + b is (Σ^{1/2}w)ᵀz + (b + wᵀμ_c), so that a network
of x is one with biases of z.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..models import BiasedTwoLayer, TwoLayer
from .base import AbstractDifferentiatedRisk, AbstractRisk
from .biased import BiasedRisk
from .other_inputs import quadratic_in_a


class MixtureRisk(AbstractRisk):
    """½E(f − f*)² of two-layer networks, with biases or without, over clusters of equal shares: the mean of theirs.

    **Arguments:** `teacher`; `risks`, of what the teacher is in each cluster, their leaves with a first axis
    `cluster`; `means`, μ_c; `root`, the diagonal of Σ^{1/2}. Errors as `BiasedRisk`.
    """

    teacher: Any
    risks: BiasedRisk
    means: Float[Array, "*batch cluster input"]
    root: Float[Array, "*batch input"]

    @classmethod
    def of(cls, teacher: Any, means: Float[Array, "cluster input"], root: Float[Array, " input"]) -> "MixtureRisk":
        """That of a teacher, whose activation has a kernel with biases in closed form."""
        return cls(teacher, jax.vmap(BiasedRisk.of)(_by_cluster(teacher, means, root)), means, root)

    def value(self, model):
        return jnp.mean(jax.vmap(lambda risk, seen: risk.value(seen))(self.risks, self._seen(model)))

    def value_and_gradient(self, model):
        seen, gathered = jax.vjp(self._seen, model)
        values, slopes = jax.vmap(lambda risk, seen: risk.value_and_gradient(seen))(self.risks, seen)
        return jnp.mean(values), gathered(jax.tree.map(lambda slope: slope / len(values), slopes))[0]

    def of_target(self, share: Float[Array, " neuron"]) -> "MixtureRisk":
        """As that under N(0, I); of a teacher without biases, which alone has targets."""
        part = TwoLayer(self.teacher.a * share, self.teacher.W, self.teacher.activation)
        return MixtureRisk.of(part, self.means, self.root)

    def read_out(self, model: TwoLayer):
        """The normal equations of the output layer."""
        return quadratic_in_a(self, model)

    def _seen(self, network: Any) -> BiasedTwoLayer:
        return _by_cluster(network, self.means, self.root)


def _by_cluster(network: Any, means: Array, root: Array) -> BiasedTwoLayer:
    """What a network is as a function of z, for each cluster."""
    biases = getattr(network, "biases", 0.0)
    constant = jnp.asarray(getattr(network, "output_bias", 0.0), network.a.dtype)

    def within(mean: Array) -> BiasedTwoLayer:
        moved = biases + network.W @ mean
        return BiasedTwoLayer(network.a, network.W * root[None, :], moved, constant, network.activation)

    return jax.vmap(within)(means)


class MixtureLinearRisk(AbstractDifferentiatedRisk):
    """½ mean_c [‖(A − T)μ_c‖² + ‖(A − T)Σ^{1/2}‖²_F]: E‖Ax − Tx‖²/2 of linear maps."""

    teacher: Any
    means: Float[Array, "*batch cluster input"]
    root: Float[Array, "*batch input"]

    def value(self, model):
        apart = model.matrix - self.teacher.matrix
        of_means = jnp.sum((self.means @ apart.T) ** 2) / len(self.means)
        return 0.5 * (of_means + jnp.sum((apart * self.root[None, :]) ** 2))
