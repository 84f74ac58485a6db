"""What is known of a class of models in closed form, beyond its risk: the bilinear form B(θ, θ′) = E f_θ(x)·f_θ′(x).

Every quantity of a linearised network, and of a tangent kernel, is a derivative of B (theory.md §11):

    f_lin = f_θ0 + ∂f_θ0·δ      E f_lin² = B(θ0, θ0) + 2 ∂B(θ0, θ0)[δ] + ∂∂′B(θ0, θ0)[δ, δ]
    Θ_θ(x, x′) = ∂f_θ(x)·∂f_θ(x′)      E Θ_θ Θ_θ′ over independent x, x′ = ‖∂∂′B(θ, θ′)‖_F²
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class AbstractTangent(eqx.Module):
    """B(θ, θ′) = E f_θ·f_θ′ over x ~ N(0, I), and its derivatives; a sum over outputs where there are several."""

    @abc.abstractmethod
    def inner(self, model: Any, other: Any) -> Float[Array, ""]:
        """B(θ, θ′); `other` may be a teacher."""

    @abc.abstractmethod
    def slope(self, model: Any, other: Any) -> Any:
        """∂B(θ, θ′)/∂θ, in the model's structure."""

    @abc.abstractmethod
    def response(self, model: Any, direction: Any) -> Any:
        """∂∂′B(θ, θ)[·, δ], in the model's structure: the gradient of ½E(∂f_θ·δ)² with respect to δ."""

    @abc.abstractmethod
    def overlap(self, model: Any, other: Any) -> Float[Array, ""]:
        """‖∂∂′B(θ, θ′)‖_F² = E Θ_θ(x, x′)·Θ_θ′(x, x′) over independent x and x′."""


def pairing(one: Any, other: Any) -> Float[Array, ""]:
    """Σ over all weights of the products of two models of one structure."""
    first, *others = map(lambda x, y: jnp.sum(x * y), jax.tree.leaves(one), jax.tree.leaves(other))
    return sum(others, first)


def minus(one: Any, other: Any) -> Any:
    """θ − θ′, weight by weight."""
    return jax.tree.map(jnp.subtract, one, other)


def plus(one: Any, other: Any, factor: Any = 1.0) -> Any:
    """θ + factor·θ′, weight by weight."""
    return jax.tree.map(lambda x, y: x + factor * y, one, other)
