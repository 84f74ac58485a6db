"""What theory says of a study's cells: the lines that pictures draw over what was measured (theory.md §4, §7, §8).

    total mass and risk at the minimum      l2, path_norm: m = t − λ/κ₁, R = λt − λ²/2κ₁ a teacher neuron of mass t
    λ at which the mass ends                l2, path_norm: κ₁t; group_lasso: (2/3)^{3/2}κ₁t^{3/2}, or less
    λ at which the global minimum jumps     group_lasso: 2κ₁/3√3 · t^{3/2}
    step size beyond which none can rest    the update's limit / sharpness at the teacher (`dynamics/stability.py`)
    rate at which layers balance            2λ a unit of time under l2, 0 under path_norm

with κ₁ = κ(1) of the activation. A cell of which theory says nothing has NaN there.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.optimize
import xarray as xr

from ensemble import AbstractHomogeneous, Study
from ensemble.dynamics.stability import largest_stable_step
from ensemble.dynamics.stages import Stage
from ensemble.problem.students import AbstractStudent, TwoLayerStudent
from ensemble.study import Cell

from .members import axes, standard
from .problems import cells, of_population


class Kind(NamedTuple):
    """One prediction: what it is a value of, and what is said of it."""

    of: str
    """The probe or the field that it is a value of."""
    is_field: bool
    """Whether it is a place on an axis over that field, and not a value of that probe."""
    says: str
    units: str
    source: str


KINDS = {
    "total_mass": Kind("total_mass", False, "mass that is left", "1", "theory.md §8"),
    "risk": Kind("risk", False, "least risk over all widths", "1", "theory.md §8"),
    "weight_decay_end": Kind("weight_decay", True, "λ where the mass ends", "1", "theory.md §8"),
    "weight_decay_jump": Kind("weight_decay", True, "λ where the global minimum jumps to 0", "1", "theory.md §8"),
    "step_size_limit": Kind("step_size", True, "step size beyond which none rests", "1", "theory.md §7"),
    "imbalance_rate": Kind("imbalance", False, "rate at which a² − ‖w‖² decays, per unit of time", "1", "theory.md §4"),
}


def predictions(study: Study | xr.Dataset) -> xr.Dataset:
    """What theory says of every cell of a study: closed forms, no run.

    **Arguments:** a study, or a dataset of one, of which cells may have been selected.

    **Returns:** those of the variables below of which some cell has a value, over the axes; NaN where theory says
    nothing. Attributes: `units`, `long_name`, `source`, and `probe` or `field`: what it is a value of.

    - `total_mass`, `risk`: of the probes of that name, for one teacher neuron of a 1-homogeneous activation, or for
      orthogonal ones of an activation that decouples them (abs_centred, relu_even), where the last stage moves both
      layers at one last λ. l2 and path_norm: at the minimum over all widths. group_lasso: of one student neuron that
      starts balanced on the teacher's line, what descent from there ends at (`risk` is that of the global minimum).
    - `weight_decay_end`, `weight_decay_jump`: places on an axis over λ.
    - `step_size_limit`: a place on an axis over the step size, of updates with a limit.
    - `imbalance_rate`: a_i² − ‖w_i‖² falls as exp(−rate · time), time = Σ step sizes, under descent to first order in
      the step size, whatever the teacher.
    """
    if isinstance(study, xr.Dataset):
        ds = standard(study)
        names, found = axes(ds), cells(ds)
        coords = {name: ds[name] for name in names}
    else:
        names = tuple(study.axes)
        found = np.empty([len(axis.values) for axis in study.axes.values()], object)
        for point in study.points:
            found[point.place] = point.cell
        coords = {
            name: (name, np.array(axis.values), {"units": axis.units, "long_name": axis.long_name or name})
            for name, axis in study.axes.items()
        }
    data = {name: np.full(found.shape, np.nan) for name in KINDS}
    for place, cell in np.ndenumerate(found):
        for name, value in _of_cell(cell):
            data[name][place] = value
    made = xr.Dataset(coords=coords)
    for name, values in data.items():
        kind = KINDS[name]
        if np.isfinite(values).any():
            of = {"field" if kind.is_field else "probe": kind.of}
            made[name] = (names, values, {"units": kind.units, "long_name": kind.says, "source": kind.source, **of})
    return made


def _is_two_layer(student: AbstractStudent) -> bool:
    """Whether a student is a two-layer network and none of the lazy comparators."""
    return isinstance(student, TwoLayerStudent) and student.is_plain


def _of_cell(cell: Cell) -> Iterator[tuple[str, float]]:
    """(name, value) of what theory says of a cell."""
    stages = [stage for stage in cell.stages.stages if getattr(stage, "takes_steps", False)]
    if not stages or not hasattr(cell.teacher, "sigma") or not _is_two_layer(cell.student) or not of_population(cell):
        return
    stage = stages[-1]
    if isinstance(stage.layers, tuple):
        return
    limit = largest_stable_step(cell.teacher, stage.update, stage.layers, stage.weight_decay)
    if limit is not None:
        yield "step_size_limit", limit
    decay, sigma = _last_decay(stage), cell.teacher.sigma
    whole = stage.layers == "both" and not (stage.by_neuron or stage.targeted)
    if decay is None or not whole or not isinstance(sigma, AbstractHomogeneous):
        return
    constant = stage.weight_decay_schedule is None and len(stages) == 1
    if constant and stage.update.kind == "descent" and stage.penalty.kind in ("l2", "path_norm"):
        yield "imbalance_rate", 2.0 * decay if stage.penalty.kind == "l2" else 0.0
    masses = _decoupled(cell)
    if masses is None:
        return
    kappa = float(sigma.kappa(jnp.ones(())))
    if stage.penalty.total_variation and cell.student.width >= len(masses):
        left = np.maximum(masses - decay / kappa, 0.0)
        yield "total_mass", float(left.sum())
        yield "risk", float(np.sum(0.5 * kappa * (masses - left) ** 2 + decay * left))
        yield "weight_decay_end", kappa * float(masses.max())
    elif stage.penalty.kind == "group_lasso" and getattr(stage.penalty, "layers", None) is None:
        yield from _group_lasso(cell, kappa, masses, decay)


def _group_lasso(cell: Cell, kappa: float, masses: np.ndarray, decay: float) -> Iterator[tuple[str, float]]:
    """½κ₁(m − t)² + λ√(2m) over the mass of one neuron, in units in which t = 1: λ → λ/(κ₁t^{3/2})."""
    start = _start_mass(cell)
    if len(masses) > 1 or start is None:
        return
    mass = float(masses[0])
    unit = kappa * mass**1.5
    yield "weight_decay_jump", 2.0 / (3.0 * math.sqrt(3.0)) * unit
    share = start / mass

    def pull(u: float) -> float:
        """The λ at which mass u is stationary: largest, (2/3)^{3/2}, at u = 1/3."""
        return (1.0 - u) * math.sqrt(2.0 * u)

    # From below 1/3 descent climbs only where the pull at the start is stronger than λ.
    end = pull(max(min(share, 1.0), 0.0)) if share < 1.0 / 3.0 else pull(1.0 / 3.0)
    yield "weight_decay_end", end * unit
    scaled = decay / unit
    stays = 0.0
    if scaled <= pull(1.0 / 3.0):
        stays = mass * float(scipy.optimize.bisect(lambda u: pull(u) - scaled, 1.0 / 3.0, 1.0, xtol=1e-15))  # pyright: ignore
    yield "total_mass", stays if scaled < end else 0.0
    inside = 0.5 * kappa * (stays - mass) ** 2 + decay * math.sqrt(2.0 * stays)
    yield "risk", min(inside, 0.5 * kappa * mass**2)


def _last_decay(stage: Stage) -> float | None:
    """λ of a stage's last step; None where a rule may end it under another λ."""
    if stage.weight_decay_schedule is None:
        return stage.weight_decay
    if stage.has_rule:
        return None
    factor: Callable[[Any], Any] = stage.weight_decay_schedule
    return stage.weight_decay * float(factor(jnp.asarray(stage.length - 1)))


def _decoupled(cell: Cell) -> np.ndarray | None:
    """Masses of teacher neurons that do not see each other; None where they do, or where seeds have their own."""
    known = cell.teacher.known() if hasattr(cell.teacher, "known") else None
    if known is None:
        return None
    a, gram = known
    sigma = cell.teacher.sigma
    masses = np.asarray(a) * np.sqrt(np.diag(gram))
    if len(masses) == 1:
        return masses
    alone = abs(float(sigma.kappa(jnp.zeros(())))) < 1e-15 and abs(float(sigma.kappa_slopes(jnp.zeros(()))[1])) < 1e-15
    return masses if alone and np.allclose(gram, np.diag(np.diag(gram)), atol=1e-14) else None


def _start_mass(cell: Cell) -> float | None:
    """The mass of one student neuron that starts balanced on the teacher's line; None for other starts."""
    start = cell.student.start
    if cell.student.width != 1:
        return None
    known = cell.teacher.known()
    if start.kind == "near_teacher" and start.distance == 0.0:
        return float(known[0][0] * math.sqrt(known[1][0, 0]))
    if start.kind != "given" or cell.teacher.kind not in ("given", "orthonormal"):
        return None
    row = np.asarray(start.W[0], float)
    of_teacher = np.asarray(cell.teacher.W[0] if cell.teacher.kind == "given" else np.eye(1, len(row))[0], float)
    norm, other = np.linalg.norm(row), np.linalg.norm(of_teacher)
    aligned = np.isclose(row @ of_teacher, norm * other, rtol=1e-12)
    same_sign = cell.teacher.kind == "orthonormal" or start.a[0] * cell.teacher.a[0] > 0
    balanced = np.isclose(abs(start.a[0]), norm, rtol=1e-9)
    return float(norm**2) if aligned and balanced and same_sign and start.a[0] != 0 else None


def places(found: xr.Dataset, study: Study, axis: str) -> list[str]:
    """The predictions that are places on an axis of a study: those of a field that it sets."""
    if axis not in study.axes:
        return []
    own = study.axes[axis]
    fields = [own.field] if own.field is not None else list(own.fields or {})
    last = {str(path).split(".")[-1] for path in fields}
    return [str(name) for name in found.data_vars if found[name].attrs.get("field") in last]
