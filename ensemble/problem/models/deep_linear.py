"""Deep linear networks: linear in x, not in their weights."""

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .deep import stacked


class DeepLinear(eqx.Module):
    """f(x) = W_L ⋯ W_1 x.

    **Arguments:** `layers`: W_1, …, W_L, each of shape `(output, input)`, the inputs of one the outputs of the one
    before. Every leaf may carry leading axes.

    Call it on one `x` of shape `(input,)`; it returns `(output,)`.

    **Raises:** `ValueError` where neighbouring layers do not fit.
    """

    layers: tuple[Float[Array, "*batch output input"], ...]

    def __init__(self, layers: Sequence[ArrayLike]):
        self.layers = tuple(jnp.asarray(W) for W in layers)
        shapes = [W.shape[-2:] for W in self.layers]
        if not shapes or any(before[0] != after[1] for before, after in pairwise(shapes)):
            raise ValueError(f"layers: got shapes {shapes}; each must take what the one before puts out")

    def __call__(self, x: Float[Array, " input"]) -> Float[Array, " output"]:
        return reduce(lambda h, W: W @ h, self.layers, x)

    @property
    def matrix(self) -> Float[Array, "*batch output input"]:
        """W_L ⋯ W_1."""
        return reduce(lambda product, W: W @ product, self.layers)

    @property
    def stacked(self) -> Float[Array, "*batch layer output input"]:
        """All layers in one array, filled up with zeros to the largest of them."""
        return stacked(self.layers)

    @property
    def weights(self) -> tuple[Any, ...]:
        """W_1, …, W_L, each of shape `(…, output, input)`."""
        return self.layers


class SingularMap(eqx.Module):
    """x ↦ T x by its singular values and vectors, T = U diag(s) Vᵀ."""

    U: Float[Array, "*batch output mode"]
    s: Float[Array, "*batch mode"]
    V: Float[Array, "*batch input mode"]

    @property
    def matrix(self) -> Float[Array, "*batch output input"]:
        """T."""
        return jnp.matmul(self.U * self.s[..., None, :], self.V.swapaxes(-1, -2))

    def __call__(self, x: Float[Array, " input"]) -> Float[Array, " output"]:
        return self.U @ (self.s * (x @ self.V))
