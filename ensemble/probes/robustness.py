"""Probes of robustness: how strongly a network, and its error, react to a small change of the input (theory.md §12)."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..numerics import safe_divide
from ..problem.activations import AbstractHomogeneous
from ..problem.models import DeepLinear, SingularMap, TwoLayer, row_norms
from ..problem.students import AbstractStudent, DeepLinearStudent, TwoLayerStudent
from .base import AbstractPlainProbe, AbstractProbe, Measured, aid
from .certificate import residual
from .geometry import angles, subspace_basis

OF_KERNELS: Any = TwoLayerStudent | DeepLinearStudent
"""Students whose mean squared input gradient is known in closed form."""


def mean_square_gradient(
    network: TwoLayer | DeepLinear | SingularMap, basis: Float[Array, "row input"] | None = None
) -> Float[Array, ""]:
    """E‖∇ₓf(x)‖² over x ~ N(0, I), exactly; the squared Frobenius norm of the Jacobian where f has several outputs.

        Σ_ij a_i a_j (w_iᵀw_j) E σ′(w_iᵀx)σ′(w_jᵀx),   E σ′σ′ = ∂K/∂(wᵀv): the slope `along` of the kernel

    for every activation with a kernel (for 1-homogeneous ones it is κ′(ρ)), and ‖W_L⋯W_1‖²_F of a deep linear network.

    **Arguments:** one network; `basis`: orthonormal rows (or zeros), of whose span alone the gradient is taken:
    E‖P∇ₓf‖². `relu_even` and the centred activations stand for functions of which degrees were removed; their
    gradients are those of what is left.

    **Returns:** a scalar ≥ 0 up to rounding: a few ulp of its largest term.

    Source: Price's theorem, ∂E g(u)h(v)/∂Cov(u, v) = E g′(u)h′(v).
    """
    if not isinstance(network, TwoLayer):
        rows = network.matrix if basis is None else network.matrix @ basis.T
        return jnp.sum(rows * rows)
    a, W, sigma = network.a, network.W, network.activation
    if isinstance(sigma, AbstractHomogeneous):
        # κ′ falls by `bend` a radian. Through a rounded cosine it would be wrong by 1e-9 of every neuron's own term.
        _, one = sigma.kappa_slopes(jnp.ones((), W.dtype))
        along = one - sigma.bend * angles(W, W, "ray")
    else:
        norms = row_norms(W)
        _, along = sigma.dual_slopes(W @ W.T, norms[:, None], norms[None, :])
    seen = W if basis is None else W @ basis.T
    return a @ (seen @ seen.T * along) @ a


def error_of(model: TwoLayer | DeepLinear, teacher: TwoLayer | SingularMap) -> TwoLayer | DeepLinear:
    """f* − f as a network."""
    if isinstance(model, DeepLinear) or isinstance(teacher, SingularMap):
        return DeepLinear([teacher.matrix - model.matrix])  # pyright: ignore[reportAttributeAccessIssue] (of one kind)
    return residual(model, teacher)


def teacher_subspace(teacher: TwoLayer | SingularMap) -> Float[Array, "row input"]:
    """Orthonormal rows, and zeros, that span the inputs that the teacher reacts to."""
    if isinstance(teacher, TwoLayer):
        return subspace_basis(teacher)
    return jnp.where(teacher.s[:, None] > 0.0, teacher.V.T, 0.0)


def _sensitivity(at: Measured) -> Float[Array, ""]:
    return mean_square_gradient(at.moment.model)


class Sensitivity(AbstractPlainProbe):
    """E‖∇ₓf‖² (theory.md §12)."""

    name: ClassVar[str] = "sensitivity"
    long_name: ClassVar[str] = "mean squared norm E‖∇f‖² of the network's gradient in its input"
    of: ClassVar[type[AbstractStudent]] = OF_KERNELS
    of_network: ClassVar[bool] = True

    def __call__(self, at):
        return at.view(_sensitivity)


class ErrorSensitivity(AbstractPlainProbe):
    """E‖∇ₓ(f − f*)‖² (theory.md §12)."""

    name: ClassVar[str] = "error_sensitivity"
    long_name: ClassVar[str] = "mean squared norm E‖∇(f − f*)‖² of the error's gradient in the input"
    of: ClassVar[type[AbstractStudent]] = OF_KERNELS
    of_network: ClassVar[bool] = True

    def __call__(self, at):
        return mean_square_gradient(error_of(at.moment.model, at.moment.risk.teacher))


class AdversarialAlignment(AbstractProbe):
    """E‖P_S* ∇ₓf‖²/E‖∇ₓf‖²: the share of the strongest small attacks, along ±∇f, that lies in the teacher's subspace.

    1 where every such attack moves only what the teacher sees; 0 of a network that reacts to nothing.
    """

    name: ClassVar[str] = "adversarial_alignment"
    long_name: ClassVar[str] = "share E‖P∇f‖²/E‖∇f‖² of the input gradient inside the teacher's subspace"
    of: ClassVar[type[AbstractStudent]] = OF_KERNELS
    of_network: ClassVar[bool] = True

    def prepare(self, risk):
        return (teacher_subspace(risk.teacher),)

    def __call__(self, at):
        (basis,) = aid(self, at)
        return safe_divide(mean_square_gradient(at.moment.model, basis), at.view(_sensitivity))
