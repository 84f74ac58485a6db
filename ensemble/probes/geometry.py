"""Angles between neurons, and who owns whom (theory.md §6).

Angles are measured between unit vectors u and v as 2·atan2(‖u−v‖, ‖u+v‖), exact to a few 1e-16; the inverse
cosine of a rounded inner product cannot see an angle under 1.5e-8. For even activations an angle is one
between lines, in [0, π/2]; for the others between rays, in [0, π].
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..numerics import safe_divide
from ..problem.activations.base import Symmetry
from ..problem.models import TwoLayer, row_norms, unit_rows


def angles(
    W: Float[Array, "neuron input"], V: Float[Array, "other_neuron input"], symmetry: Symmetry
) -> Float[Array, "neuron other_neuron"]:
    """Angles in radians between the rows of `W` and of `V`, as lines or as rays.

    A zero row has no direction; its angles are the largest that the symmetry allows (π/2 or π).
    """
    between = _angle(unit_rows(W)[:, None, :], unit_rows(V)[None, :, :], symmetry)
    exists = (row_norms(W)[:, None] > 0.0) & (row_norms(V)[None, :] > 0.0)
    return jnp.where(exists, between, widest_angle(symmetry))


def mean_angle(
    mass: Float[Array, " neuron"], between: Float[Array, "neuron other_neuron"], otherwise: Any
) -> Float[Array, ""]:
    """Σ m_i min_j θ_ij/Σ m_i in radians; `otherwise` where no neuron has a mass."""
    nearest, total = jnp.min(between, axis=1), jnp.sum(mass)
    return jnp.where(total > 0.0, safe_divide(jnp.sum(mass * nearest), total), otherwise)


def _angle(u: Float[Array, "*#rows input"], v: Float[Array, "*#rows input"], symmetry: Symmetry):
    """2·atan2(‖u−v‖, ‖u+v‖) of unit vectors."""
    apart, together = row_norms(u - v), row_norms(u + v)
    if symmetry == "line":
        apart, together = jnp.minimum(apart, together), jnp.maximum(apart, together)
    return 2.0 * jnp.arctan2(apart, together)


def widest_angle(symmetry: Symmetry) -> float:
    """The largest angle between two lines (π/2) or rays (π)."""
    return math.pi / 2 if symmetry == "line" else math.pi


def separation(teacher: TwoLayer) -> Float[Array, ""]:
    """Δ: the smallest angle between two teacher neurons; for one neuron the largest angle there is."""
    symmetry = teacher.activation.symmetry
    between = angles(teacher.W, teacher.W, symmetry)
    return jnp.min(jnp.where(jnp.eye(len(teacher.a), dtype=bool), widest_angle(symmetry), between))


def owners(
    student: TwoLayer, teacher: TwoLayer
) -> tuple[Float[Array, " neuron"], Int[Array, " neuron"], Float[Array, " neuron"]]:
    """(angle, owner, orientation) of every student neuron.

    `owner` is the nearest teacher neuron; `orientation` is −1 where an even neuron points the other way. The
    nearest one is found by inner products, which is cheap, and its angle measured by the stable formula.
    """
    overlap = student.W @ unit_rows(teacher.W).T
    symmetry = student.activation.symmetry
    owner = jnp.argmax(jnp.abs(overlap) if symmetry == "line" else overlap, axis=1)
    nearest = teacher.W[owner]
    angle = _angle(unit_rows(student.W), unit_rows(nearest), symmetry)
    angle = jnp.where(row_norms(student.W) > 0.0, angle, widest_angle(symmetry))
    pointing_away = (jnp.sum(student.W * nearest, axis=1) < 0.0) & (symmetry == "line")
    return angle, owner, jnp.where(pointing_away, -1.0, 1.0).astype(angle.dtype)


class TeacherFrame(NamedTuple):
    """What probes need of a teacher beside its weights; computed once a member."""

    basis: Float[Array, "teacher_neuron input"]
    """Orthonormal rows that span the teacher's subspace S*, and zero rows where its rank is below m*."""
    separation: Float[Array, ""]
    """Δ in radians."""


def teacher_frame(teacher: TwoLayer) -> TeacherFrame:
    """The frame of a teacher."""
    return TeacherFrame(subspace_basis(teacher), separation(teacher))


def subspace_basis(teacher: TwoLayer) -> Float[Array, "teacher_neuron input"]:
    """Orthonormal rows spanning S*, followed by zero rows where the rank is below m*."""
    count = teacher.a.shape[0]
    _, sizes, rows = jnp.linalg.svd(teacher.W, full_matrices=False)
    tolerance = max(teacher.W.shape) * jnp.finfo(teacher.W.dtype).eps * sizes[0]
    kept = jnp.where(sizes[:, None] > tolerance, rows, 0.0)
    return jnp.pad(kept, ((0, count - kept.shape[0]), (0, 0)))
