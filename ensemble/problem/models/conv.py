"""Convolutional networks in one dimension: filters that all patches of the input share, and a pool over the patches."""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ...numerics import largest
from ..activations import AbstractActivation
from .two_layer import TwoLayer, row_norms

Pooling = Literal["mean", "max"]
"""What is made of a filter's values on all patches."""


class Conv(eqx.Module):
    """f(x) = Σ_k a_k pool_p σ(w_kᵀx_p), x_p = (x_{ps+1}, …, x_{ps+q}) the patches p = 0 … P − 1 of x.

    **Arguments:**

    - `a`: output weights, shape `(neuron,)`.
    - `W`: filters, one row a filter, shape `(neuron, patch_input)`: q coordinates of a patch.
    - `activation`: σ.
    - `patches`, P, and `stride`, s: x has d = q + (P − 1)s coordinates; patches overlap where s < q.
    - `pooling`: the mean over patches, or their maximum.

    `layers` are equinox's own, a convolution and a linear read-out, and hold the weights. Call it on one `x` of shape
    `(input,)`.

    **Raises:** `ValueError` for an x of another length.
    """

    layers: tuple[eqx.nn.Conv1d, eqx.nn.Linear]
    activation: AbstractActivation = eqx.field(static=True)
    patches: int = eqx.field(static=True)
    pooling: Pooling = eqx.field(static=True)

    def __init__(
        self,
        a: ArrayLike,
        W: ArrayLike,
        activation: AbstractActivation,
        *,
        patches: int,
        stride: int,
        pooling: Pooling = "mean",
    ):
        a, W = jnp.asarray(a), jnp.asarray(W)
        if a.shape != W.shape[:-1]:
            raise ValueError(
                f"a, W: got shapes {a.shape} and {W.shape}; a must be (neuron,) and W (neuron, patch_input)"
            )
        count, patch = W.shape[-2:]
        key = jax.random.key(0)  # the layers' own draws are replaced
        conv: Any = eqx.filter_eval_shape(eqx.nn.Conv1d, 1, count, patch, stride, use_bias=False, key=key)
        linear: Any = eqx.filter_eval_shape(eqx.nn.Linear, count, 1, use_bias=False, key=key)
        self.layers = (
            eqx.tree_at(lambda layer: layer.weight, conv, W[..., :, None, :]),
            eqx.tree_at(lambda layer: layer.weight, linear, a[..., None, :]),
        )
        self.activation, self.patches, self.pooling = activation, patches, pooling

    def __call__(self, x: Float[Array, " input"]) -> Float[Array, ""]:
        if x.shape != (self.inputs,):
            raise ValueError(f"x: got shape {x.shape} for {self.patches} patches; give ({self.inputs},)")
        # The convolution as a product with all patches: as `layers[0]` itself, XLA's convolution of many members with
        # filters of their own took 40 times as long on a CPU (32 members, 100 samples, 8 filters, 4 patches).
        patch, step = self.W.shape[-1], self.stride
        patches = jnp.stack([x[p * step : p * step + patch] for p in range(self.patches)], axis=1)
        values = self.activation(self.W @ patches, row_norms(self.W)[:, None])
        pooled = jnp.mean(values, axis=1) if self.pooling == "mean" else largest(values)
        return self.layers[1](pooled)[0]

    @property
    def a(self) -> Any:
        """Output weights, of shape `(…, neuron)`."""
        return self.layers[1].weight[..., 0, :]

    @property
    def W(self) -> Any:
        """Filters, of shape `(…, neuron, patch_input)`."""
        return self.layers[0].weight[..., 0, :]

    @property
    def stride(self) -> int:
        """s."""
        return self.layers[0].stride[0]

    @property
    def inputs(self) -> int:
        """d = q + (P − 1)s."""
        return self.W.shape[-1] + (self.patches - 1) * self.stride

    @property
    def places(self) -> int:
        """How many times a sample uses every weight."""
        return self.patches

    @property
    def on_patch(self) -> TwoLayer:
        """Σ_k a_k σ(w_kᵀ·), the two-layer network that every patch is given to."""
        return TwoLayer(self.a, self.W, self.activation)

    def with_filters(self, network: TwoLayer) -> "Conv":
        """The same convolution with the neurons of a two-layer network on a patch as its filters."""
        return Conv(
            network.a,
            network.W,
            network.activation,
            patches=self.patches,
            stride=self.stride,
            pooling=self.pooling,
        )

    @property
    def spread(self) -> TwoLayer:
        """The same function as a two-layer network of P neurons a filter: a_k/P and w_k in the coordinates of a patch.

        **Raises:** `ValueError` of one with another pool than the mean, which is none.
        """
        if self.pooling != "mean":
            raise ValueError(f"pooling: got {self.pooling!r}; only a mean of neurons is a sum of them")
        W, rest = self.W, (self.patches - 1) * self.stride
        placed = [jnp.pad(W, ((0, 0), (p * self.stride, rest - p * self.stride))) for p in range(self.patches)]
        return TwoLayer(jnp.tile(self.a / self.patches, self.patches), jnp.concatenate(placed), self.activation)
