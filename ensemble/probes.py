"""Probes: what is measured of a member (theory.md §6), with the units that go into datasets.

Angles are measured between unit vectors u and v as 2·atan2(‖u−v‖, ‖u+v‖), exact to a few 1e-16; the inverse
cosine of a rounded inner product cannot see an angle under 1.5e-8. For even activations an angle is one
between lines, in [0, π/2]; for the others between rays, in [0, π].
"""

import math
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .activations.base import Symmetry, safe_divide, safe_norm
from .certificate import duality_gap
from .network import TwoLayer, masses, row_norms, unit_rows
from .risks import PopulationRisk, population_gradient

Dims = tuple[Literal["teacher_neuron", "neuron"], ...]


class Probe(NamedTuple):
    """What a dataset says of a probe: dimensions beside axes and seed, units, a long name."""

    dims: Dims
    units: str
    long_name: str


PROBES: dict[str, Probe] = {
    "loss": Probe((), "1", "population loss ½E(f−f*)²"),
    "risk": Probe((), "1", "regularised risk L + (λ/2)(‖a‖²+‖W‖²), λ of the step"),
    "grad_norm": Probe((), "1", "norm of the gradient of the regularised risk on the moving layers"),
    "mean_angle": Probe((), "rad", "mass-weighted mean angle to the nearest teacher neuron"),
    "max_angle": Probe((), "rad", "largest angle of an active neuron to its nearest teacher neuron"),
    "far_mass": Probe((), "1", "share of mass at an angle above Δ/2 from every teacher neuron"),
    "active": Probe((), "1", "number of active neurons"),
    "subspace_alignment": Probe((), "1", "mass-weighted share ‖P_S* w‖²/‖w‖² inside the teacher subspace"),
    "imbalance": Probe((), "1", "largest |a_i² − ‖w_i‖²| over neurons"),
    "recovery_error": Probe(("teacher_neuron",), "1", "‖Σ_{i owned by j} a_i w_i − a*_j w*_j‖"),
    "mass": Probe(("neuron",), "1", "mass |a_i|‖w_i‖"),
    "angle": Probe(("neuron",), "rad", "angle to the nearest teacher neuron"),
    "owner": Probe(("neuron",), "1", "index of the nearest teacher neuron"),
    "mean_square_angle": Probe((), "rad²", "mass-weighted mean squared angle to the nearest teacher neuron"),
    "gap": Probe((), "1", "duality gap: the risk is at most this above the minimum over all widths"),
    "certificate_max": Probe((), "1", "largest |η| found, M/λ; ∞ where λ = 0"),
}
"""Every probe, by name. Those along `neuron` are measured at the end only."""

CERTIFICATE = ("gap", "certificate_max")
"""Probes that cost as much as hundreds of steps: measured at stage ends, and at records where a study asks for it."""

MEMBER_PROBES = tuple(
    name
    for name, probe in PROBES.items()
    if "neuron" not in probe.dims and name not in (*CERTIFICATE, "mean_square_angle")
)
"""The probes of a study that names none."""


class Setting(NamedTuple):
    """What a measurement depends on beside the two networks."""

    weight_decay: Float[Array, ""]
    moves_output: Bool[Array, ""]
    moves_first: Bool[Array, ""]
    active_threshold: Float[Array, ""]
    """A neuron is active when its mass is at least this share of the largest teacher mass."""


def angles(
    W: Float[Array, "neuron input"], V: Float[Array, "other_neuron input"], symmetry: Symmetry
) -> Float[Array, "neuron other_neuron"]:
    """Angles in radians between the rows of `W` and of `V`, as lines or as rays.

    A zero row has no direction; its angles are the largest that the symmetry allows (π/2 or π).
    """
    between = _angle(unit_rows(W)[:, None, :], unit_rows(V)[None, :, :], symmetry)
    exists = (row_norms(W)[:, None] > 0.0) & (row_norms(V)[None, :] > 0.0)
    return jnp.where(exists, between, widest_angle(symmetry))


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


def max_angle(student: TwoLayer, teacher: TwoLayer, active_threshold: Float[Array, ""]) -> Float[Array, ""]:
    """The largest angle (rad) of an active neuron to its teacher; the widest angle if none is active."""
    angle, _, _ = owners(student, teacher)
    active = _active(student, teacher, active_threshold)
    largest = jnp.max(jnp.where(active, angle, 0.0))
    return jnp.where(jnp.any(active), largest, widest_angle(student.activation.symmetry))


def _active(student: TwoLayer, teacher: TwoLayer, threshold: Float[Array, ""]) -> Bool[Array, " neuron"]:
    return masses(student.a, student.W) >= threshold * jnp.max(masses(teacher.a, teacher.W))


def risk_gradient(student: TwoLayer, teacher: TwoLayer, weight_decay: Float[Array, ""]) -> TwoLayer:
    """The gradient of R_λ = L + (λ/2)(‖a‖² + ‖W‖²)."""
    return _with_decay(population_gradient(student, teacher), student, weight_decay)


def _with_decay(slope: TwoLayer, student: TwoLayer, weight_decay: Float[Array, ""]) -> TwoLayer:
    a = slope.a + weight_decay * student.a
    return TwoLayer(a, slope.W + weight_decay * student.W, student.activation)


def gradient_norm(slope: TwoLayer, moves_output: Bool[Array, ""], moves_first: Bool[Array, ""]):
    """The norm of a gradient on the layers that move."""
    output = jnp.where(moves_output, jnp.sum(slope.a * slope.a), 0.0)
    first = jnp.where(moves_first, jnp.sum(slope.W * slope.W), 0.0)
    return jnp.sqrt(output + first)


class Frame(NamedTuple):
    """What probes need of a teacher beside its weights; computed once a member."""

    basis: Float[Array, "teacher_neuron input"]
    """Orthonormal rows that span the teacher's subspace S*, and zero rows where its rank is below m*."""
    separation: Float[Array, ""]
    """Δ in radians."""
    target: Float[Array, ""]
    """½E f*²: the loss of a student that is 0."""


def frame(teacher: TwoLayer) -> Frame:
    """The frame of a teacher."""
    return Frame(subspace_basis(teacher), separation(teacher), PopulationRisk().target(teacher))


def measure(
    student: TwoLayer, teacher: TwoLayer, frame: Frame, setting: Setting, certificate: bool = False
) -> dict[str, Array]:
    """All probes of one member, by name, with the shapes that `PROBES` says; `frame` is the teacher's.

    Those of the certificate only where they are asked for: they need a 1-homogeneous activation.

    A student without mass (every neuron vanished) has the widest angle, all its mass far, alignment 0.
    """
    mass = masses(student.a, student.W)
    total = jnp.sum(mass)
    angle, owner, orientation = owners(student, teacher)
    widest = widest_angle(student.activation.symmetry)
    norm_w = row_norms(student.W)
    loss, slope = PopulationRisk().loss_and_gradient(student, teacher, frame.target)
    slope = _with_decay(slope, student, setting.weight_decay)
    penalty = jnp.sum(student.a**2) + jnp.sum(student.W**2)
    inside = jnp.sum((unit_rows(student.W) @ frame.basis.T) ** 2, axis=1)
    owned = owner[:, None] == jnp.arange(teacher.a.shape[0])[None, :]
    fitted = jnp.where(owned, (student.a * orientation)[:, None], 0.0).T @ student.W
    far = jnp.sum(jnp.where(angle > 0.5 * frame.separation, mass, 0.0))
    certified = duality_gap(student, teacher, weight_decay=setting.weight_decay) if certificate else None
    dual = {} if certified is None else {"gap": certified.gap, "certificate_max": certified.certificate_max}
    return {
        "loss": loss,
        "risk": loss + 0.5 * setting.weight_decay * penalty,
        "grad_norm": gradient_norm(slope, setting.moves_output, setting.moves_first),
        "mean_angle": jnp.where(total > 0.0, safe_divide(jnp.sum(mass * angle), total), widest),
        "max_angle": max_angle(student, teacher, setting.active_threshold),
        "far_mass": jnp.where(total > 0.0, safe_divide(far, total), 1.0),
        "active": jnp.sum(_active(student, teacher, setting.active_threshold)).astype(jnp.int32),
        "subspace_alignment": safe_divide(jnp.sum(mass * inside), total),
        "imbalance": jnp.max(jnp.abs(student.a**2 - norm_w**2)),
        "recovery_error": safe_norm(jnp.sum((fitted - teacher.a[:, None] * teacher.W) ** 2, axis=1)),
        "mass": mass,
        "angle": angle,
        "owner": owner.astype(jnp.int32),
        "mean_square_angle": jnp.where(total > 0.0, safe_divide(jnp.sum(mass * angle**2), total), widest**2),
        **dual,
    }


def subspace_basis(teacher: TwoLayer) -> Float[Array, "teacher_neuron input"]:
    """Orthonormal rows spanning S*, followed by zero rows where the rank is below m*."""
    count = teacher.a.shape[0]
    _, sizes, rows = jnp.linalg.svd(teacher.W, full_matrices=False)
    tolerance = max(teacher.W.shape) * jnp.finfo(teacher.W.dtype).eps * sizes[0]
    kept = jnp.where(sizes[:, None] > tolerance, rows, 0.0)
    return jnp.pad(kept, ((0, count - kept.shape[0]), (0, 0)))
