"""Deep networks: fully connected, with any activation, built on equinox's own layers."""

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..activations import AbstractActivation
from .two_layer import row_norms

Residual = Literal["none", "1", "1/sqrt(depth)", "1/depth"]
"""The factor s of every residual branch; "none": there are none."""
Multipliers = tuple[tuple[float, ...], tuple[float, ...]]
"""Of the weights and of the biases of every layer."""


class Deep(eqx.Module):
    """f(x) = W_L h_{L−1} + b_L, with h_0 = x and h_l = σ(W_l h_{l−1} + b_l) for the hidden layers l = 1 … L − 1.

    Where it is `residual`, hidden layers beyond the first are h_l = h_{l−1} + s·σ(…), with s = 1, 1/√L or 1/L; where it
    has a `norm`, σ is given (z − mean z)/√(var z + 1e-5) of its layer's preactivations z (layer norm without gain).

    **Arguments:**

    - `weights`: W_1, …, W_L, each of shape `(output, input)`; a last one of one row gives values of shape `()`.
    - `activation`: σ.
    - `biases`: b_1, …, b_L, or None: there are none.
    - `residual`, `norm`: as above.
    - `multipliers`: of the weights and of the biases, (m_1, …, m_L) each, in place of 1: every layer is then
      m_l W_l h + m′_l b_l (`Parametrisation`).

    Call it on one `x` of shape `(input,)`. `hidden(x)` gives h_1, …, h_{L−1}.
    """

    layers: tuple[eqx.nn.Linear, ...]
    activation: AbstractActivation = eqx.field(static=True)
    residual: Residual = eqx.field(static=True)
    norm: bool = eqx.field(static=True)
    multipliers: Multipliers | None = eqx.field(static=True)

    def __init__(
        self,
        weights: Sequence[Any],
        activation: AbstractActivation,
        biases: Sequence[Any] | None = None,
        residual: Residual = "none",
        norm: bool = False,
        multipliers: Multipliers | None = None,
    ):
        given = [None] * len(weights) if biases is None else [jnp.asarray(b) for b in biases]
        self.layers = tuple(_linear(jnp.asarray(W), b) for W, b in zip(weights, given, strict=True))
        self.activation, self.residual, self.norm = activation, residual, norm
        self.multipliers = multipliers

    def __call__(self, x: Float[Array, " input"]) -> Float[Array, "*output"]:
        out = self._layer(len(self.layers) - 1, self.hidden(x)[-1])
        return out[0] if out.shape == (1,) else out

    def hidden(self, x: Float[Array, " input"]) -> tuple[Float[Array, " layer_output"], ...]:
        """h_1, …, h_{L−1}: what every hidden layer puts out at one x."""
        depth, found, h = len(self.layers), [], x
        scale = {"none": 0.0, "1": 1.0, "1/sqrt(depth)": depth**-0.5, "1/depth": 1.0 / depth}[self.residual]
        for place, layer in enumerate(self.layers[:-1]):
            z = self._layer(place, h)
            if self.norm:
                z = eqx.nn.LayerNorm(z.shape, use_weight=False, use_bias=False)(z)
            y = self.activation(z, row_norms(layer.weight))
            h = h + scale * y if self.residual != "none" and place > 0 else y
            found.append(h)
        return tuple(found)

    def _layer(self, place: int, h: Any) -> Any:
        """m_l W_l h + m′_l b_l."""
        layer = self.layers[place]
        if self.multipliers is None:
            return layer(h)
        of_weight, of_bias = (factors[place] for factors in self.multipliers)
        z = of_weight * (layer.weight @ h)
        return z if layer.bias is None else z + of_bias * layer.bias

    @property
    def weights(self) -> tuple[Any, ...]:
        """W_1, …, W_L, each of shape `(…, output, input)`."""
        return tuple(layer.weight for layer in self.layers)

    @property
    def biases(self) -> tuple[Any, ...]:
        """b_1, …, b_L, each of shape `(…, output)`; None where there are none."""
        return tuple(layer.bias for layer in self.layers)

    @property
    def stacked(self) -> Float[Array, "*batch layer output input"]:
        """All weights in one array, filled up with zeros to the largest of them."""
        return stacked(self.weights)

    @property
    def stacked_biases(self) -> Float[Array, "*batch layer output"]:
        """All biases in one array, filled up with zeros; zeros where there are none."""
        pairs = zip(self.weights, self.biases, strict=True)
        biases = [jnp.zeros(W.shape[:-1], W.dtype) if b is None else b for W, b in pairs]
        return stacked([b[..., None] for b in biases])[..., 0]


def _linear(weight: jax.Array, bias: jax.Array | None) -> eqx.nn.Linear:
    """Equinox's layer with these arrays: its own draws are replaced."""
    rows, columns = weight.shape[-2:]
    empty = eqx.filter_eval_shape(eqx.nn.Linear, columns, rows, use_bias=bias is not None, key=jax.random.key(0))
    filled = eqx.tree_at(lambda layer: layer.weight, empty, weight)
    return filled if bias is None else eqx.tree_at(lambda layer: layer.bias, filled, bias)


def stacked(weights: Sequence[Any]) -> Float[Array, "*batch layer some_output some_input"]:
    """Matrices in one array, filled up with zeros to the largest of them."""
    rows, columns = (max(W.shape[axis] for W in weights) for axis in (-2, -1))
    none = [(0, 0)] * (weights[0].ndim - 2)
    padded = [jnp.pad(W, [*none, (0, rows - W.shape[-2]), (0, columns - W.shape[-1])]) for W in weights]
    return jnp.stack(padded, axis=-3)
