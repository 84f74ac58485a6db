"""Duality gap and dual certificate: is a member a global minimum over networks of every width? (theory.md §4)

With r = f* − f and c(u) = E[r(x) σ(uᵀx)] on unit vectors u, every network of every width has

    R_λ ≥ s⟨r, f*⟩ − s²‖r‖²/2    for 0 ≤ s ≤ λ/M,   M = max_u |c(u)|

so that `gap` = R_λ − that bound ≥ 0 says how far a network can be from the minimum. Where it is 0 within rounding, the
network is optimal, and the certificate η = c/λ is at most 1 everywhere (`certificate_max` = M/λ = 1).

The maximum over the sphere is not concave. It is sought from every student and teacher neuron and from random points of
their span, by ascent: M is found from below, so the gap is a lower estimate of its own bound. How often the maximum is
found is measured in tests/validation/test_certificate.py.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from ensemble import ACTIVATIONS, Study, TwoLayer
from ensemble.activations import AbstractActivation
from ensemble.network import row_norms
from ensemble.risks import PopulationRisk, kernel

from .members import axes, finished

_RANDOM_STARTS = 32
_ASCENT_STEPS = 200


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
    student: TwoLayer, teacher: TwoLayer, *, weight_decay: float | Array, random_starts: int = _RANDOM_STARTS
) -> Certificate:
    """The duality gap of a student at weight decay λ, and its dual certificate's maximum.

    **Arguments:** two `TwoLayer` networks of one 1-homogeneous activation; λ ≥ 0; how many random points of the span
    the maximum is also sought from. Under `jax.vmap` map over networks and λ.

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
    residual = TwoLayer(jnp.concatenate([teacher.a, -student.a]), jnp.concatenate([teacher.W, student.W]), sigma)
    largest, direction = _largest_correlation(residual, random_starts)
    loss = PopulationRisk().loss(student, teacher)
    risk = loss + 0.5 * decay * (jnp.sum(student.a**2) + jnp.sum(student.W**2))
    with_target = residual.a @ kernel(sigma, residual.W, teacher.W) @ teacher.a
    square = jnp.maximum(2.0 * loss, 0.0)
    best = jnp.where(square > 0.0, with_target / jnp.where(square > 0.0, square, 1.0), 0.0)
    allowed = jnp.where(largest > 0.0, decay / jnp.where(largest > 0.0, largest, 1.0), jnp.inf)
    scale = jnp.clip(best, 0.0, allowed)
    bound = scale * with_target - 0.5 * scale**2 * square
    certificate_max = jnp.where(decay > 0.0, largest / jnp.where(decay > 0.0, decay, 1.0), jnp.inf)
    return Certificate(risk - bound, certificate_max, risk, bound, direction)


def correlation(residual: TwoLayer, directions: Float[Array, "points input"]) -> Float[Array, " points"]:
    """c(u) = E[r(x) σ(uᵀx)] of a network r at unit vectors u."""
    return kernel(residual.activation, directions, residual.W) @ residual.a


def _largest_correlation(residual: TwoLayer, random_starts: int) -> tuple[Array, Array]:
    """(max |c|, where), by ascent from the neurons, their opposites and random points of their span."""
    rows = residual.W
    coefficients = jax.random.normal(jax.random.key(0), (random_starts, len(rows)), rows.dtype)
    # Combinations of unit rows: random points of the span, whatever the sizes of the neurons.
    starts = jnp.concatenate([rows, -rows, coefficients @ _unit(rows)])
    starts = _unit(starts)
    exists = row_norms(starts) > 0.0
    value, _ = _values_and_slopes(residual, starts)
    sign = jnp.where(value < 0.0, -1.0, 1.0)

    def climb(_, state):
        points, height, slope, length = state
        tangent = slope - jnp.sum(slope * points, axis=1, keepdims=True) * points
        tried = _unit(points + length[:, None] * tangent)
        new_height, new_slope = _values_and_slopes(residual, tried, sign)
        better = new_height > height
        choose = better[:, None]
        return (
            jnp.where(choose, tried, points),
            jnp.where(better, new_height, height),
            jnp.where(choose, new_slope, slope),
            # Longer while it climbs, shorter where it overshot.
            length * jnp.where(better, 1.6, 0.4),
        )

    height, slope = _values_and_slopes(residual, starts, sign)
    scale = jnp.sum(row_norms(residual.W) * jnp.abs(residual.a))
    length = jnp.full(len(starts), 1.0) / jnp.where(scale > 0.0, scale, 1.0)
    points, height, *_ = jax.lax.fori_loop(0, _ASCENT_STEPS, climb, (starts, height, slope, length))
    height = jnp.where(exists, height, 0.0)
    best = jnp.argmax(height)
    return height[best], points[best]


def _values_and_slopes(residual: TwoLayer, points: Array, sign: Array | float = 1.0) -> tuple[Array, Array]:
    """sign · c at unit vectors, and the gradient of its 1-homogeneous extension there."""
    sigma = residual.activation
    gram = points @ residual.W.T
    norm_u, norm_v = row_norms(points)[:, None], row_norms(residual.W)[None, :]
    value = sigma.dual(gram, norm_u, norm_v) @ residual.a
    radial, along = sigma.dual_slopes(gram, norm_u, norm_v)
    slope = (radial @ residual.a)[:, None] * points + (along * residual.a[None, :]) @ residual.W
    sign = jnp.broadcast_to(jnp.asarray(sign, value.dtype), value.shape)
    return sign * value, sign[:, None] * slope


def _unit(rows: Array) -> Array:
    norms = row_norms(rows)[:, None]
    return jnp.where(norms > 0.0, rows / jnp.where(norms > 0.0, norms, 1.0), 0.0)


# -- datasets ----------------------------------------------------------------------------------------


def certificates(ds: xr.Dataset, weight_decay: float | None = None) -> xr.Dataset:
    """The certificate of every finished member whose weights were stored.

    **Arguments:** `ds`: a dataset of a study with `store_weights = true`; `weight_decay`: λ for all members, by default
    each member's own at its last step (`final_decay`).

    **Returns:** `gap`, `certificate_max`, `risk`, `bound`, `weight_decay_used` over axes and `seed` (NaN for members
    without a result), and over axes the flag `contradiction`: where all seeds of a cell have one teacher and one λ,
    whether some member's risk is below another's bound by more than rounding, which would be an error of one of them.

    **Raises:** `ValueError` where weights were not stored, or the activation is not 1-homogeneous.
    """
    if "W" not in ds:
        raise ValueError("W: the certificate needs the weights; run the study with `store_weights = true`")
    study = Study.from_json(ds.attrs["study"])
    names = {point.cell.teacher.activation for point in study.points}
    if len(names) > 1:
        raise ValueError(f"activation: got an axis over {', '.join(sorted(names))}; select one value of it first")
    sigma = ACTIVATIONS[names.pop()]
    decay = final_decay(ds) if weight_decay is None else xr.full_like(ds["stop_step"], weight_decay, dtype=float)
    dims = (*axes(ds), "seed")
    done = finished(ds).transpose(*dims).values.reshape(-1)
    flat = [
        ds[name].transpose(*dims, ...).values.reshape(done.size, *ds[name].shape[len(dims) :])[done]
        for name in ("a", "W", "teacher_a", "teacher_W")
    ]
    used = decay.transpose(*dims).values
    found = _many(sigma, *flat, used.reshape(-1)[done])
    data = {}
    for name, long_name in _SAYS.items():
        values = np.full(done.size, np.nan)
        values[done] = getattr(found, name)
        data[name] = (dims, values.reshape(used.shape), {"units": "1", "long_name": long_name})
    data["weight_decay_used"] = (dims, used, {"units": "1", "long_name": "λ of the certificate"})
    made = xr.Dataset(data, coords={name: ds[name] for name in dims if name in ds.coords})
    made["contradiction"] = _contradiction(made, ds["teacher_W"])
    return made


def _contradiction(found: xr.Dataset, teacher_W: xr.DataArray) -> xr.DataArray:
    """Whether a risk is below a bound, in cells whose members all have one teacher and one λ."""
    one_teacher = (teacher_W == teacher_W.isel(seed=0)).all(["seed", "teacher_neuron", "input"])
    one_decay = (found["weight_decay_used"] == found["weight_decay_used"].isel(seed=0)).all("seed")
    slack = 1e-12 * found["risk"].max("seed")
    below = found["risk"].min("seed") < found["bound"].max("seed") - slack
    return (below & one_teacher & one_decay).assign_attrs(
        units="1", long_name="some member's risk is below another's bound: one of them is wrong"
    )


_SAYS = {
    "gap": "duality gap: the risk is at most this above the minimum over all widths",
    "certificate_max": "largest |η| found, M/λ",
    "risk": "regularised risk",
    "bound": "dual bound, which no network of any width is below",
}
_BATCH = 64


@eqx.filter_jit
def _batch(sigma: AbstractActivation, a, W, teacher_a, teacher_W, decay) -> Certificate:
    def of_member(a, W, teacher_a, teacher_W, decay):
        return duality_gap(TwoLayer(a, W, sigma), TwoLayer(teacher_a, teacher_W, sigma), weight_decay=decay)

    return jax.vmap(of_member)(a, W, teacher_a, teacher_W, decay)


def _many(sigma: AbstractActivation, *arrays: np.ndarray) -> Certificate:
    """Batches of one size, side by side on the cores, the last one padded with copies of its first row."""
    count = len(arrays[0])

    def of_batch(begin: int) -> Certificate:
        rows = np.arange(begin, begin + _BATCH)
        rows = np.where(rows < count, rows, begin)
        return jax.tree.map(np.asarray, _batch(sigma, *(x[rows] for x in arrays)))

    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(of_batch, range(0, count, _BATCH)))
    return jax.tree.map(lambda *xs: np.concatenate(xs)[:count], *parts)


def final_decay(ds: xr.Dataset) -> xr.DataArray:
    """λ of every member's last step, from the study's protocol and the steps at which its stages ended."""
    study = Study.from_json(ds.attrs["study"])
    dims = (*axes(ds), "seed")
    ends = ds["stage_end_step"].transpose(*dims, "stage")
    used = np.zeros(ends.shape[:-1])
    stages_of = {tuple(point.labels.values()): point.cell.stages.stages for point in study.points}
    names = ds["stage"].values.tolist()
    for place in np.ndindex(*ends.shape[:-2]):
        labels = tuple(ds[name].values[i].item() for name, i in zip(axes(ds), place, strict=True))
        stages = stages_of[labels]
        at = ends.values[place][:, [names.index(stage.name) for stage in stages]]
        ended = np.maximum((at >= 0).sum(axis=1) - 1, 0)
        for s, stage in enumerate(stages):
            mine = ended == s
            begin = at[mine, s - 1] if s else 0
            last = np.maximum(at[mine, s] - begin - 1, 0)
            schedule = stage.weight_decay_schedule
            factor = 1.0 if schedule is None else np.asarray(jax.vmap(schedule)(jnp.asarray(last)))
            used[(*place, mine)] = stage.weight_decay * factor
    return xr.DataArray(used, dims=dims, attrs={"units": "1", "long_name": "λ of the last step"})
