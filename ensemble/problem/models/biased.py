"""A two-layer network with biases in both layers."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..activations import AbstractActivation
from .two_layer import TwoLayer, row_norms


class BiasedTwoLayer(eqx.Module):
    """f(x) = Σ_i a_i σ(w_iᵀx + b_i) + c.

    **Arguments:**

    - `a`: output weights, shape `(neuron,)`.
    - `W`: first-layer weights, one row a neuron, shape `(neuron, input)`.
    - `biases`: b, shape `(neuron,)`.
    - `output_bias`: c, a scalar.
    - `activation`: an `AbstractActivation`.

    Call it on one `x` of shape `(input,)`; map it over inputs and over networks by `jax.vmap`.
    """

    a: Float[Array, "*batch neuron"]
    W: Float[Array, "*batch neuron input"]
    biases: Float[Array, "*batch neuron"]
    output_bias: Float[Array, "*batch"]
    activation: AbstractActivation = eqx.field(static=True)

    def __init__(self, a: Any, W: Any, biases: Any, output_bias: Any, activation: AbstractActivation):
        self.a, self.W, self.biases, self.output_bias = (jnp.asarray(x, float) for x in (a, W, biases, output_bias))
        self.activation = activation

    def __call__(self, x: Float[Array, " input"]) -> Float[Array, ""]:
        return self.a @ self.activation(self.W @ x + self.biases, row_norms(self.W)) + self.output_bias

    @property
    def augmented(self) -> TwoLayer:
        """Its neurons as those of a network without biases on (x, 1): rows (w_i, b_i); c is left out."""
        rows = jnp.concatenate([self.W, self.biases[..., None]], axis=-1)
        return TwoLayer(self.a, rows, self.activation)
