"""Probes that compare architectures: how far a student's neurons, filters or heads are from the teacher's."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..problem.models import Attention, masses
from ..problem.students import AbstractStudent, AttentionStudent
from .alignment import OF_NEURONS, neurons_of, scaled
from .base import AbstractPlainProbe, Measured
from .geometry import angles, mean_angle, widest_angle
from .heads import Heads

OF_UNITS: Any = OF_NEURONS | AttentionStudent
"""Students whose function is a sum over units of the teacher's kind."""


class Units:
    """Angles between a student's units and the teacher's, their masses, and the largest angle that there is."""

    def __init__(self, at: Measured):
        if isinstance(at.moment.model, Attention):
            heads = at.view(Heads)
            self.angle: Float[Array, "unit teacher_unit"] = heads.angle
            self.mass: Float[Array, " unit"] = heads.mass
            self.widest = float(jnp.pi)
            return
        student, teacher = at.view(scaled), neurons_of(at.moment.risk.teacher)
        symmetry = teacher.activation.symmetry
        self.angle = angles(student.W, teacher.W, symmetry)
        self.mass = masses(student.a, student.W)
        self.widest = widest_angle(symmetry)


class AbstractUnitProbe(AbstractPlainProbe):
    """A probe of a student's units."""

    of: ClassVar[type[AbstractStudent]] = OF_UNITS


class MeanUnitAngle(AbstractUnitProbe):
    """Σ m_i θ_i/Σ m_i, θ_i the angle of unit i to the nearest unit of the teacher, m_i its mass."""

    name: ClassVar[str] = "mean_unit_angle"
    units: ClassVar[str] = "rad"
    long_name: ClassVar[str] = "mass-weighted mean angle of neurons, filters or heads to the teacher's nearest"

    def __call__(self, at):
        now = at.view(Units)
        return mean_angle(now.mass, now.angle, now.widest)


class FarthestUnit(AbstractUnitProbe):
    """max_j min_i θ_ij over the student's units whose mass is at least a hundredth of the largest."""

    name: ClassVar[str] = "farthest_unit"
    units: ClassVar[str] = "rad"
    long_name: ClassVar[str] = "largest angle of a neuron, filter or head of the teacher to the nearest one of weight"

    def __call__(self, at):
        now = at.view(Units)
        counts = (now.mass >= 0.01 * jnp.max(now.mass)) & (now.mass > 0.0)
        return jnp.max(jnp.min(jnp.where(counts[:, None], now.angle, now.widest), axis=0))
