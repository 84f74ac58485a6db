"""The reference optimum: the least regularised risk over networks of every width, and how far records are above it.

    min over signed measures μ on the sphere of  ½‖f_μ − f*‖² + λ|μ|          (theory.md §4, convex in μ)

is sought by sliding Frank–Wolfe (Denoyelle, Duval, Peyré & Soubies 2019, Inverse Problems 36, 014001): a finite network
descends on weights and directions together; where the dual certificate exceeds 1, an atom is added at its peak, with
the mass that is best for it alone. The duality gap says how near the minimum it is.
"""

import inspect
import warnings
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr
from scipy.optimize import minimize, root

from ensemble import TwoLayer, duality_gap, population_gradient
from ensemble.probes.certificate import correlation, residual
from ensemble.problem.models import row_norms
from ensemble.problem.risks import PopulationRisk

from ..members import applied_decay, axes, history, standard
from ..problems import cells, require_penalty, require_plain, require_population, shared_teacher

_ATOMS = 16
"""Atoms that may be added to those of the teacher."""
_ROUNDING = 1e-13
_NEAR = 0.03
"""Distance of two directions that may be one."""


class ReferenceWarning(UserWarning):
    """The least risk is known less well than was asked for."""


class Reference(NamedTuple):
    """The least risk of a teacher at a λ."""

    risk: float
    """R_λ of `network`: the minimum is at most this …"""
    bound: float
    """… and at least this (up to the certificate's maximum, which is found from below)."""
    network: TwoLayer


def reference_optimum(teacher: TwoLayer, *, weight_decay: float, tolerance: float = 1e-10) -> Reference:
    """The least R_λ over networks of every width.

    **Arguments:** a teacher of a 1-homogeneous activation; λ ≥ 0; the relative gap R − bound ≤ `tolerance` R at which
    the search ends; it also ends where another atom lowers the risk by rounding alone, and after 16 atoms.

    **Returns:** a `Reference`; at λ = 0 the teacher itself, risk 0.

    **Warns:** `ReferenceWarning` with the bracket where the search ends with a larger gap.

    **Raises:** `ValueError` for another activation or a negative λ.
    """
    if weight_decay < 0:
        raise ValueError(f"weight_decay: got {weight_decay}; λ must not be negative")
    sigma = teacher.activation
    norm = np.asarray(row_norms(teacher.W))
    mass = np.abs(np.asarray(teacher.a)) * norm
    if weight_decay == 0:
        return Reference(0.0, 0.0, teacher)
    a, W = np.zeros(len(norm) + _ATOMS), np.zeros((len(norm) + _ATOMS, teacher.W.shape[1]))
    a[: len(norm)] = np.sign(teacher.a) * np.sqrt(mass)
    W[: len(norm)] = np.sqrt(mass)[:, None] * np.asarray(teacher.W) / np.where(norm > 0, norm, 1.0)[:, None]
    unit = np.zeros((1, W.shape[1]))
    unit[0, 0] = 1.0
    square = 2.0 * float(PopulationRisk.of(TwoLayer([1.0], unit, sigma)).target)  # ‖σ(uᵀx)‖², the same for every unit u
    least, bound = np.inf, 0.0
    for used in range(len(norm), len(a) + 1):
        a, W = _polished(*_merged(*_descend(a, W, teacher, weight_decay)), teacher, weight_decay)
        network = TwoLayer(a, W, sigma)
        found = _certified(network, teacher, jnp.asarray(weight_decay))
        risk, gap, before = float(found.risk), float(found.gap), least
        least, bound = risk, float(found.bound)
        # An atom that lowers the risk by rounding alone says that only the certificate's own precision is left.
        if gap <= tolerance * risk or used == len(a) or before - risk <= _ROUNDING * risk:
            break
        best = max(float(found.certificate_max) - 1.0, 0.0) * weight_decay / square
        direction = np.asarray(found.direction)
        sign = float(np.sign(correlation(residual(network, teacher), found.direction[None])[0]))
        a[used], W[used] = sign * np.sqrt(best), np.sqrt(best) * direction
    if least - bound > tolerance * least:
        warnings.warn(
            f"tolerance: got {tolerance:g}, and the least risk at λ = {weight_decay:g} is known to lie in "
            f"[{bound:.12g}, {least:.12g}] alone, to {(least - bound) / least:.1g} of itself; use `risk` and `bound` "
            "as its two ends, or give this tolerance",
            ReferenceWarning,
            stacklevel=_outside(),
        )
    return Reference(least, bound, TwoLayer(a[a != 0], W[a != 0], sigma))


def _outside() -> int:
    """The stack level, seen from the caller, of the first frame that is not in this package."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").startswith(__package__ or "analysis"):
        frame, level = frame.f_back, level + 1
    return max(level, 1)


def _merged(a: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neurons of one sign that nearly share a direction as one: descent brings these together too slowly.

    Two that belong apart are separated again, by an atom that is added beside them.
    """
    a, W = a.copy(), W.copy()
    norm = np.linalg.norm(W, axis=1)
    mass = np.abs(a) * norm
    unit = W / np.where(norm > 0, norm, 1.0)[:, None]
    left = [int(i) for i in np.argsort(-mass) if mass[i] > 0]
    while left:
        first = left[0]
        near = [i for i in left if a[i] * a[first] > 0 and np.linalg.norm(unit[i] - unit[first]) < _NEAR]
        left = [i for i in left if i not in near]
        if len(near) > 1:
            whole = (mass[near, None] * unit[near]).sum(axis=0)
            size = np.sqrt(np.linalg.norm(whole))
            sign = np.sign(a[first])
            a[near], W[near] = 0.0, 0.0
            a[first], W[first] = sign * size, whole / size
    return a, W


def _polished(a: np.ndarray, W: np.ndarray, teacher: TwoLayer, decay: float) -> tuple[np.ndarray, np.ndarray]:
    """Powell's hybrid method on the gradient of the neurons of mass: the gap is of first order in what L-BFGS leaves.

    Kept only where the gradient became smaller and the risk did not rise: near a flat minimum it may go elsewhere.
    """
    width, kept = len(a), np.concatenate([a, W.ravel()]) != 0
    whole = np.concatenate([a, W.ravel()])
    if not kept.any():
        return a, W

    def at(x: np.ndarray) -> tuple[float, np.ndarray]:
        full = np.where(kept, 0.0, whole)
        full[kept] = x
        value, slope = _value_and_slope(
            jnp.asarray(full[:width]), jnp.asarray(full[width:].reshape(W.shape)), teacher, decay
        )
        return float(value), np.concatenate([slope.a, np.ravel(slope.W)])[kept]

    start = whole[kept]
    before, steep = at(start)
    found = root(lambda x: at(x)[1], start, method="hybr", options={"xtol": 1e-14, "maxfev": 60 * len(start)}).x
    after, flat = at(found)
    if np.abs(flat).max() < np.abs(steep).max() and after <= before + _ROUNDING * before:
        whole[kept] = found
    return whole[:width], whole[width:].reshape(W.shape)


def _descend(a: np.ndarray, W: np.ndarray, teacher: TwoLayer, decay: float) -> tuple[np.ndarray, np.ndarray]:
    """L-BFGS on both layers; a neuron of mass 0 stays there, where its gradient is 0."""
    width = len(a)

    def value_and_slope(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _value_and_slope(jnp.asarray(x[:width]), jnp.asarray(x[width:].reshape(W.shape)), teacher, decay)
        return float(value), np.concatenate([slope.a, np.ravel(slope.W)])

    options = {"maxiter": 5000, "maxfun": 10_000, "ftol": 1e-17, "gtol": 1e-12, "maxcor": 30}
    start = np.concatenate([a, W.ravel()])
    x = minimize(value_and_slope, start, jac=True, method="L-BFGS-B", options=options).x
    return x[:width], x[width:].reshape(W.shape)


@eqx.filter_jit
def _value_and_slope(a, W, teacher: TwoLayer, decay):
    student = TwoLayer(a, W, teacher.activation)
    penalty = 0.5 * decay * (jnp.sum(a * a) + jnp.sum(W * W))
    slope = population_gradient(student, teacher)
    risk = PopulationRisk.of(teacher).value(student) + penalty
    return risk, TwoLayer(slope.a + decay * a, slope.W + decay * W, teacher.activation)


@eqx.filter_jit
def _certified(network: TwoLayer, teacher: TwoLayer, decay):
    return duality_gap(network, teacher, weight_decay=decay)


def optimality_gap(ds: xr.Dataset, *, tolerance: float = 1e-10) -> xr.Dataset:
    """ζ = R_λ − min R_λ of every member at every record, λ being that of the record.

    **Arguments:** a dataset with a history of `risk`, whose cells have one teacher each. A minimum is sought for
    every teacher and every λ that occurs: seconds for a dozen of them.

    **Returns:** `zeta`, `decay` (λ) over axes, seed and record; `reference` and `reference_bound`, the minimum from
    above and from below, over the same. ζ is known to their difference.

    **Raises:** `ValueError` where the history is missing, a cell's seeds draw their own teachers, the activation is
    not 1-homogeneous, or the penalty is neither l2 nor path_norm.
    """
    ds = standard(ds)
    risk = history(ds, "risk")
    dims = (*axes(ds), "seed", "record")
    decay = applied_decay(ds, history=True).transpose(*dims)
    least, bound = np.zeros(decay.shape), np.zeros(decay.shape)
    known: dict[tuple, Reference] = {}
    found = cells(ds)
    require_penalty(found, "optimality gaps")
    require_population(found, "optimality gaps")
    require_plain(found, "optimality gaps")
    for place, cell in np.ndenumerate(found):
        teacher = shared_teacher(cell)
        if teacher is None:
            raise ValueError(
                "teacher: got one whose seeds draw their own weights; a reference optimum needs one teacher a cell: "
                "orthonormal, separated_pairs, equiangular or given"
            )
        key = cell.teacher.model_dump_json()
        for value in np.unique(decay.values[place]).tolist():
            if (key, value) not in known:
                known[key, value] = reference_optimum(teacher, weight_decay=value, tolerance=tolerance)
            mine = decay.values[place] == value
            least[place][mine], bound[place][mine] = known[key, value].risk, known[key, value].bound
    made = xr.Dataset(
        {
            "zeta": (dims, risk.transpose(*dims).values - least, {"units": "1", "long_name": "ζ = R_λ − min R_λ"}),
            "applied_decay": (dims, decay.values, dict(decay.attrs)),
            "reference": (dims, least, {"units": "1", "long_name": "min R_λ over all widths, from above"}),
            "reference_bound": (dims, bound, {"units": "1", "long_name": "min R_λ over all widths, from below"}),
        }
    )
    coords = {name: ds[name] for name in (*axes(ds), "seed", "step")}
    return made.assign_coords(coords)
