"""Duality gap and dual certificate: is a member a global minimum over networks of every width? (theory.md §4)

With r = f* − f and c(u) = E[r(x) σ(uᵀx)] on unit vectors u, every network of every width has

    R_λ ≥ s⟨r, f*⟩ − s²‖r‖²/2    for 0 ≤ s ≤ λ/M,   M = max_u |c(u)|

so that `gap` = R_λ − that bound ≥ 0 says how far a network can be from the minimum. Where it is 0 within rounding, the
network is optimal, and the certificate η = c/λ is at most 1 everywhere (`certificate_max` = M/λ = 1).

The maximum over the sphere is not concave. It is sought from every student and teacher neuron and from random points of
their span, by ascent: M is found from below, so the gap is a lower estimate of its own bound. How often the maximum is
found is measured in tests/validation/test_certificate.py.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..numerics.keys import fixed_key
from ..problem.models import TwoLayer, masses, row_norms, unit_rows
from ..problem.risks import PopulationRisk, kernel

RANDOM_STARTS = 32
_FIRST_STEPS = 25
"""Steps of ascent from every start; then the best few go on."""
_KEPT = 12
_LAST_STEPS = 175


class Certificate(NamedTuple):
    """What the dual problem says of one network."""

    gap: Float[Array, ""]
    """R_λ minus the dual bound: R_λ is at most this above the minimum over all widths."""
    certificate_max: Float[Array, ""]
    """M/λ, the largest |η| found; infinite where λ = 0."""
    risk: Float[Array, ""]
    """R_λ."""
    bound: Float[Array, ""]
    """The dual bound, which no network of any width is below."""
    direction: Float[Array, " input"]
    """The unit vector at which |η| was found largest."""


def duality_gap(
    student: TwoLayer,
    teacher: TwoLayer,
    *,
    weight_decay: float | Array,
    random_starts: int = RANDOM_STARTS,
    penalty: Literal["l2", "path_norm"] = "l2",
) -> Certificate:
    """The duality gap of a student at weight decay λ, and its dual certificate's maximum.

    **Arguments:** two `TwoLayer` networks of one 1-homogeneous activation; λ ≥ 0; how many random points of the span
    the maximum is also sought from; the penalty of R_λ, of which both have this one bound and, where the network is
    balanced (|a_i| = ‖w_i‖), one value: Σ|a_i|‖w_i‖ ≤ ½(‖a‖² + ‖W‖²). Under `jax.vmap` map over networks and λ.

    **Returns:** a `Certificate`. With λ = 0 the bound is 0 and the gap the loss.

    **Raises:** `ValueError` where the activation is not 1-homogeneous: the penalty is then no norm of a measure.
    """
    sigma = student.activation
    if not sigma.homogeneous:
        raise ValueError(
            f"activation: got {sigma.name}, which is not 1-homogeneous; the convex problem behind the certificate "
            "needs relu, abs, relu_even, abs_centred or linear"
        )
    decay = jnp.asarray(weight_decay, student.a.dtype)
    difference = residual(student, teacher)
    largest, direction = largest_correlation(difference, random_starts)
    loss = PopulationRisk.of(teacher).value(student)
    if penalty == "path_norm":
        risk = loss + decay * jnp.sum(masses(student.a, student.W))
    else:
        risk = loss + 0.5 * decay * (jnp.sum(student.a**2) + jnp.sum(student.W**2))
    with_target = difference.a @ kernel(sigma, difference.W, teacher.W) @ teacher.a
    square = jnp.maximum(2.0 * loss, 0.0)
    best = jnp.where(square > 0.0, with_target / jnp.where(square > 0.0, square, 1.0), 0.0)
    allowed = jnp.where(largest > 0.0, decay / jnp.where(largest > 0.0, largest, 1.0), jnp.inf)
    scale = jnp.clip(best, 0.0, allowed)
    bound = scale * with_target - 0.5 * scale**2 * square
    certificate_max = jnp.where(decay > 0.0, largest / jnp.where(decay > 0.0, decay, 1.0), jnp.inf)
    return Certificate(risk - bound, certificate_max, risk, bound, direction)


def residual(student: TwoLayer, teacher: TwoLayer) -> TwoLayer:
    """f* − f, which is a two-layer network itself: the teacher's neurons, and the student's with opposite sign."""
    a, W = jnp.concatenate([teacher.a, -student.a]), jnp.concatenate([teacher.W, student.W])
    return TwoLayer(a, W, student.activation)


def correlation(residual: TwoLayer, directions: Float[Array, "points input"]) -> Float[Array, " points"]:
    """c(u) = E[r(x) σ(uᵀx)] of a network r at unit vectors u."""
    return kernel(residual.activation, directions, residual.W) @ residual.a


def largest_correlation(residual: TwoLayer, random_starts: int = RANDOM_STARTS) -> tuple[Array, Array]:
    """(max |c|, where), by ascent from the neurons, their opposites and random points of their span."""
    rows = residual.W
    coefficients = jax.random.normal(fixed_key(0), (random_starts, len(rows)), rows.dtype)
    # Combinations of unit rows: random points of the span, whatever the sizes of the neurons.
    starts = unit_rows(jnp.concatenate([rows, -rows, coefficients @ unit_rows(rows)]))
    exists = row_norms(starts) > 0.0
    value, slope = _values_and_slopes(residual, starts)
    sign = jnp.where(value < 0.0, -1.0, 1.0)
    scale = jnp.sum(row_norms(rows) * jnp.abs(residual.a))
    length = jnp.full(len(starts), 1.0) / jnp.where(scale > 0.0, scale, 1.0)
    climbers = _Climbers(starts, sign * value, sign[:, None] * slope, length, sign)
    climbers = jax.lax.fori_loop(0, _FIRST_STEPS, lambda _, c: _climb(residual, c), climbers)
    # Most starts climb to the same few tops.
    _, best = jax.lax.top_k(jnp.where(exists, climbers.height, -jnp.inf), min(_KEPT, len(starts)))
    climbers = jax.tree.map(lambda x: x[best], climbers)
    climbers = jax.lax.fori_loop(0, _LAST_STEPS, lambda _, c: _climb(residual, c), climbers)
    height = jnp.where(exists[best], climbers.height, 0.0)
    top = jnp.argmax(height)
    return height[top], climbers.points[top]


class _Climbers(NamedTuple):
    """Points on the sphere that ascend |c|, leading axis the start."""

    points: Array
    height: Array
    slope: Array
    length: Array
    sign: Array


def _climb(residual: TwoLayer, at: _Climbers) -> _Climbers:
    tangent = at.slope - jnp.sum(at.slope * at.points, axis=1, keepdims=True) * at.points
    tried = unit_rows(at.points + at.length[:, None] * tangent)
    value, slope = _values_and_slopes(residual, tried)
    height, slope = at.sign * value, at.sign[:, None] * slope
    better = height > at.height
    choose = better[:, None]
    return _Climbers(
        jnp.where(choose, tried, at.points),
        jnp.where(better, height, at.height),
        jnp.where(choose, slope, at.slope),
        # Longer while it climbs, shorter where it overshot.
        at.length * jnp.where(better, 1.6, 0.4),
        at.sign,
    )


def _values_and_slopes(residual: TwoLayer, points: Array) -> tuple[Array, Array]:
    """c at unit vectors, and the gradient of its 1-homogeneous extension there."""
    sigma = residual.activation
    gram = points @ residual.W.T
    norm_u, norm_v = row_norms(points)[:, None], row_norms(residual.W)[None, :]
    value = sigma.dual(gram, norm_u, norm_v) @ residual.a
    radial, along = sigma.dual_slopes(gram, norm_u, norm_v)
    return value, (radial @ residual.a)[:, None] * points + (along * residual.a[None, :]) @ residual.W
