"""The population loss of two-layer networks with biases, x ~ N(0, I), in closed form.

f − f* is a network, too: of the student's neurons and the teacher's, these with opposite sign, and of the constant
c − c*, which is the output of one more neuron that is 1 everywhere. So

    L = ½ [ gᵀ K g + 2 (c − c*) gᵀ E σ + (c − c*)² ],    g = (a, −a*)

with K of all neurons (`activations.biased`) and E σ(wᵀx + b) the kernel's own mean.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..activations import AbstractActivation
from ..activations.biased import BIASED, AbstractBiasedDual, Pairs, biased_dual
from ..models import BiasedTwoLayer, row_norms
from .base import AbstractDifferentiatedRisk


def biased_kernel(
    activation: AbstractActivation,
    W: Float[Array, "neuron input"],
    b: Float[Array, " neuron"],
    V: Float[Array, "other_neuron input"],
    c: Float[Array, " other_neuron"],
) -> Float[Array, "neuron other_neuron"]:
    """K_ij = E σ(w_iᵀx + b_i) σ(v_jᵀx + c_j), with its closed derivative.

    **Raises:** `ValueError` for an activation that has none in closed form.
    """
    known = _known(activation)

    def pairs(W: Array, b: Array, V: Array, c: Array, *, swapped: bool = False) -> Pairs:
        first, second = (row_norms(W)[:, None], b[:, None]), (row_norms(V)[None, :], c[None, :])
        one, other = (second, first) if swapped else (first, second)
        return Pairs(W @ V.T, one[0], other[0], one[1], other[1])

    @jax.custom_jvp
    def closed(W: Array, b: Array, V: Array, c: Array) -> Array:
        return known.dual(pairs(W, b, V, c))

    @closed.defjvp
    def rule(primals: Any, tangents: Any) -> tuple[Array, Array]:
        (W, b, V, c), (dW, db, dV, dc) = primals, tangents
        radial_w, along, of_b = known.slopes(pairs(W, b, V, c))
        radial_v, _, of_c = known.slopes(pairs(W, b, V, c, swapped=True))
        of_w = radial_w * jnp.sum(W * dW, axis=-1)[:, None] + along * (dW @ V.T) + of_b * db[:, None]
        of_v = radial_v * jnp.sum(V * dV, axis=-1)[None, :] + along * (W @ dV.T) + of_c * dc[None, :]
        return closed(W, b, V, c), of_w + of_v

    return closed(W, b, V, c)


def biased_mean(
    activation: AbstractActivation, W: Float[Array, "neuron input"], b: Float[Array, " neuron"]
) -> Float[Array, " neuron"]:
    """E σ(w_iᵀx + b_i), with its closed derivative; errors as `biased_kernel`."""
    known = _known(activation)

    @jax.custom_jvp
    def closed(W: Array, b: Array) -> Array:
        return known.mean(row_norms(W), b)[0]

    @closed.defjvp
    def rule(primals: Any, tangents: Any) -> tuple[Array, Array]:
        (W, b), (dW, db) = primals, tangents
        value, slope, second = known.mean(row_norms(W), b)
        return value, second * jnp.sum(W * dW, axis=-1) + slope * db

    return closed(W, b)


def _known(activation: AbstractActivation) -> AbstractBiasedDual:
    known = biased_dual(activation)
    if known is None:
        raise ValueError(
            f"activation: got {activation.name!r}, whose kernel with biases has no closed form; there is one for "
            + ", ".join(BIASED)
        )
    return known


class BiasedRisk(AbstractDifferentiatedRisk):
    """½ E (f − f*)² over x ~ N(0, I) of two-layer networks with biases, exactly.

    **Arguments:** `teacher`, a `BiasedTwoLayer` of the student's activation.

    Its error is a few ulp of its largest term: losses under about 1e-15 of that cannot be told from 0.
    """

    isotropic: ClassVar[bool] = True

    teacher: BiasedTwoLayer

    def value(self, model: BiasedTwoLayer) -> Float[Array, ""]:
        teacher = self.teacher
        g = jnp.concatenate([model.a, -teacher.a])
        W, b = jnp.concatenate([model.W, teacher.W]), jnp.concatenate([model.biases, teacher.biases])
        K = biased_kernel(model.activation, W, b, W, b)
        means = biased_mean(model.activation, W, b)
        apart = model.output_bias - teacher.output_bias
        return 0.5 * (g @ K @ g) + apart * (g @ means) + 0.5 * apart**2
