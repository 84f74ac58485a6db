"""The population loss L = ½ E (f(x) − f*(x))², x ~ N(0, I), in closed form (theory.md §2).

    L = ½ [ aᵀ K(W,W) a − 2 aᵀ K(W,W*) a* + a*ᵀ K(W*,W*) a* ]

No samples: a gradient costs O(m(m+m*)d) arithmetic and m(m+m*) inverse sines.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..activations import AbstractActivation
from ..models import TwoLayer, row_norms
from .base import AbstractRisk


def kernel(
    activation: AbstractActivation,
    W: Float[Array, "neuron input"],
    V: Float[Array, "other_neuron input"],
) -> Float[Array, "neuron other_neuron"]:
    """K(W, V)_ij = E σ(w_iᵀx) σ(v_jᵀx).

    Its derivative is the closed one, ∂K_ij/∂w_i = radial_ij w_i + along_ij v_j, which is finite at
    duplicated, opposite and zero neurons, where differentiating the formula of K would give NaN.
    """
    return _kernel_with_rule(activation)(W, V)


def _kernel_with_rule(activation: AbstractActivation):
    @jax.custom_jvp
    def closed(W, V):
        return activation.dual(W @ V.T, row_norms(W)[:, None], row_norms(V)[None, :])

    @closed.defjvp
    def rule(primals, tangents):
        (W, V), (dW, dV) = primals, tangents
        gram, norm_w, norm_v = W @ V.T, row_norms(W)[:, None], row_norms(V)[None, :]
        radial_w, along = activation.dual_slopes(gram, norm_w, norm_v)
        radial_v, _ = activation.dual_slopes(gram, norm_v, norm_w)
        along_w = radial_w * jnp.sum(W * dW, axis=-1)[:, None] + along * (dW @ V.T)
        along_v = radial_v * jnp.sum(V * dV, axis=-1)[None, :] + along * (W @ dV.T)
        return closed(W, V), along_w + along_v

    return closed


class PopulationRisk(AbstractRisk):
    """½ E (f − f*)² over x ~ N(0, I), exactly (theory.md §2).

    **Arguments:** `teacher`, a `TwoLayer`; `target` = ½ E f*², which `PopulationRisk.of(teacher)` computes.
    """

    isotropic: ClassVar[bool] = True

    teacher: TwoLayer
    target: Float[Array, "*batch"]
    """The part of the loss that the teacher alone decides: the loss of a student that is 0."""

    @classmethod
    def of(cls, teacher: TwoLayer) -> "PopulationRisk":
        """The population risk of a teacher."""
        return cls(teacher, 0.5 * (teacher.a @ kernel(teacher.activation, teacher.W, teacher.W) @ teacher.a))

    def of_target(self, share: Float[Array, " neuron"]) -> "PopulationRisk":
        """The risk whose teacher has each output weight times a share: 0 for neurons that are no target."""
        return PopulationRisk.of(self.teacher.weighted(share))

    def read_out(self, model: TwoLayer) -> tuple[Float[Array, "neuron neuron"], Float[Array, " neuron"]]:
        """K(W, W) and K(W, W*) a*: the normal equations of the output layer."""
        sigma, W = model.activation, model.W
        return kernel(sigma, W, W), kernel(sigma, W, self.teacher.W) @ self.teacher.a

    def value(self, model: TwoLayer) -> Float[Array, ""]:
        sigma = _common_activation(model, self.teacher)
        own = model.a @ kernel(sigma, model.W, model.W) @ model.a
        cross = model.a @ kernel(sigma, model.W, self.teacher.W) @ self.teacher.a
        return (0.5 * own - cross) + self.target

    def value_and_gradient(self, model):
        slope, K = self._gradient_and_kernel(model)
        m = model.a.shape[0]
        own, cross = model.a @ K[:, :m] @ model.a, model.a @ K[:, m:] @ self.teacher.a
        return (0.5 * own - cross) + self.target, slope

    def _gradient_and_kernel(self, student: TwoLayer) -> tuple[TwoLayer, Array]:
        """The gradient, and the kernel of the student's neurons with all of f − f*."""
        teacher = self.teacher
        sigma = _common_activation(student, teacher)
        a, W = student.a, student.W
        # The residual f − f* is itself a two-layer network: the student's neurons and the teacher's,
        # these with opposite sign. ∂L/∂w_i = a_i Σ_j c_j ∂K(w_i, v_j)/∂w_i over all its neurons v_j.
        c = jnp.concatenate([a, -teacher.a])
        V = jnp.concatenate([W, teacher.W])
        gram = W @ V.T
        norm_w, norm_v = row_norms(W)[:, None], row_norms(V)[None, :]
        radial, along = sigma.dual_slopes(gram, norm_w, norm_v)
        K = sigma.dual(gram, norm_w, norm_v)
        pull = (radial @ c)[:, None] * W + (along * c[None, :]) @ V
        if sigma.homogeneous:
            # Euler's identity for a function of degree 1 in w: K(w, v) = wᵀ ∂K/∂w.
            slope_a = jnp.sum(W * pull, axis=-1)
        else:
            slope_a = K @ c
        return TwoLayer(slope_a, a[:, None] * pull, sigma), K


def _common_activation(student: TwoLayer, teacher: TwoLayer) -> AbstractActivation:
    if student.activation != teacher.activation:
        raise ValueError(
            f"activation: the student's is {student.activation.name!r} and the teacher's "
            f"{teacher.activation.name!r}; the closed form needs one activation for both"
        )
    if student.W.shape[-1] != teacher.W.shape[-1]:
        raise ValueError(
            f"W: the student has {student.W.shape[-1]} inputs and the teacher {teacher.W.shape[-1]}; "
            "both must see the same x"
        )
    return student.activation


def population_loss(student: TwoLayer, teacher: TwoLayer) -> Float[Array, ""]:
    """½ E (f(x) − f*(x))², x ~ N(0, I), of a student f and a teacher f*, exactly (theory.md §2).

    **Arguments:** two `TwoLayer` networks of one activation and as many inputs; any signs of `a`;
    duplicated, opposite and zero neurons are allowed.

    **Returns:** a scalar ≥ 0 up to rounding: the error is a few ulp of its largest term, so that losses
    under about 1e-15 of ‖f*‖² cannot be told from 0 (and may come out negative).

    Differentiable (`jax.grad` equals `population_gradient`, at duplicated neurons too); under `jax.vmap`
    map over both networks or over one.

    **Raises:** `ValueError` where activations or inputs differ.
    """
    return PopulationRisk.of(teacher).value(student)


def population_gradient(student: TwoLayer, teacher: TwoLayer) -> TwoLayer:
    """The gradient of `population_loss` with respect to the student, as a `TwoLayer` of its shapes.

        ∂L/∂a_i = Σ_j c_j K(w_i, v_j),    ∂L/∂w_i = a_i Σ_j c_j (radial_ij w_i + along_ij v_j)

    over the neurons (c_j, v_j) of f − f*. Finite everywhere: a zero neuron has gradient 0 in `W`.
    Arguments, `vmap` and errors are those of `population_loss`.
    """
    return PopulationRisk.of(teacher).value_and_gradient(student)[1]
