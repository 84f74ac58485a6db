"""Probes of how far a member is from its kernel regime (theory.md §11): its start is what it is compared with.

Of the tangent kernel Θ_θ(x, x′) = ∂f_θ(x)·∂f_θ(x′) over independent x, x′ ~ N(0, I), in closed form. Sizes are computed
from squares, so that a relative change below about 1e-7 (float64) is rounding.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ..numerics import safe_divide, safe_norm
from ..problem.lazy import AbstractLazyRisk, minus, pairing, squared, tangent_of
from ..problem.students import AbstractStudent, ConvStudent, DeepLinearStudent, TwoLayerStudent
from .base import AbstractStartProbe, Measured, aid


class WeightChange(AbstractStartProbe):
    """‖θ − θ0‖/‖θ0‖."""

    name: ClassVar[str] = "weight_change"
    long_name: ClassVar[str] = "relative change of all weights since step 0, ‖θ − θ0‖/‖θ0‖"

    def from_start(self, model, risk):
        return model

    def __call__(self, at):
        start = aid(self, at)
        moved = minus(at.moment.model, start)
        return safe_divide(safe_norm(pairing(moved, moved)), safe_norm(pairing(start, start)))


CLOSED: Any = TwoLayerStudent | DeepLinearStudent | ConvStudent
"""Students whose tangent kernel is known in closed form, where their risk is."""


class AbstractKernelProbe(AbstractStartProbe):
    """A probe of the tangent kernel, of students whose class has closed forms."""

    of: ClassVar[type[AbstractStudent]] = CLOSED
    full_coordinates: ClassVar[bool] = True

    def from_start(self, model, risk):
        return {"model": model, "kernel": tangent_of(model).overlap(model, model)}


def tangent_point(at: Measured) -> Any:
    """The weights at which the member's function has its tangent: those of its start where it is linearised."""
    risk, model = at.moment.risk, at.moment.model
    return risk.tangent_point(model) if isinstance(risk, AbstractLazyRisk) else model


def is_linear(at: Measured) -> bool:
    """Whether the member is linear in its weights."""
    return isinstance(at.moment.risk, AbstractLazyRisk) and at.moment.risk.is_linear


def kernel_size(at: Measured):
    """‖Θ_θ‖², over the distribution of two inputs."""
    point = at.view(tangent_point)
    return tangent_of(point).overlap(point, point)


class KernelChange(AbstractKernelProbe):
    """‖Θ_θ − Θ_θ0‖/‖Θ_θ0‖; 0 of a linearised student."""

    name: ClassVar[str] = "kernel_change"
    long_name: ClassVar[str] = "relative change of the tangent kernel since step 0, root mean square over two inputs"

    def __call__(self, at):
        start, point = aid(self, at), at.view(tangent_point)
        if is_linear(at):
            return jnp.zeros_like(start["kernel"])
        cross = tangent_of(point).overlap(point, start["model"])
        square = (at.view(kernel_size) - cross) + (start["kernel"] - cross)
        return safe_divide(safe_norm(square), jnp.sqrt(start["kernel"]))


class KernelAlignment(AbstractKernelProbe):
    """E Θ_θ(x, x′) f*(x)·f*(x′)/(‖Θ_θ‖ E f*²) ∈ [0, 1]: how much of the tangent kernel points to the teacher."""

    name: ClassVar[str] = "kernel_alignment"
    long_name: ClassVar[str] = "alignment of the tangent kernel with the teacher's f* f*ᵀ; 1: it is that alone"

    def __call__(self, at):
        point, teacher = at.view(tangent_point), at.moment.risk.teacher
        slope = tangent_of(point).slope(point, teacher)
        return safe_divide(pairing(slope, slope), jnp.sqrt(at.view(kernel_size)) * squared(teacher))


class LinearisationError(AbstractKernelProbe):
    """α√(E(f_θ − f_θ0 − ∂f_θ0·(θ − θ0))²/E f*²); 0 of a linearised student."""

    name: ClassVar[str] = "linearisation_error"
    long_name: ClassVar[str] = "distance of the network from its linearisation at step 0, of the teacher's norm"

    def __call__(self, at):
        point, start = at.moment.model, aid(self, at)["model"]
        if is_linear(at):
            return jnp.zeros_like(aid(self, at)["kernel"])
        tangent, moved = tangent_of(start), minus(point, start)
        linear = tangent.inner(start, start)
        linear += pairing(moved, jax.tree.map(lambda b, g: 2.0 * b + g, *_slopes(tangent, start, moved)))
        cross = tangent.inner(point, start) + pairing(moved, tangent.slope(start, point))
        square = (tangent.inner(point, point) - cross) + (linear - cross)
        risk = at.moment.risk
        scale = risk.output_scale if isinstance(risk, AbstractLazyRisk) else 1.0
        return scale * safe_divide(safe_norm(square), jnp.sqrt(squared(at.moment.risk.teacher)))


def _slopes(tangent: Any, start: Any, moved: Any) -> tuple[Any, Any]:
    return tangent.slope(start, start), tangent.response(start, moved)
