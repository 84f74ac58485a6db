"""Probes of two-layer networks and of filters: how their neurons lie to the teacher's (theory.md §6)."""

from typing import Any, ClassVar, Literal

import jax.numpy as jnp

from ..numerics import safe_divide, safe_norm
from ..problem.lazy import AbstractLazyRisk
from ..problem.models import BiasedTwoLayer, Conv, TwoLayer, masses, row_norms, unit_rows
from ..problem.students import AbstractStudent, BiasedStudent, ConvStudent, TwoLayerStudent
from .base import AbstractProbe, Measured, When, aid
from .geometry import owners, teacher_frame, widest_angle

OF_NEURONS: Any = TwoLayerStudent | ConvStudent | BiasedStudent
"""Students whose function is a sum over neurons; the filters of a convolution are its neurons. Of a network with
biases a row is (w_i, b_i): masses, angles and vanished neurons are those of rows on (x, 1)."""


def neurons_of(network: Any) -> TwoLayer:
    """The network as one of neurons: that on a patch of a convolution, that on (x, 1) of one with biases."""
    if isinstance(network, BiasedTwoLayer):
        return network.augmented
    return network.on_patch if isinstance(network, Conv) else network


def scaled(at: Measured) -> TwoLayer:
    """The student's neurons, with the output scale of a lazy comparator in a."""
    model, risk = neurons_of(at.moment.model), at.moment.risk
    if not isinstance(risk, AbstractLazyRisk):
        return model
    return TwoLayer(risk.output_scale * model.a, model.W, model.activation)


class Neurons:
    """A student's neurons beside the teacher's.

    A student without mass (every neuron vanished) has the widest angle, all its mass far, alignment 0. Of a student
    with an output scale α, the output weights are αa.
    """

    def __init__(self, at: Measured):
        self.student, self.teacher = at.view(scaled), neurons_of(at.moment.risk.teacher)
        self.threshold = at.moment.active_threshold
        self.mass = masses(self.student.a, self.student.W)
        self.total = jnp.sum(self.mass)
        self.angle, self.owner, self.orientation = owners(self.student, self.teacher)
        self.widest = widest_angle(self.student.activation.symmetry)
        self.active = self.mass >= self.threshold * jnp.max(masses(self.teacher.a, self.teacher.W))


class AbstractNeuronProbe(AbstractProbe):
    """A probe of a student's neurons: those of two layers, or filters."""

    of: ClassVar[type[AbstractStudent]] = OF_NEURONS

    def prepare(self, risk):
        return teacher_frame(neurons_of(risk.teacher))


class MeanAngle(AbstractNeuronProbe):
    """Mass-weighted mean angle to the nearest teacher neuron."""

    name: ClassVar[str] = "mean_angle"
    units: ClassVar[str] = "rad"
    long_name: ClassVar[str] = "mass-weighted mean angle to the nearest teacher neuron"
    default: ClassVar[bool] = True

    def __call__(self, at):
        now = at.view(Neurons)
        return jnp.where(now.total > 0.0, safe_divide(jnp.sum(now.mass * now.angle), now.total), now.widest)


class MaxAngle(AbstractNeuronProbe):
    """Largest angle of an active neuron to its nearest teacher neuron."""

    name: ClassVar[str] = "max_angle"
    units: ClassVar[str] = "rad"
    long_name: ClassVar[str] = "largest angle of an active neuron to its nearest teacher neuron"
    default: ClassVar[bool] = True

    def __call__(self, at):
        now = at.view(Neurons)
        largest = jnp.max(jnp.where(now.active, now.angle, 0.0))
        return jnp.where(jnp.any(now.active), largest, now.widest)


class FarMass(AbstractNeuronProbe):
    """Share of mass at an angle above Δ/2 from every teacher neuron."""

    name: ClassVar[str] = "far_mass"
    long_name: ClassVar[str] = "share of mass at an angle above Δ/2 from every teacher neuron"
    default: ClassVar[bool] = True

    def __call__(self, at):
        now = at.view(Neurons)
        far = jnp.sum(jnp.where(now.angle > 0.5 * aid(self, at).separation, now.mass, 0.0))
        return jnp.where(now.total > 0.0, safe_divide(far, now.total), 1.0)


class Active(AbstractNeuronProbe):
    """Number of active neurons."""

    name: ClassVar[str] = "active"
    dtype: ClassVar[Literal["float", "int32"]] = "int32"
    long_name: ClassVar[str] = "number of active neurons"
    default: ClassVar[bool] = True

    def __call__(self, at):
        return jnp.sum(at.view(Neurons).active).astype(jnp.int32)


class SubspaceAlignment(AbstractNeuronProbe):
    """Mass-weighted share ‖P_S* w‖²/‖w‖² inside the teacher subspace."""

    name: ClassVar[str] = "subspace_alignment"
    long_name: ClassVar[str] = "mass-weighted share ‖P_S* w‖²/‖w‖² inside the teacher subspace"
    default: ClassVar[bool] = True

    def __call__(self, at):
        now = at.view(Neurons)
        inside = jnp.sum((unit_rows(now.student.W) @ aid(self, at).basis.T) ** 2, axis=1)
        return safe_divide(jnp.sum(now.mass * inside), now.total)


class Imbalance(AbstractNeuronProbe):
    """Largest |a_i² − ‖w_i‖²| over neurons."""

    name: ClassVar[str] = "imbalance"
    long_name: ClassVar[str] = "largest |a_i² − ‖w_i‖²| over neurons"
    default: ClassVar[bool] = True

    def __call__(self, at):
        student = neurons_of(at.moment.model)
        return jnp.max(jnp.abs(student.a**2 - row_norms(student.W) ** 2))


class RecoveryError(AbstractNeuronProbe):
    """‖Σ_{i owned by j} a_i w_i − a*_j w*_j‖."""

    name: ClassVar[str] = "recovery_error"
    dims: ClassVar[tuple[str, ...]] = ("teacher_neuron",)
    long_name: ClassVar[str] = "‖Σ_{i owned by j} a_i w_i − a*_j w*_j‖"
    default: ClassVar[bool] = True

    def __call__(self, at):
        now = at.view(Neurons)
        student, teacher = now.student, now.teacher
        owned = now.owner[:, None] == jnp.arange(teacher.a.shape[0])[None, :]
        fitted = jnp.where(owned, (student.a * now.orientation)[:, None], 0.0).T @ student.W
        return safe_norm(jnp.sum((fitted - teacher.a[:, None] * teacher.W) ** 2, axis=1))


class Mass(AbstractNeuronProbe):
    """Mass |a_i|‖w_i‖."""

    name: ClassVar[str] = "mass"
    dims: ClassVar[tuple[str, ...]] = ("neuron",)
    long_name: ClassVar[str] = "mass |a_i|‖w_i‖"
    when: ClassVar[When] = "end"

    def __call__(self, at):
        return at.view(Neurons).mass


class Angle(AbstractNeuronProbe):
    """Angle to the nearest teacher neuron."""

    name: ClassVar[str] = "angle"
    dims: ClassVar[tuple[str, ...]] = ("neuron",)
    units: ClassVar[str] = "rad"
    long_name: ClassVar[str] = "angle to the nearest teacher neuron"
    when: ClassVar[When] = "end"

    def __call__(self, at):
        return at.view(Neurons).angle


class Owner(AbstractNeuronProbe):
    """Index of the nearest teacher neuron."""

    name: ClassVar[str] = "owner"
    dims: ClassVar[tuple[str, ...]] = ("neuron",)
    dtype: ClassVar[Literal["float", "int32"]] = "int32"
    long_name: ClassVar[str] = "index of the nearest teacher neuron"
    when: ClassVar[When] = "end"

    def __call__(self, at):
        return at.view(Neurons).owner.astype(jnp.int32)


class MeanSquareAngle(AbstractNeuronProbe):
    """Mass-weighted mean squared angle to the nearest teacher neuron."""

    name: ClassVar[str] = "mean_square_angle"
    units: ClassVar[str] = "rad²"
    long_name: ClassVar[str] = "mass-weighted mean squared angle to the nearest teacher neuron"

    def __call__(self, at):
        now = at.view(Neurons)
        mean = safe_divide(jnp.sum(now.mass * now.angle**2), now.total)
        return jnp.where(now.total > 0.0, mean, now.widest**2)
