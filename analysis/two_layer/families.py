"""Families of minima: final weights up to what leaves the problem as it is, and what kind of point each family is.

Two students belong together where one becomes the other by permuting neurons, by a symmetry of the teacher, and, for
even activations, by turning neurons round; parallel neurons count as the one neuron of the function that they make.
That is decided on numbers which all of these leave alone: of the measure Σ m_i δ(ŵ_i), m_i = a_i‖w_i‖, the masses Σ m_i
and Σ|m_i|, the eigenvalues of Σ m_i ŵ_i ŵ_iᵀ, and for every teacher neuron, sorted, E f(x)σ(w*_jᵀx), Σ m_i ρ_ij² and
Σ m_i ρ_ij⁴. A family is named by its anti-aligned neurons: those that point against the teacher neuron whose line is
nearest (rays alone have two ends).
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ensemble import STATUS, TwoLayer, population_gradient
from ensemble.problem.activations import AbstractActivation

from ..members import applied_decay, axes, finished, probe, sound, standard
from ..problems import cells, require_penalty, require_plain, require_population
from ..statistics import wilson
from .hessian import Layers, hessian_eigenvalues

TOLERANCE = 1e-4
"""Relative to the size of the numbers compared: stationary points are known to about their gradient norm."""
FLAT = 1e-8
"""Eigenvalues within this share of the largest count as 0."""
STATIONARY = 1e-6
"""A point with a larger gradient norm is none of the three kinds."""
_MOST = 50


class Pattern(NamedTuple):
    """Students of one cell, seen from the teacher: leading axis the member."""

    mass: np.ndarray
    """a_i‖w_i‖, signed."""
    overlap: np.ndarray
    """cos∠(w_i, w*_j); its size for even activations."""
    active: np.ndarray
    anti_aligned: np.ndarray
    """Active neurons that point against the teacher neuron whose line is nearest."""


def families(
    ds: xr.Dataset, *, tolerance: float = TOLERANCE, most: int = _MOST, eigenvalues: bool = True
) -> xr.Dataset:
    """Groups the final weights of every cell into families up to symmetry.

    **Arguments:** a dataset of a study with `store_weights = true`; `tolerance`, relative; `most` families a cell,
    those of most members (what is left over is counted in `others`); `eigenvalues`: whether to find the Hessian's.
    Diverged and unfinished members belong to no family.

    **Returns:** over the axes and `family`, by decreasing share:

    - `count`, `share`, `low`, `high` (95% Wilson, among finished members); `unconverged`: members that no rule ended;
    - `loss`, `spread` (largest minus smallest), `seed`: the member of smallest gradient norm, which represents it;
    - `anti_aligned`, `active`: neurons of the representative; `overlap`, `signed_mass`: its pattern, student and
      teacher neurons in an order that puts the largest overlaps on the diagonal;
    - `lowest`, `highest`: the Hessian's extreme eigenvalues over the layers that move, at the λ of the last step;
      `kind`: `minimum`, `saddle` or `flat`, by the sign of `lowest`, within 1e-8 of `highest`; `moving` where the
      gradient norm is above 1e-6: no stationary point;

    and over the axes `seeds`, `families`, `others`.

    Members of one cell are compared up to their own teachers, which may be turned or permuted against each other: seeds
    whose teachers differ in more than that (in masses or angles) have no families in common.

    **Raises:** `ValueError` where weights were not stored, for a tolerance that is not positive, and where the teachers
    of a cell's seeds differ; with `eigenvalues`, for penalties other than l2.
    """
    if "W" not in ds:
        raise ValueError("W: families need the weights; run the study with `store_weights = true`")
    if not tolerance > 0:
        raise ValueError(f"tolerance: got {tolerance}; it must be positive")
    ds = standard(ds)
    names = axes(ds)
    dims = (*names, "seed")
    loss = probe(ds, "loss").transpose(*dims).values
    rank = (ds["grad_norm"] if "grad_norm" in ds else ds["loss"]).transpose(*dims).values
    counted = sound(ds).transpose(*dims).values
    ended = (ds["status"] == STATUS["converged"]).transpose(*dims).values
    decay = applied_decay(ds).transpose(*dims).values
    weights = {name: ds[name].transpose(*dims, ...) for name in ("a", "W", "teacher_a", "teacher_W")}
    found: dict[tuple[int, ...], list[dict]] = {}
    found_cells = cells(ds)
    require_plain(found_cells, "families")
    if eigenvalues:
        require_penalty(found_cells, "eigenvalues of the Hessian of L + λP", ("l2",))
        require_population(found_cells, "eigenvalues of the Hessian")
    for place, cell in np.ndenumerate(found_cells):
        members = np.flatnonzero(counted[place])
        arrays = {name: values[place].values[members] for name, values in weights.items()}
        _require_one_teacher(arrays, {name: ds[name].values[i] for name, i in zip(names, place, strict=True)})
        groups = _groups(arrays, cell.teacher.sigma, loss[place][members], tolerance)
        rows = found.setdefault(place, [])
        for group in sorted(groups.members, key=lambda g: (-len(g), loss[place][members[g[0]]])):
            here, best = members[group], group[np.argmin(rank[place][members[group]])]
            losses = loss[place][here]
            row = _described(groups.pattern, best)
            row |= {"count": len(group), "loss": float(np.median(losses)), "spread": float(np.ptp(losses))}
            row |= {"seed": int(ds["seed"].values[members[best]]), "unconverged": int((~ended[place][here]).sum())}
            if eigenvalues and len(rows) < most:
                row |= _kind(arrays, best, cell, float(decay[place][members[best]]))
            rows.append(row)
    return _labelled(ds, found, finished(ds).sum("seed").transpose(*names).values, most)


def pattern(arrays: dict[str, np.ndarray], sigma: AbstractActivation, threshold: float = 1e-3) -> Pattern:
    """The pattern of students against their teachers; a neuron is active by `threshold` of the largest teacher mass."""
    a, W, teacher_a, teacher_W = (arrays[name] for name in ("a", "W", "teacher_a", "teacher_W"))
    norm, teacher_norm = np.linalg.norm(W, axis=-1), np.linalg.norm(teacher_W, axis=-1)
    norms = norm[..., :, None] * teacher_norm[..., None, :]
    overlap = np.einsum("...ik,...jk->...ij", W, teacher_W) / np.where(norms > 0, norms, 1.0)
    mass = a * norm
    active = np.abs(mass) >= threshold * (np.abs(teacher_a) * teacher_norm).max(axis=-1, keepdims=True)
    largest = np.take_along_axis(overlap, np.abs(overlap).argmax(axis=-1)[..., None], -1)[..., 0]
    anti_aligned = active & (largest < 0) & (sigma.symmetry == "ray")
    return Pattern(mass, np.abs(overlap) if sigma.symmetry == "line" else overlap, active, anti_aligned)


def _require_one_teacher(arrays: dict[str, np.ndarray], at: dict[str, object]) -> None:
    """**Raises:** `ValueError` where members have teachers of different masses or angles.

    The numbers by which families are told apart are the same for a turned or permuted teacher: so are the sorted
    eigenvalues and row sums of its Gram matrix.
    """
    a, W = arrays["teacher_a"], arrays["teacher_W"]
    if len(a) < 2:
        return
    scaled = a[..., None] * W
    gram = scaled @ scaled.swapaxes(-1, -2)
    numbers = [
        np.linalg.eigvalsh(gram),
        *(np.sort(x, axis=-1) for x in (a, (gram**2).sum(axis=-1), (gram**4).sum(axis=-1))),
    ]
    for values in numbers:
        if np.ptp(values, axis=0).max() > 1e-8 * np.abs(values).max():
            where = ", ".join(f"{name} = {value}" for name, value in at.items())
            raise ValueError(
                f"teacher: got seeds whose teachers differ in masses or angles{f' at {where}' if where else ''}, so "
                "that their minima are no families; use a teacher that all seeds share (orthonormal, separated_pairs, "
                "equiangular, given), or compare losses with analysis.minima"
            )


class _Groups(NamedTuple):
    members: list[np.ndarray]
    pattern: Pattern


def _groups(arrays: dict[str, np.ndarray], sigma: AbstractActivation, loss: np.ndarray, tolerance: float) -> _Groups:
    seen = pattern(arrays, sigma)
    if not len(loss):
        return _Groups([], seen)
    a, W, teacher_W = (arrays[name] for name in ("a", "W", "teacher_W"))
    norm, teacher_norm = np.linalg.norm(W, axis=-1), np.linalg.norm(teacher_W, axis=-1)
    unit = W / np.where(norm > 0, norm, 1.0)[..., None]
    products = (W @ teacher_W.swapaxes(-1, -2), norm[..., :, None], teacher_norm[..., None, :])
    kernel = np.asarray(sigma.dual(*map(jnp.asarray, products)))
    square = seen.overlap**2
    per_teacher = [(weight[..., None] * values).sum(axis=-2) for weight, values in ((a, kernel), (seen.mass, square))]
    per_teacher.append((seen.mass[..., None] * square**2).sum(axis=-2))
    parts = [
        seen.mass.sum(axis=-1, keepdims=True),
        np.abs(seen.mass).sum(axis=-1, keepdims=True),
        np.linalg.eigvalsh(np.einsum("ni,nij,nik->njk", seen.mass, unit, unit)),
        *(np.sort(values, axis=-1) for values in per_teacher),
    ]
    numbers = np.concatenate(parts, axis=-1)
    scale = max(float(np.abs(numbers).max()), 1e-300)
    left, found = np.argsort(loss, kind="stable"), []
    while len(left):
        alike = np.abs(numbers[left] - numbers[left[0]]).max(axis=-1) <= tolerance * scale
        found.append(left[alike])
        left = left[~alike]
    return _Groups(found, seen)


def _described(seen: Pattern, member: int) -> dict:
    """The pattern of one member, largest overlaps on the diagonal."""
    mass, overlap = seen.mass[member], seen.overlap[member]
    weight = np.abs(mass)[:, None] * np.abs(overlap)
    order, columns = [], []
    free_rows, free_columns = set(range(len(mass))), set(range(overlap.shape[1]))
    for flat in np.argsort(-weight, axis=None, kind="stable"):
        row, column = divmod(int(flat), overlap.shape[1])
        if row in free_rows and column in free_columns:
            order.append(row)
            columns.append(column)
            free_rows.remove(row)
            free_columns.remove(column)
    order += sorted(free_rows, key=lambda i: -abs(mass[i]))
    columns += sorted(free_columns)
    return {
        "anti_aligned": int(seen.anti_aligned[member].sum()),
        "active": int(seen.active[member].sum()),
        "overlap": overlap[np.ix_(order, columns)],
        "signed_mass": mass[order],
    }


_gradient = eqx.filter_jit(population_gradient)


def _kind(arrays: dict[str, np.ndarray], member: int, cell: Any, decay: float) -> dict:
    sigma: AbstractActivation = cell.teacher.sigma
    layers: Layers = cell.stages.stages[-1].layers
    a, W, teacher_a, teacher_W = (arrays[name][member] for name in ("a", "W", "teacher_a", "teacher_W"))
    # Vanished neurons have no second derivative, and neurons and inputs beyond the cell's own are zeros.
    exists = np.linalg.norm(W, axis=1) > 0
    inputs = np.any(W != 0, axis=0) | np.any(teacher_W != 0, axis=0)
    student = TwoLayer(a[exists], W[np.ix_(exists, inputs)], sigma)
    teacher = TwoLayer(teacher_a, teacher_W[:, inputs], sigma)
    lowest, highest = hessian_eigenvalues(student, teacher, decay, layers)
    slope = _gradient(student, teacher)
    moving = [(slope.a, student.a)] * (layers != "first") + [(slope.W, student.W)] * (layers != "output")
    norm = float(np.sqrt(sum(np.sum(np.asarray(g + decay * x) ** 2) for g, x in moving)))
    bound = FLAT * abs(highest)
    kind = "saddle" if lowest < -bound else "minimum" if lowest > bound else "flat"
    return {"lowest": lowest, "highest": highest, "kind": kind if norm <= STATIONARY else "moving"}


_SAYS = {
    "count": "members in the family",
    "share": "share of the cell's finished members",
    "low": "lower end of the share's 95% Wilson interval",
    "high": "upper end of the share's 95% Wilson interval",
    "unconverged": "members of the family that no rule ended",
    "loss": "median final loss of the family",
    "spread": "largest minus smallest loss of the family",
    "seed": "seed of the representative, the member of the smallest gradient norm; −1: none",
    "anti_aligned": "active neurons that point against their nearest teacher line",
    "active": "active neurons",
    "lowest": "lowest eigenvalue of the Hessian of the risk over the layers that move",
    "highest": "highest eigenvalue of the Hessian",
    "overlap": "cosine of student and teacher neurons, the largest on the diagonal",
    "signed_mass": "a_i‖w_i‖",
}


def _labelled(ds: xr.Dataset, found: dict, seeds: np.ndarray, most: int) -> xr.Dataset:
    names = axes(ds)
    sizes = [ds.sizes[name] for name in names]
    width = min(most, max((len(rows) for rows in found.values()), default=0))
    neurons, teachers = ds.sizes["neuron"], ds.sizes["teacher_neuron"]
    shapes = {"overlap": (neurons, teachers), "signed_mass": (neurons,)}
    whole = {"count": 0, "unconverged": 0, "seed": -1, "anti_aligned": 0, "active": 0}
    arrays = {name: np.full((*sizes, width, *shapes.get(name, ())), whole.get(name, np.nan)) for name in _SAYS}
    kind = np.full((*sizes, width), "", dtype="<U7")
    others = np.zeros(sizes, int)
    for place, rows in found.items():
        for i, row in enumerate(rows):
            if i >= width:
                others[place] += row["count"]
                continue
            kind[(*place, i)] = row.pop("kind", "")
            for name, value in row.items():
                index = tuple(slice(0, n) for n in np.shape(value))
                arrays[name][(*place, i, *index)] = value
    trials = seeds[..., None]
    arrays["share"] = arrays["count"] / np.maximum(trials, 1)
    arrays["low"], arrays["high"] = wilson(arrays["count"], np.broadcast_to(trials, arrays["count"].shape))
    extra = {"overlap": ("neuron", "teacher_neuron"), "signed_mass": ("neuron",)}
    data = {}
    for name, long_name in _SAYS.items():
        values = arrays[name].astype(int) if name in whole else arrays[name]
        data[name] = ((*names, "family", *extra.get(name, ())), values, {"units": "1", "long_name": long_name})
    data["kind"] = (
        (*names, "family"),
        kind,
        {"units": "1", "long_name": "minimum, saddle or flat by the Hessian; moving: not stationary"},
    )
    number = np.array([len(found[place]) for place in np.ndindex(*sizes)], int).reshape(sizes)
    data["families"] = (names, number, {"units": "1", "long_name": "families found"})
    data["others"] = (names, others, {"units": "1", "long_name": "members in families beyond those listed"})
    data["seeds"] = (names, seeds, {"units": "1", "long_name": "finished members of the cell"})
    attributes = {"study_hash": ds.attrs["study_hash"], "study": ds.attrs["study"]}
    return xr.Dataset(data, coords={name: ds[name] for name in names}, attrs=attributes)
