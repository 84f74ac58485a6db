"""One block of self-attention over tokens, built on equinox's own layers."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


class Attention(eqx.Module):
    """f(x) = (1/T) Σ_t Σ_h v_hᵀ Σ_s p^h_ts x_s, with p^h_t = softmax_s(x_tᵀA_h x_s), x = (x_1, …, x_T), x_t ∈ R^e.

    A head h looks for A_h = Q_hᵀK_h/√k and passes on v_h = V_hᵀo_h: all that the function knows of its weights.

    **Arguments:** `query`, `key`, `value`: Q, K, V of all heads, of shape `(head, head_unit, token_input)`; `output`:
    o, of shape `(head, head_unit)`; `tokens`: T. Leaves may carry leading axes.

    `layers` are the four projections of an `equinox.nn.MultiheadAttention` without biases, which `block` is. Call it on
    one `x` of shape `(input,)`, token after token.

    **Raises:** `ValueError` for an x of another length.
    """

    layers: tuple[eqx.nn.Linear, eqx.nn.Linear, eqx.nn.Linear, eqx.nn.Linear]
    heads: int = eqx.field(static=True)
    tokens: int = eqx.field(static=True)

    def __init__(self, query: ArrayLike, key: ArrayLike, value: ArrayLike, output: ArrayLike, *, tokens: int):
        projections = [jnp.asarray(W) for W in (query, key, value)]
        *batch, self.heads, units, width = projections[0].shape
        rows = self.heads * units
        flat = [W.reshape(*batch, rows, width) for W in projections]
        empty: Any = eqx.filter_eval_shape(_empty, self.heads, units, width)
        weights = [*flat, jnp.asarray(output).reshape(*batch, 1, rows)]
        layers = (empty.query_proj, empty.key_proj, empty.value_proj, empty.output_proj)
        placed = [eqx.tree_at(lambda one: one.weight, layer, W) for layer, W in zip(layers, weights, strict=True)]
        self.layers = tuple(placed)  # pyright: ignore[reportAttributeAccessIssue] (there are four)
        self.tokens = tokens

    def __call__(self, x: Float[Array, " input"]) -> Float[Array, ""]:
        width = self.layers[0].in_features
        if x.shape != (self.tokens * width,):
            raise ValueError(f"x: got shape {x.shape} for {self.tokens} tokens; give ({self.tokens * width},)")
        tokens = x.reshape(self.tokens, width)
        return jnp.mean(self.block(tokens, tokens, tokens))

    @property
    def block(self) -> eqx.nn.MultiheadAttention:
        """The block itself: (tokens, tokens, tokens) → one value a token."""
        rows, width = self.layers[0].weight.shape[-2:]
        # Equinox's block has leaves that are no weights (of its dropout): it is made where it is called, and not kept.
        empty: Any = eqx.filter_eval_shape(_empty, self.heads, rows // self.heads, width)
        return eqx.tree_at(lambda b: (b.query_proj, b.key_proj, b.value_proj, b.output_proj), empty, self.layers)

    @property
    def query(self) -> Any:
        """Q of every head, of shape `(…, head, head_unit, token_input)`."""
        return self._by_head(0)

    @property
    def key(self) -> Any:
        """K of every head, as `query`."""
        return self._by_head(1)

    @property
    def value(self) -> Any:
        """V of every head, as `query`."""
        return self._by_head(2)

    @property
    def output(self) -> Any:
        """o of every head, of shape `(…, head, head_unit)`."""
        weight = self.layers[3].weight
        return weight.reshape(*weight.shape[:-2], self.heads, -1)

    @property
    def scores(self) -> Any:
        """A_h = Q_hᵀK_h/√k of every head, of shape `(…, head, token_input, token_input)`."""
        Q = self.query
        return jnp.matmul(Q.swapaxes(-1, -2), self.key) / Q.shape[-2] ** 0.5

    @property
    def passed(self) -> Any:
        """v_h = V_hᵀo_h of every head, of shape `(…, head, token_input)`."""
        return jnp.matmul(self.output[..., None, :], self.value)[..., 0, :]

    @property
    def places(self) -> int:
        """How many times a sample uses every weight."""
        return self.tokens

    def _by_head(self, layer: int) -> Any:
        weight = self.layers[layer].weight
        return weight.reshape(*weight.shape[:-2], self.heads, -1, weight.shape[-1])


def _empty(heads: int, units: int, width: int) -> eqx.nn.MultiheadAttention:
    key = jax.random.key(0)  # its draws are replaced
    return eqx.nn.MultiheadAttention(heads, width, output_size=1, qk_size=units, vo_size=units, key=key)
