"""Models that are two-layer networks with shared weights: B of the networks that they spread to, shared again."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from .base import AbstractTangent
from .two_layer import TwoLayerTangent

_SPREAD = TwoLayerTangent()


class SharedTangent(AbstractTangent):
    """f_θ = f_{Sθ} of a two-layer network Sθ (`spread`), S linear in the weights: B(θ, θ′) = B₂(Sθ, Sθ′).

    Slopes and responses are those of the spread network, summed over the places that share a weight, Sᵀ·.
    """

    def inner(self, model, other):
        return _SPREAD.inner(model.spread, other.spread)

    def slope(self, model, other):
        return _shared(model, _SPREAD.slope(model.spread, other.spread))

    def response(self, model, direction):
        return _shared(model, _SPREAD.response(model.spread, direction.spread))

    def overlap(self, model, other):
        # Places mix before the square is taken, so that sums over pairs of spread neurons do not serve.
        flat, whole = ravel_pytree(other)
        mixed = jax.jacfwd(lambda weights: ravel_pytree(self.slope(model, whole(weights)))[0])(flat)
        return jnp.sum(mixed**2)


def _shared(model: Any, slope: Any) -> Any:
    """Sᵀ of a slope: in the structure of the model."""
    return jax.vjp(lambda model: model.spread, model)[1](slope)[0]
