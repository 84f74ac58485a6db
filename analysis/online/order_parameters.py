"""Order parameters of online learning from a study's starts, along its own protocol (`overlap_equations.py`)."""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from scipy.integrate import cumulative_trapezoid

from ensemble import Study
from ensemble.numerics import member_keys
from ensemble.problem.students import TwoLayerStudent

from ..members import axes
from ..problems import cells
from .fourth_moments import has_fourth_moments
from .overlap_equations import Numbers, Overlaps, by_seed, losses, solve

_MOST_HALVINGS = 60
"""Beyond them a halved number is below 1e-18 of what it was."""


def order_parameters(
    study: Study,
    times: Sequence[float] | None = None,
    *,
    noise: float | None = None,
    batch: int | None = None,
    seeds: int | None = None,
) -> xr.Dataset:
    """Closed equations of online learning, solved from the starts of a study's members, along its protocol.

    **Arguments:**

    - `study`: two-layer students under plain descent with l2, stage by stage, with schedules.
    - `times`: where to give the solution, increasing, in units of Σ step size; by default the study's record steps.
    - `noise`, `batch`: σ_ξ, and samples a step; by default those of the study's `[data]`. A study without online
      samples and without them is the population's own descent, whose equations have no term of order η.
    - `seeds`: how many seeds a cell; by default all of them. The first ones are taken.

    **Returns:** over axes, `seed` and `record`: `loss` ½E(f − f*)², `output_weight` (`neuron`), `student_overlap` Q
    (`neuron`, `other_neuron`), `teacher_overlap` R (`neuron`, `teacher_neuron`); over axes and `record`: `time` and
    `step`; over axes: `second_order`, whether the term of order η is in. Cells with fewer neurons are filled with NaN.

    **Raises:** `ValueError` for another student, update, penalty or a rule that ends a stage, and for what is no
    increasing list of times within the protocol.
    """
    wanted = None if times is None else _checked_times(times)
    count = study.seeds if seeds is None else min(_positive(seeds, "seeds"), study.seeds)
    steps = np.asarray(study.record_steps, float)
    found = [_of_cell(study, point.cell, steps, wanted, noise, batch, np.arange(count)) for point in study.points]
    return _dataset(study, found, [point.place for point in study.points])


def solutions(ds: xr.Dataset, *, noise: float | None = None, batch: int | None = None) -> xr.Dataset:
    """`order_parameters` from the starts of a dataset's members, over its own cells, seeds and records.

    The last answer is kept: a table, a picture and a power of the same members solve their equations once.
    """
    grid, names = cells(ds), axes(ds)
    steps, seeds = ds["step"].values.astype(float), np.atleast_1d(ds["seed"].values)
    found = _of_cells(ds.attrs["study"], tuple(grid.flat), tuple(steps), tuple(seeds.tolist()), noise, batch)
    return _filled(found, list(np.ndindex(*grid.shape)), names, grid.shape).assign_coords(
        {name: ds[name] for name in (*names, "seed")}
    )


class _Solved(NamedTuple):
    """What is known of a cell: arrays over seed and record."""

    path: Overlaps
    loss: np.ndarray
    step: np.ndarray
    time: np.ndarray
    second_order: bool


@functools.lru_cache(maxsize=1)
def _of_cells(
    study: str,
    cells: tuple[Any, ...],
    steps: tuple[float, ...],
    seeds: tuple[int, ...],
    noise: float | None,
    batch: int | None,
) -> list[_Solved]:
    whole, drawn = Study.from_json(study), np.array(seeds)
    return [_of_cell(whole, cell, np.array(steps), None, noise, batch, drawn) for cell in cells]


def _of_cell(
    study: Study,
    cell: Any,
    steps: np.ndarray,
    times: np.ndarray | None,
    noise: float | None,
    batch: int | None,
    seeds: np.ndarray,
) -> _Solved:
    _refuse(cell)
    pieces = _pieces(cell)
    at_steps, at_times = _clock(pieces)
    if times is None:
        steps = np.minimum(steps, pieces[-1].end)
        times = np.interp(steps, at_steps, at_times)
    else:
        if times[-1] > at_times[-1] * (1.0 + 1e-12):
            raise ValueError(
                f"times: got {times[-1]:g}, beyond the protocol's Σ step size = {at_times[-1]:g}; give less"
            )
        steps = np.interp(times, at_times, at_steps)
    sigma, online = cell.teacher.sigma, _online(cell, noise, batch)
    start, teacher = _starts(study, cell, seeds)
    second = online is not None and has_fourth_moments(sigma, sum(start.R.shape[1:]))
    inputs = cell.teacher.shape()[1]
    level, size = online or (0.0, 1)
    path = []
    for piece in pieces:
        numbers = Numbers(
            *teacher,
            step_size=piece.step_size,
            decay=piece.decay,
            first=float(piece.stage.layers in ("both", "first")),
            output=float(piece.stage.layers in ("both", "output")),
            diffusion=inputs / size if second else 0.0,
            noise=level**2,
            begin=float(piece.begin),
        )
        at = np.clip(steps, piece.start, piece.end)
        schedules = tuple(_smooth(getattr(piece.stage, f"{name}_schedule")) for name in ("step_size", "weight_decay"))
        ends_of_piece = (jnp.asarray(float(piece.start)), jnp.asarray(float(piece.end)))
        states, start = solve(
            (sigma, schedules, second), start, by_seed(numbers, start), *ends_of_piece, jnp.asarray(at)
        )
        path.append(states)
    # A record at a boundary is that of the piece which ends there: the solution is continuous.
    which = np.searchsorted([piece.end for piece in pieces], steps).clip(max=len(pieces) - 1)
    joined = jax.tree.map(lambda *x: np.stack([np.asarray(x[p])[:, i] for i, p in enumerate(which)], axis=1), *path)
    loss = np.asarray(losses(sigma, joined, *teacher))
    return _Solved(joined, loss, steps, times, second)


# -- a study's members and protocol ----------------------------------------------------------------------


class _Piece(NamedTuple):
    """Steps of a stage between two halvings."""

    stage: Any
    begin: int
    start: int
    end: int
    step_size: float
    decay: float


def _pieces(cell: Any) -> list[_Piece]:
    """The protocol, cut where a step size or a decay jumps."""
    found, begin = [], 0
    for stage in cell.stages.stages:
        end = begin + stage.length
        every = [_every(stage.step_size_schedule), _every(stage.weight_decay_schedule)]
        jumps = {begin, end}
        for period in every:
            jumps |= {begin + k * period for k in range(1, _MOST_HALVINGS + 1)} if period else set()
        cuts = sorted(cut for cut in jumps if cut <= end)
        for start, stop in itertools.pairwise(cuts):
            halved = [0.5 ** ((start - begin) // period) if period else 1.0 for period in every]
            found.append(_Piece(stage, begin, start, stop, stage.step_size * halved[0], stage.weight_decay * halved[1]))
        begin = end
    return found


def _every(schedule: Any) -> int | None:
    return schedule.every if schedule is not None and schedule.kind == "halving" else None


def _smooth(schedule: Any) -> Any:
    """A schedule that is followed inside a piece; halvings are its ends."""
    return None if schedule is None or schedule.kind == "halving" else schedule


def _clock(pieces: list[_Piece]) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and Σ step size at them: at the ends of pieces, and inside those whose step size follows a schedule."""
    steps, times = [np.zeros(1)], [np.zeros(1)]
    for piece in pieces:
        schedule = _smooth(piece.stage.step_size_schedule)
        at = np.linspace(piece.start, piece.end, 2 if schedule is None else 4097)
        factor = np.ones(len(at)) if schedule is None else np.asarray(jax.vmap(schedule)(jnp.asarray(at - piece.begin)))
        grown = cumulative_trapezoid(piece.step_size * factor, at)
        steps.append(at[1:])
        times.append(times[-1][-1] + grown)
    return np.concatenate(steps), np.concatenate(times)


def _starts(study: Study, cell: Any, seeds: np.ndarray) -> tuple[Overlaps, tuple[Any, Any]]:
    """The order parameters of every seed's start, and (a*, T) of its teacher."""
    return _drawn(cell.student, cell.teacher, study.space(cell), study.root_seed, jnp.asarray(seeds))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _drawn(student: Any, teacher: Any, space: Any, root_seed: Any, seeds: Any) -> tuple[Overlaps, tuple[Any, Any]]:
    def one(seed):
        model, risk = student.draw(teacher, member_keys(root_seed, seed), space)
        own = risk.teacher
        return Overlaps(model.a, model.W @ model.W.T, model.W @ own.W.T), (own.a, own.W @ own.W.T)

    return jax.vmap(one)(seeds)


def _online(cell: Any, noise: float | None, batch: int | None) -> tuple[float, int] | None:
    """(σ_ξ, samples a step); None for the population's descent."""
    data = getattr(cell, "data", None)
    if noise is not None and not (math.isfinite(noise) and noise >= 0.0):
        raise ValueError(f"noise: got {noise}; give a standard deviation ≥ 0")
    if data is not None and data.samples is not None:
        raise ValueError(f"data.samples: got {data.samples}; the equations are those of fresh samples: online = true")
    if data is not None and data.inputs.kind != "gaussian":
        raise ValueError(f"data.inputs: got {data.inputs.kind!r}; the equations are those of x ~ N(0, I): gaussian")
    if noise is None and batch is None and (data is None or not data.online):
        return None
    own_noise, own_batch = (0.0, 1) if data is None else (data.noise, data.batch or 1)
    return own_noise if noise is None else noise, own_batch if batch is None else _positive(batch, "batch")


def _refuse(cell: Any) -> None:
    """**Raises:** `ValueError` where no closed equations are known of a cell."""
    if not isinstance(cell.student, TwoLayerStudent):
        raise ValueError(f"student.kind: got {cell.student.kind!r}; order parameters are those of two_layer students")
    if not cell.student.is_plain:
        raise ValueError(
            "student: got one that is linearised, recentred or has an output_scale; the equations are those of the "
            "network itself: leave these out"
        )
    for stage in cell.stages.stages:
        reasons = {
            f"update: got {stage.update.kind!r}": stage.update.kind != "descent",
            f"penalty: got {stage.penalty.kind!r}": stage.penalty.kind != "l2",
            "a rule: got one": stage.has_rule,
            f"neurons: got {stage.neurons!r}": stage.by_neuron,
            f"target: got {stage.target!r}": stage.targeted,
        }
        for reason, holds in reasons.items():
            if holds:
                raise ValueError(
                    f"{reason} in the stage {stage.name!r}; the equations are those of plain descent of all neurons "
                    "with l2 for a given number of steps: take such a stage"
                )


def _checked_times(times: Sequence[float]) -> np.ndarray:
    found = np.asarray(times, float)
    rising = found.ndim == 1 and found.size > 0 and np.all(np.isfinite(found)) and np.all(np.diff(found) > 0)
    if not rising or found[0] < 0.0:
        raise ValueError(f"times: got {str(times)[:80]}; give increasing numbers ≥ 0, in units of Σ step size")
    return found


def _positive(value: int, name: str) -> int:
    if isinstance(value, bool) or value != int(value) or value < 1:
        raise ValueError(f"{name}: got {value}; give a whole number ≥ 1")
    return int(value)


# -- the result ------------------------------------------------------------------------------------------


def _dataset(study: Study, found: list[_Solved], places: list[tuple[int, ...]]) -> xr.Dataset:
    names = tuple(study.axes)
    shape = tuple(len(axis.values) for axis in study.axes.values())
    coords: dict[str, Any] = {
        name: (name, list(axis.values), {"units": axis.units}) for name, axis in study.axes.items()
    }
    coords["seed"] = ("seed", np.arange(len(found[0].loss)))
    attrs = {"study": study.text, "study_hash": study.hash}
    return _filled(found, places, names, shape).assign_coords(coords).assign_attrs(attrs)


def _filled(found: list[_Solved], places: list[tuple[int, ...]], names: tuple[str, ...], shape: tuple[int, ...]):
    """Solutions of cells, each at its place on a grid."""

    def filled(dims: tuple[str, ...], values: list[Any], long_name: str, units: str = "1"):
        size = np.max([np.shape(v) for v in values], axis=0) if np.ndim(values[0]) else ()
        whole = np.full((*shape, *size), np.nan)
        for place, value in zip(places, values, strict=True):
            whole[(*place, *(slice(n) for n in np.shape(value)))] = value
        return (*names, *dims), whole, {"units": units, "long_name": long_name}

    over = ("seed", "record")
    data = {
        "loss": filled(over, [s.loss for s in found], "½E(f − f*)², from order parameters"),
        "output_weight": filled((*over, "neuron"), [s.path.a for s in found], "a"),
        "student_overlap": filled((*over, "neuron", "other_neuron"), [s.path.Q for s in found], "Q = W Wᵀ"),
        "teacher_overlap": filled((*over, "neuron", "teacher_neuron"), [s.path.R for s in found], "R = W W*ᵀ"),
        "second_order": filled((), [float(s.second_order) for s in found], "whether the term of order η is in"),
    }
    coords = {
        "time": filled(("record",), [s.time for s in found], "time", "step size × steps"),
        "step": filled(("record",), [s.step for s in found], "descent step", "step"),
    }
    return xr.Dataset(data, coords=coords)
