"""Exact mode curves of deep linear networks, to be laid over measured ones (theory.md §11).

From an aligned start no mode sees another: its share c_l in every layer follows the gradient flow of its own scalar
network, whose product u = c_1 ⋯ c_L is the strength of the mode,

    ċ_l = (s − u) Π_{j≠l} c_j − λ c_l

Balanced (all c_l equal) and without decay that is u̇ = L u^{2−2/L}(s − u) (Saxe et al. 2014, arXiv 1312.6120); for
L = 2 and c_2² − c_1² = μ it is u̇ = √(μ² + 4u²)(s − u) (Dominé et al. 2024, arXiv 2409.14623). Descent at step size η
is at distance O(η) from it, at time ηt.
"""

from typing import Any

import numpy as np
import xarray as xr
from scipy.integrate import solve_ivp

from ensemble.problem.starts.linear import AbstractAlignedStart
from ensemble.problem.students import DeepLinearStudent

from .members import axes, finished, history, standard
from .problems import cells, require_population

RTOL, ATOL = 1e-12, 1e-14


def mode_strength(s: float, shares: np.ndarray, times: np.ndarray, *, weight_decay: float = 0.0) -> np.ndarray:
    """u(t) of one mode by the flow above, by DOP853, to about 1e-9.

    **Arguments:** `s`, the teacher's singular value; `shares`, c_1(0), …, c_L(0); `times`, increasing, in units of step
    size × steps; `weight_decay`, λ.

    **Returns:** an array of the shape of `times`.
    """
    start, times = np.asarray(shares, float), np.asarray(times, float)

    if not len(times):
        return np.zeros(0)
    span = 0.0, max(float(times[-1]), 1e-300)
    found = solve_ivp(_flow, span, start, "DOP853", times, args=(s, weight_decay), rtol=RTOL, atol=ATOL)
    return found.y.prod(axis=0)


def learning_time(s: float, shares: np.ndarray, *, learned: float = 0.5) -> float:
    """The time at which a mode reaches the share `learned` of its singular value s, without decay; ∞: never.

    **Arguments:** as `mode_strength`; `learned` in (0, 1).
    """
    start = np.asarray(shares, float)
    if np.prod(start) >= learned * s:
        return 0.0
    if np.prod(start) == 0.0:
        return np.inf

    def reached(_: float, c: np.ndarray, *_args: float) -> float:
        return float(np.prod(c) - learned * s)

    reached.terminal = True  # pyright: ignore[reportFunctionMemberAccess]
    found = solve_ivp(_flow, (0.0, 1e300), start, "DOP853", events=reached, args=(s, 0.0), rtol=RTOL, atol=1e-300)
    return float(found.t_events[0][0])


def _flow(_: float, c: np.ndarray, s: float, weight_decay: float) -> np.ndarray:
    """ċ_l of every layer."""
    others = np.array([np.prod(np.delete(c, layer)) for layer in range(len(c))])
    return (s - np.prod(c)) * others - weight_decay * c


def mode_curves(ds: xr.Dataset) -> xr.Dataset:
    """The exact strength of every mode at the records of a study of deep linear networks.

    **Arguments:** a dataset of `student.kind = "deep_linear"` from an aligned start (`aligned_balanced`,
    `lambda_balanced`), trained by one stage of descent or of flow, of one step size and one weight decay.

    **Returns:** over axes, `record` and `mode`: `exact`; over axes and `record` the coordinate `time`, step size ×
    steps; over axes and `mode`: `learning_time`, at which half of the singular value is reached without decay (times of
    flow). Cells without a known curve are NaN, and so are modes beyond a cell's own.

    **Raises:** `ValueError` where no exact curve is known of any cell, with the reason.
    """
    ds = standard(ds)
    measured = history(ds, "mode_strength")
    names, steps, modes = axes(ds), ds["step"].values.astype(float), measured.sizes["mode"]
    grid = cells(ds)
    exact = np.full((*grid.shape, len(steps), modes), np.nan)
    time = np.full((*grid.shape, len(steps)), np.nan)
    learned = np.full((*grid.shape, modes), np.nan)
    reasons = []
    for place, cell in np.ndenumerate(grid):
        try:
            require_population(np.array([cell], object), "exact curves")
            stage, shares = _one_stage(cell), _shares(cell)
        except ValueError as error:
            reasons.append(error)
            continue
        time[place] = stage.step_size * steps
        for k, s in enumerate(cell.teacher.singular_values):
            mine = shares if k < cell.student.width else np.zeros_like(shares)
            exact[place][:, k] = mode_strength(s, mine, time[place], weight_decay=stage.weight_decay)
            learned[place][k] = learning_time(s, mine)
    if len(reasons) == grid.size:
        raise reasons[0]
    said = {"units": "1", "long_name": "exact strength of the mode under gradient flow"}
    half = {"units": "step size × steps", "long_name": "time at which half of the singular value is reached"}
    clock = {"units": "step size × steps", "long_name": "time of gradient flow"}
    return xr.Dataset(
        {"exact": ((*names, "record", "mode"), exact, said), "learning_time": ((*names, "mode"), learned, half)},
        coords={name: ds[name] for name in names} | {"step": ds["step"], "time": ((*names, "record"), time, clock)},
        attrs={"study": ds.attrs["study"], "study_hash": ds.attrs["study_hash"]},
    )


def learning_steps(ds: xr.Dataset, learned: float = 0.5) -> xr.Dataset:
    """The step at which every member first has every mode at the share `learned` of its singular value.

    **Returns:** over the axes, `seed` and `mode`: `after` and `by`, the neighbouring records between which it happens,
    and `step`, between both by linear interpolation of the strength; ∞ where it does not, NaN for modes beyond a cell's
    own and members without an end.

    **Raises:** `ValueError` where no history was recorded, and for a share outside (0, 1).
    """
    if not 0.0 < learned < 1.0:
        raise ValueError(f"learned: got {learned}; give a share of the singular value between 0 and 1")
    ds = standard(ds)
    names = axes(ds)
    dims = (*names, "seed", "mode")
    u = history(ds, "mode_strength").transpose(*dims, "record").values
    steps = ds["step"].values.astype(float)
    wanted = np.full(u.shape[:-1], np.nan)
    for place, cell in np.ndenumerate(cells(ds)):
        s = np.asarray(cell.teacher.singular_values)
        wanted[place][:, : len(s)] = learned * s
    there = u >= wanted[..., None]
    index = there.argmax(axis=-1)
    before = np.maximum(index - 1, 0)
    low, high = (np.take_along_axis(u, i[..., None], -1)[..., 0] for i in (before, index))
    share = np.where(high > low, (wanted - low) / np.where(high > low, high - low, 1.0), 0.0)
    counted = finished(ds).transpose(*names, "seed").values[..., None] & np.isfinite(wanted)
    found = {"after": steps[before], "by": steps[index], "step": steps[before] + share * (steps[index] - steps[before])}
    says = {"after": "last record before", "by": "first record after", "step": "step, interpolated between both,"}
    return xr.Dataset(
        {
            name: (
                dims,
                np.where(counted, np.where(there.any(axis=-1), values, np.inf), np.nan),
                {"units": "step", "long_name": f"{says[name]} the mode has {learned:g} of its singular value"},
            )
            for name, values in found.items()
        },
        coords={name: ds[name] for name in (*names, "seed")},
        attrs={"learned": learned, "study": ds.attrs["study"], "study_hash": ds.attrs["study_hash"]},
    )


def _one_stage(cell: Any) -> Any:
    """The one stage of a cell whose modes move by plain descent.

    **Raises:** `ValueError` where there are more, or where it is another update.
    """
    stages = cell.stages.stages
    stage = stages[0]
    reasons = {
        "protocol: got several stages": len(stages) > 1,
        f"update: got {stage.update.kind!r}": stage.update.kind not in ("descent", "flow"),
        f"layers: got {stage.layers!r}": stage.layers != "both",
        f"penalty: got {stage.penalty.kind!r}": stage.penalty.kind != "l2",
        "step_size_schedule: got a schedule": stage.step_size_schedule is not None,
        "weight_decay_schedule: got a schedule": stage.weight_decay_schedule is not None,
    }
    for reason, holds in reasons.items():
        if holds:
            raise ValueError(
                f"{reason}; exact mode curves are known of one stage of descent or flow of all layers at one step size "
                "and decay"
            )
    return stage


def _shares(cell: Any) -> np.ndarray:
    """c_1(0), …, c_L(0) of every mode that the layers carry."""
    if not isinstance(cell.student, DeepLinearStudent):
        raise ValueError(
            f"student.kind: got {cell.student.kind!r}; exact mode curves are those of deep_linear students"
        )
    if not cell.student.is_plain:
        raise ValueError(
            "student: got output_scale, recentred or linearised; exact mode curves are those of the network itself"
        )
    start = cell.student.start
    if not isinstance(start, AbstractAlignedStart):
        raise ValueError(
            f"student.start: got {start.kind!r}, from which modes mix; exact mode curves need aligned_balanced or "
            "lambda_balanced"
        )
    return np.asarray(start.shares(cell.student.depth))
