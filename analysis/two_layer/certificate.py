"""Certificates of datasets: which members are global minima over networks of every width (theory.md §4).

`duality_gap` of one network is `ensemble`'s own; here it is asked of every member whose weights were stored. A study
with the probes `gap` and `certificate_max` has both in its dataset, without weights.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ensemble import TwoLayer, duality_gap
from ensemble.probes.certificate import Certificate, correlation, residual
from ensemble.problem.activations import AbstractActivation

from ..members import applied_decay, axes, finished, standard
from ..networks import for_threads
from ..problems import cells, require_penalty, require_plain, require_population, shared_teacher


def certificates(ds: xr.Dataset, weight_decay: float | None = None) -> xr.Dataset:
    """The certificate of every finished member whose weights, or whose probes of it, were stored.

    **Arguments:** `ds`: a dataset of a study with `store_weights = true`, or with the probes `gap`, `certificate_max`
    and `risk`; `weight_decay`: λ for all members, by default each member's own at its last step (`applied_decay`),
    which is that of the probes.

    **Returns:** `gap`, `certificate_max`, `risk`, `bound`, `weight_decay_used` over axes and `seed` (NaN for members
    without a result), and over axes the flag `contradiction`: where all seeds of a cell have one teacher and one λ,
    whether some member's risk is below another's bound by more than rounding, which would be an error of one of them.

    **Raises:** `ValueError` where neither was stored, the activation is not 1-homogeneous, or the penalty is
    neither l2 nor path_norm.
    """
    ds = standard(ds)
    probed = {"gap", "certificate_max", "risk"} <= set(ds.data_vars)
    if "W" not in ds and not (probed and weight_decay is None):
        raise ValueError(
            "W: the certificate needs the weights; run the study with `store_weights = true`, or, for each member's "
            'own λ, with the probes "risk", "gap" and "certificate_max"'
        )
    if probed and weight_decay is None:
        return _of_probes(ds)
    found_cells = cells(ds)
    require_penalty(found_cells, "certificates")
    require_population(found_cells, "certificates")
    require_plain(found_cells, "certificates")
    kinds = {stage.penalty.kind for cell in found_cells.flat for stage in cell.stages.stages}
    if len(kinds) > 1:
        raise ValueError(f"penalty: got {' and '.join(sorted(kinds))}; select the cells of one of them first")
    sigmas = list(dict.fromkeys(cell.teacher.sigma for cell in found_cells.flat))
    if len(sigmas) > 1:
        names = ", ".join(sorted(sigma.name for sigma in sigmas))
        raise ValueError(f"activation: got an axis over {names}; select one value of it first")
    (sigma,) = sigmas
    decay = applied_decay(ds) if weight_decay is None else xr.full_like(ds["stop_step"], weight_decay, dtype=float)
    dims = (*axes(ds), "seed")
    done = finished(ds).transpose(*dims).values.reshape(-1)
    flat = [
        ds[name].transpose(*dims, ...).values.reshape(done.size, *ds[name].shape[len(dims) :])[done]
        for name in ("a", "W", "teacher_a", "teacher_W")
    ]
    used = decay.transpose(*dims).values
    found = _many(sigma, kinds.pop(), *flat, used.reshape(-1)[done]) if done.any() else None
    data = {}
    for name, long_name in _SAYS.items():
        values = np.full(done.size, np.nan)
        if found is not None:
            values[done] = getattr(found, name)
        data[name] = (dims, values.reshape(used.shape), {"units": "1", "long_name": long_name})
    data["weight_decay_used"] = (dims, used, {"units": "1", "long_name": "λ of the certificate"})
    made = xr.Dataset(data, coords={name: ds[name] for name in dims if name in ds.coords})
    made["contradiction"] = _contradiction(made, ds)
    return made


CERTIFIED = 1e-6
"""A member is certified where its gap is at most this share of its risk."""


def certified(found: xr.Dataset) -> xr.DataArray:
    """Which members of the dataset of `certificates` are global minima within `CERTIFIED`, at a λ > 0."""
    return (found["gap"] <= CERTIFIED * found["risk"]) & (found["weight_decay_used"] > 0)


def _of_probes(ds: xr.Dataset) -> xr.Dataset:
    done = finished(ds)
    made = ds[["gap", "certificate_max", "risk"]].where(done)
    for name in made.data_vars:
        made[name].attrs = {"units": "1", "long_name": _SAYS[str(name)]}
    made["bound"] = (made["risk"] - made["gap"]).assign_attrs(units="1", long_name=_SAYS["bound"])
    made["weight_decay_used"] = applied_decay(ds).assign_attrs(units="1", long_name="λ of the certificate")
    made["contradiction"] = _contradiction(made, ds)
    made.attrs = {}
    return made.drop_vars("stage", errors="ignore")


def _contradiction(found: xr.Dataset, ds: xr.Dataset) -> xr.DataArray:
    """Whether a risk is below a bound, in cells whose members all have one teacher and one λ."""
    shared = np.vectorize(lambda cell: shared_teacher(cell) is not None, otypes=[bool])(cells(ds))
    one_teacher = xr.DataArray(shared, dims=axes(ds))
    used = found["weight_decay_used"].where(finished(ds))
    one_decay = used.max("seed") == used.min("seed")
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


def _batch(sigma: AbstractActivation, penalty: Any, a, W, teacher_a, teacher_W, decay) -> Certificate:
    def of_member(a, W, teacher_a, teacher_W, decay):
        student, teacher = TwoLayer(a, W, sigma), TwoLayer(teacher_a, teacher_W, sigma)
        return duality_gap(student, teacher, weight_decay=decay, penalty=penalty)

    return jax.vmap(of_member)(a, W, teacher_a, teacher_W, decay)


def _many(sigma: AbstractActivation, penalty: str, *arrays: np.ndarray) -> Certificate:
    """Batches of one size, side by side on the cores, the last one padded with copies of its first row."""
    count = len(arrays[0])
    program = for_threads(_batch)

    def of_batch(begin: int) -> Certificate:
        rows = np.arange(begin, begin + _BATCH)
        rows = np.where(rows < count, rows, begin)
        return jax.tree.map(np.asarray, program(sigma, penalty, *(x[rows] for x in arrays)))

    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(of_batch, range(0, count, _BATCH)))
    return jax.tree.map(lambda *xs: np.concatenate(xs)[:count], *parts)


def profile(student: TwoLayer, teacher: TwoLayer, *, weight_decay: float, points: int = 721) -> xr.DataArray:
    """The dual certificate η along the great circles through every two teacher neurons: its peaks stand on them.

        η(u) = E[(f* − f)(x) σ(uᵀx)]/λ,    u = cos φ · ŵ*_i + sin φ · v,  v ⟂ ŵ*_i in the plane of ŵ*_i and ŵ*_j

    **Arguments:** two networks of one 1-homogeneous activation, λ > 0; how many angles φ in [−π, π].

    **Returns:** η over `circle` (labels `i–j`) and `angle` (rad, from teacher neuron i towards j), which stands at the
    coordinate `second_angle`. Parallel teacher neurons span no circle.

    **Raises:** `ValueError` for λ ≤ 0, another activation, and a teacher without two neurons that span a plane.
    """
    if not weight_decay > 0:
        raise ValueError(f"weight_decay: got {weight_decay}; the certificate is c/λ and needs λ > 0")
    sigma = student.activation
    if not sigma.homogeneous:
        raise ValueError(f"activation: got {sigma.name}; a certificate needs a 1-homogeneous one")
    difference = residual(student, teacher)
    rows = np.asarray(teacher.W) / np.linalg.norm(teacher.W, axis=1, keepdims=True)
    angle = np.linspace(-np.pi, np.pi, points)
    labels, apart, values = [], [], []
    for i in range(len(rows)):
        for j in range(i + 1, len(rows)):
            side = rows[j] - (rows[i] @ rows[j]) * rows[i]
            size = float(np.linalg.norm(side))
            if size < 1e-12:
                continue
            circle = np.cos(angle)[:, None] * rows[i] + np.sin(angle)[:, None] * (side / size)
            values.append(np.asarray(correlation(difference, jnp.asarray(circle))) / weight_decay)
            labels.append(f"{i}–{j}")
            apart.append(float(np.arctan2(size, rows[i] @ rows[j])))
    if not labels:
        raise ValueError(f"teacher: got {len(rows)} neuron(s) that span no plane; a great circle needs two directions")
    return xr.DataArray(
        np.array(values),
        dims=("circle", "angle"),
        coords={
            "circle": ("circle", np.array(labels), {"units": "1", "long_name": "teacher neurons of the great circle"}),
            "angle": ("angle", angle, {"units": "rad", "long_name": "angle from the first teacher neuron"}),
            "second_angle": ("circle", np.array(apart), {"units": "rad", "long_name": "angle of the second one"}),
        },
        name="certificate",
        attrs={"units": "1", "long_name": "dual certificate η", "weight_decay": weight_decay},
    )
