"""Population risks under Gaussian clusters, made of that of networks with biases under N(0, I) (theory.md §9).

x = μ_c + Σ^{1/2}z, z ~ N(0, I), Σ diagonal: within a cluster wᵀx + b is (Σ^{1/2}w)ᵀz + (b + wᵀμ_c), so that a network
of x is one with biases of z.
"""

from collections.abc import Callable
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

    One cluster after another, so that many of them take the memory of one.

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
        return cls(teacher, jax.lax.map(lambda mean: BiasedRisk.of(_seen(teacher, mean, root)), means), means, root)

    def value(self, model):
        return self._mean(lambda risk, mean: risk.value(_seen(model, mean, self.root)))

    def value_and_gradient(self, model):
        def within(risk: BiasedRisk, mean: Array) -> Any:
            seen, gathered = jax.vjp(lambda model: _seen(model, mean, self.root), model)
            value, slope = risk.value_and_gradient(seen)
            return value, gathered(slope)[0]

        return self._mean(within)

    def of_target(self, share: Float[Array, " neuron"]) -> "MixtureRisk":
        """As that under N(0, I); of a teacher without biases, which alone has targets."""
        return MixtureRisk.of(self.teacher.weighted(share), self.means, self.root)

    def read_out(self, model: TwoLayer):
        """The normal equations of the output layer."""
        return quadratic_in_a(self, model)

    def _mean(self, within: Callable[[BiasedRisk, Array], Any]) -> Any:
        """The mean over clusters of what each of them gives."""
        clusters = self.risks, self.means

        def add(total: Any, cluster: Any) -> Any:
            return jax.tree.map(jnp.add, total, within(*cluster)), None

        shapes = jax.eval_shape(lambda first: within(*first), jax.tree.map(lambda leaf: leaf[0], clusters))
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        total, _ = jax.lax.scan(add, zeros, clusters)
        return jax.tree.map(lambda leaf: leaf / len(self.means), total)


def _seen(network: Any, mean: Array, root: Array) -> BiasedTwoLayer:
    """What a network is as a function of z, in the cluster of a mean."""
    moved = getattr(network, "biases", 0.0) + network.W @ mean
    constant = jnp.asarray(getattr(network, "output_bias", 0.0), network.a.dtype)
    return BiasedTwoLayer(network.a, network.W * root[None, :], moved, constant, network.activation)


class MixtureLinearRisk(AbstractDifferentiatedRisk):
    """½ mean_c [‖(A − T)μ_c‖² + ‖(A − T)Σ^{1/2}‖²_F]: E‖Ax − Tx‖²/2 of linear maps."""

    teacher: Any
    means: Float[Array, "*batch cluster input"]
    root: Float[Array, "*batch input"]

    def value(self, model):
        apart = model.matrix - self.teacher.matrix
        of_means = jnp.sum((self.means @ apart.T) ** 2) / len(self.means)
        return 0.5 * (of_means + jnp.sum((apart * self.root[None, :]) ** 2))
