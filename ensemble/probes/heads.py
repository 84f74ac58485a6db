"""Probes of attention: which heads look for what a head of the teacher looks for, and pass on what it passes on.

A head is known by A = QᵀK/√k and v = Vᵀo alone (`Attention`), which no change of basis in its units and no order of
heads alters. The angle of two heads is the larger of those between their A and between their v, as rays: their signs
are no symmetry.
"""

from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..problem.models import row_norms
from ..problem.students import AbstractStudent, AttentionStudent
from .base import AbstractPlainProbe, Measured, When
from .geometry import angles, mean_angle


class Heads:
    """A student's heads beside the teacher's. A head's mass is ‖v‖; one without mass has the angle π."""

    def __init__(self, at: Measured):
        student, teacher = at.moment.model, at.moment.risk.teacher
        self.scores, self.passed = _flat(student.scores), student.passed
        self.teacher_scores, self.teacher_passed = _flat(teacher.scores), teacher.passed
        looks = angles(self.scores, self.teacher_scores, "ray")
        passes = angles(self.passed, self.teacher_passed, "ray")
        self.angle: Float[Array, "head teacher_head"] = jnp.maximum(looks, passes)
        self.owner: Int[Array, " head"] = jnp.argmin(self.angle, axis=1)
        self.mass: Float[Array, " head"] = row_norms(self.passed)
        largest = jnp.max(row_norms(self.teacher_passed))
        self.active = self.mass >= at.moment.active_threshold * largest


def _flat(matrices: Any) -> Float[Array, "head entry"]:
    return matrices.reshape(matrices.shape[0], -1)


class AbstractHeadProbe(AbstractPlainProbe):
    """A probe of an attention student's heads."""

    of: ClassVar[type[AbstractStudent]] = AttentionStudent


class MeanHeadAngle(AbstractHeadProbe):
    """Σ m_h θ_h/Σ m_h, θ_h the angle of head h to the nearest head of the teacher, m_h its mass ‖v_h‖."""

    name: ClassVar[str] = "mean_head_angle"
    units: ClassVar[str] = "rad"
    long_name: ClassVar[str] = "mass-weighted mean angle of heads to the nearest head of the teacher"
    default: ClassVar[bool] = True

    def __call__(self, at):
        now = at.view(Heads)
        return mean_angle(now.mass, now.angle, jnp.pi)


class HeadAngle(AbstractHeadProbe):
    """min_h θ_hj over the student's heads whose mass is at least a hundredth of the largest."""

    name: ClassVar[str] = "head_angle"
    dims: ClassVar[tuple[str, ...]] = ("teacher_head",)
    units: ClassVar[str] = "rad"
    long_name: ClassVar[str] = "smallest angle of a head of weight to every head of the teacher"
    default: ClassVar[bool] = True

    def __call__(self, at):
        now = at.view(Heads)
        counts = (now.mass >= 0.01 * jnp.max(now.mass)) & (now.mass > 0.0)
        return jnp.min(jnp.where(counts[:, None], now.angle, jnp.pi), axis=0)


class HeadError(AbstractHeadProbe):
    """‖Σ_{h owned by j} v_h ⊗ A_h − v*_j ⊗ A*_j‖/‖v*_j ⊗ A*_j‖; a head is owned by the nearest one of the teacher."""

    name: ClassVar[str] = "head_error"
    dims: ClassVar[tuple[str, ...]] = ("teacher_head",)
    long_name: ClassVar[str] = "relative error of v ⊗ A of the heads that a head of the teacher owns"
    default: ClassVar[bool] = True

    def __call__(self, at):
        now = at.view(Heads)
        owned = (now.owner[None, :] == jnp.arange(now.teacher_passed.shape[0])[:, None]).astype(now.passed.dtype)
        fitted = jnp.einsum("jh,hv,ha->jva", owned, now.passed, now.scores)
        planted = now.teacher_passed[:, :, None] * now.teacher_scores[:, None, :]
        count = planted.shape[0]
        return row_norms((fitted - planted).reshape(count, -1)) / row_norms(planted.reshape(count, -1))


class ActiveHeads(AbstractHeadProbe):
    """Number of heads with at least `active_threshold` of the largest teacher mass."""

    name: ClassVar[str] = "active_heads"
    dtype: ClassVar[Literal["float", "int32"]] = "int32"
    long_name: ClassVar[str] = "number of active heads"
    default: ClassVar[bool] = True

    def __call__(self, at):
        return jnp.sum(at.view(Heads).active).astype(jnp.int32)


class HeadMass(AbstractHeadProbe):
    """‖v_h‖."""

    name: ClassVar[str] = "head_mass"
    dims: ClassVar[tuple[str, ...]] = ("head",)
    long_name: ClassVar[str] = "mass ‖v_h‖ of every head"
    when: ClassVar[When] = "end"

    def __call__(self, at):
        return at.view(Heads).mass
