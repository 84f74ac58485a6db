"""The one network of the project: student and teacher are both a `TwoLayer`."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ...numerics import safe_divide, safe_norm
from ..activations import AbstractActivation, activation


class TwoLayer(eqx.Module):
    """f(x) = Σ_i a_i σ(w_iᵀx), a two-layer network without biases.

    **Arguments:**

    - `a`: output weights, shape `(neuron,)`.
    - `W`: first-layer weights, one row a neuron, shape `(neuron, input)`.
    - `activation`: a name out of `ensemble.ACTIVATIONS` or an `AbstractActivation`.

    Call it on inputs `x` of shape `(…, input)`: it returns one value each, of shape `(…)`. Every leaf may carry leading
    axes: such a batch of networks returns the values of each on all inputs, of shape (networks…, inputs…).

    **Raises:** `ValueError` for an unknown activation, where `a` and `W` disagree on the neurons, and for inputs that
    have another number of coordinates than the rows.
    """

    a: Float[Array, "*batch neuron"]
    W: Float[Array, "*batch neuron input"]
    activation: AbstractActivation = eqx.field(static=True)

    def __init__(self, a: ArrayLike | Sequence, W: ArrayLike | Sequence, activation: str | AbstractActivation = "relu"):
        a, W = as_float(a), as_float(W)
        if a.ndim < 1 or W.ndim != a.ndim + 1 or a.shape != W.shape[:-1]:
            raise ValueError(
                f"a, W: got shapes {a.shape} and {W.shape}; a must be (neuron,) and W (neuron, input) "
                "with as many neurons"
            )
        self.a = a
        self.W = W
        self.activation = _lookup(activation)

    def __call__(self, x: ArrayLike | Sequence) -> Float[Array, "..."]:
        x = as_float(x)
        if x.ndim < 1 or x.shape[-1] != self.W.shape[-1]:
            inputs = self.W.shape[-1]
            raise ValueError(
                f"x: got shape {x.shape} for rows of {inputs} coordinates; give (…, {inputs}). Rows "
                'in reduced coordinates take no d-dimensional input: run the study with coordinates = "full"'
            )
        if self.a.ndim == x.ndim == 1:
            return jnp.dot(self.a, self.activation(self.W @ x, row_norms(self.W)))
        points = x.reshape(-1, x.shape[-1])
        preactivations = jnp.einsum("...ni,pi->...pn", self.W, points)
        values = self.activation(preactivations, row_norms(self.W)[..., None, :])
        outputs = jnp.einsum("...n,...pn->...p", self.a, values)
        return outputs.reshape(*self.a.shape[:-1], *x.shape[:-1])

    def weighted(self, share: Float[Array, " neuron"]) -> "TwoLayer":
        """The network with each output weight times a share: 0 leaves a neuron out."""
        return TwoLayer(self.a * share, self.W, self.activation)


_lookup = activation


def as_float(values: ArrayLike | Sequence) -> jax.Array:
    array = jnp.asarray(values)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))


def row_norms(W: Float[Array, "... neuron input"]) -> Float[Array, "... neuron"]:
    """‖w_i‖ of every row; differentiable at a zero row (with derivative 0)."""
    return safe_norm(jnp.sum(W * W, axis=-1))


def unit_rows(W: Float[Array, "neuron input"]) -> Float[Array, "neuron input"]:
    """w_i/‖w_i‖; a zero row stays zero."""
    return safe_divide(W, row_norms(W)[:, None])


def masses(a: Float[Array, "... neuron"], W: Float[Array, "... neuron input"]) -> Float[Array, "... neuron"]:
    """|a_i|‖w_i‖ of every neuron."""
    return jnp.abs(a) * row_norms(W)


def reduce_pair(student: TwoLayer, teacher: TwoLayer, columns: int) -> tuple[TwoLayer, TwoLayer]:
    """The same two functions in `columns` ≥ m + m* coordinates of an orthonormal basis of span{w*_j, w_i}.

    By QR of the stacked rows: their inner products are kept to rounding, and with them loss and dynamics.
    """
    rows = jnp.concatenate([teacher.W, student.W])
    reduced = jnp.linalg.qr(rows.T, mode="r").T
    reduced = jnp.pad(reduced, ((0, 0), (0, columns - reduced.shape[1])))
    count = teacher.a.shape[0]
    return (
        TwoLayer(student.a, reduced[count:], student.activation),
        TwoLayer(teacher.a, reduced[:count], teacher.activation),
    )
