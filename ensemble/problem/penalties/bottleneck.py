"""What the hidden layer says of the input, through noise."""

from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float
from pydantic import PositiveFloat

from ...numerics import safe_divide
from ...numerics.elimination import inverse_of_one_plus
from ..activations import AbstractActivation
from ..models import TwoLayer, row_norms
from ..risks import kernel
from .base import AbstractPenalty


class Bottleneck(AbstractPenalty):
    """The information I(x; h) of h = σ(Wx) + s·noise in nats, or its Gaussian upper bound (theory.md §8).

        P = ½ log det(I + C/s²),   C_ij = Cov(σ(w_iᵀx), σ(w_jᵀx)) = K(w_i, w_j) − K at a right angle

    with s = `noise`. Orthogonal directions of x are independent, so K at wᵀv = 0 is E σ(wᵀx) E σ(vᵀx). Exact for the
    activation `linear`, where C = WWᵀ; of another one an **upper bound**: of all h with this covariance
    the Gaussian says the most. One relu neuron of norm 1 at s = 0.1, 0.3, 1: exact 1.307, 0.652, 0.143, bound 1.779,
    0.783, 0.147. The output layer does not enter; without a penalty on it, a small W beside a large a costs nothing.
    """

    kind: Literal["bottleneck"] = "bottleneck"
    rotation_invariant: ClassVar[bool] = True
    of_neurons: ClassVar[bool] = True
    over_measures: ClassVar[str] = "depends on the size of w_i and not of a_i: it is no function of the measure"
    noise: PositiveFloat = 1.0

    def _covariance(self, model: Any) -> Float[Array, "neuron neuron"]:
        norms = row_norms(model.W)
        product, _ = _apart(model.activation, norms[:, None], norms[None, :])
        return kernel(model.activation, model.W, model.W) - product

    def value(self, model):
        return 0.5 * inverse_of_one_plus(self._covariance(model) / self.noise**2)[1]

    def gradient(self, model):
        """∂P/∂w_i = Σ_j M_ij [(radial_ij − radial⊥_ij) w_i + along_ij w_j], M = (s²I + C)⁻¹; 0 in a."""
        sigma, W, norms = model.activation, model.W, row_norms(model.W)
        inverse = inverse_of_one_plus(self._covariance(model) / self.noise**2)[0] / self.noise**2
        of_w, of_v = norms[:, None], norms[None, :]
        radial, along = sigma.dual_slopes(W @ W.T, of_w, of_v)
        _, apart = _apart(sigma, of_w, of_v)
        slope = jnp.sum(inverse * (radial - apart), axis=1)[:, None] * W + (inverse * along) @ W
        return TwoLayer(jnp.zeros_like(model.a), slope, sigma)


def _apart(sigma: AbstractActivation, of_w: Array, of_v: Array) -> tuple[Array, Array]:
    """(E σ(wᵀx) E σ(vᵀx), radial⊥): K and its radial slope at a right angle, of neurons of these norms."""
    if sigma.homogeneous:
        # Of unit vectors once, in place of an inverse cosine a pair.
        zero, one = jnp.zeros((), of_w.dtype), jnp.ones((), of_w.dtype)
        return sigma.dual(zero, one, one) * of_w * of_v, sigma.dual_slopes(zero, one, one)[0] * safe_divide(of_v, of_w)
    zero = jnp.zeros(jnp.broadcast_shapes(of_w.shape, of_v.shape), of_w.dtype)
    return sigma.dual(zero, of_w, of_v), sigma.dual_slopes(zero, of_w, of_v)[0]
