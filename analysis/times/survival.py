"""Arrival times as censored data: survival curves, medians, restricted means, log-rank tests.

A member arrives where it is below a tolerance for good or, without one, where its stop rule is met (converged), or
where times of another kind say so (`escape_times`).
"Survival" S(t) is the share of members that have not arrived by step t. A member

- arrived at a step that is known to lie in (after, by], two neighbouring records;
- is right-censored where its protocol ended before it arrived;
- never arrives where it diverged, or a rule ended it elsewhere: it counts as not arrived at every step.

At a record, S counts exactly who had arrived; between two records it lies between its values at both. A statistic
of the curve therefore comes as a bracket: from all events at `by` (the statistic itself) and from all at `after`.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.stats import chi2

from ensemble import STATUS

from ..members import finished, standard
from ..selection import require_axis
from ..statistics import LEVEL, require_level
from .convergence import stopping_time, time_below
from .kaplan_meier import Curve


class Times(NamedTuple):
    """When members arrived, over axes and `seed`; +∞ with `event`: never."""

    after: xr.DataArray
    by: xr.DataArray
    event: xr.DataArray
    """False where the member was only followed up to `by` = `after`: right-censored."""
    counted: xr.DataArray
    what: str
    reached: str
    """What a member that arrived is called: `below`, or `converged` where that is its stop rule."""


def times_of(ds: xr.Dataset, measure: str | None, below: float | None, times: xr.Dataset | None = None) -> Times:
    """The arrival times of all finished members: of a measure and a tolerance, of the stop rule, or as `times` says.

    **Raises:** `ValueError` for a measure without a history, a tolerance that is not positive, one of both alone or
    beside `times`, and for times of other members.
    """
    if times is not None and (measure is not None or below is not None):
        raise ValueError(f"times: got times with measure = {measure!r} and below = {below}; give one or the other")
    if (measure is None) != (below is None):
        raise ValueError(f"below: got measure = {measure!r} with below = {below}; give both, or none for the stop rule")
    ds = standard(ds)
    counted = finished(ds)
    stop = ds["stop_step"].astype(float)
    if times is not None:
        found = _checked(ds, times)
        by, after, reached = found["by"], found["after"], found["below"]
        what, word = found.attrs["event"], found.attrs["reached"]
        counted = counted & by.notnull()
    elif measure is None or below is None:
        by = stopping_time(ds)
        reached, after = ds["status"] == STATUS["converged"], by - 1.0
        what, word = "the stop rule is met", "converged"
    else:
        found = time_below(ds, measure, below)
        by, after, reached = found["by"], found["after"], found["below"]
        what, word = found.attrs["event"], found.attrs["reached"]
    censored = ~reached & (ds["status"] == STATUS["max_steps"])
    after = xr.where(reached, after, xr.where(censored, stop, np.inf))
    return Times(after, xr.where(censored, stop, by), ~censored, counted, what, word)


def _checked(ds: xr.Dataset, times: xr.Dataset) -> xr.Dataset:
    """**Raises:** `ValueError` for what is no result of `time_below` or `escape_times` of the same members."""
    if not {"by", "after", "below"} <= set(times.data_vars) or not {"event", "reached"} <= set(times.attrs):
        raise ValueError("times: got a dataset without arrival times; give a result of time_below or escape_times")
    times = times if "seed" in times["by"].dims else times.expand_dims("seed")
    same = dict(times["by"].sizes) == dict(ds["status"].sizes) and all(
        np.array_equal(times[dim].values, ds[dim].values) for dim in ds["status"].dims
    )
    if not same:
        raise ValueError(
            f"times: got those of {dict(times['by'].sizes)} members for {dict(ds['status'].sizes)}; select the same "
            "members of both"
        )
    return times.transpose(*ds["status"].dims, ...)


def survival(
    ds: xr.Dataset,
    measure: str | None = None,
    *,
    below: float | None = None,
    times: xr.Dataset | None = None,
    steps: np.ndarray | None = None,
    level: float = LEVEL,
) -> xr.Dataset:
    """Kaplan–Meier curves of every cell, and what is read off them.

        S(t) = Π_{t_i ≤ t} (1 − d_i/n_i)          d_i members arrive at t_i, n_i had not before

    **Arguments:** `measure` ≤ `below` for good is the arrival; without both it is that the stop rule was met. `times`:
    those of another arrival, as `escape_times` gives them of the same members. `steps`: those at which curves are given
    (the records; without a history 200 log-spaced ones). `level` of all intervals.

    **Returns:** a dataset over the axes:

    - `survival`, `_low`, `_high` (dimension `step`): Wilson's interval at an effective sample size n', a harmonic mean
      of (1 − S)/(S Σ d_i/(n_i(n_i − d_i))) (Rothman 1978, J. Chron. Dis. 31, 557–560) and n_i/S(t_i−) (Peto et al.
      1977, Br. J. Cancer 35, 1–39), which is Wilson's own where nobody is censored;
    - `median`, `_low`, `_high`: the steps at which S and the ends of its interval fall to ½ (Brookmeyer & Crowley 1982,
      Biometrics 38, 29–41), +∞ where fewer than half arrive; `median_after`: by how much records leave it open;
      `_low` is that of the earliest times, `_high` of the latest, so that the interval holds for any time between them;
    - `never`, `_low`, `_high`: S at the end of the follow-up: the share that does not arrive within the run;
    - `mean`, `_low`, `_high`, `mean_after`: the restricted mean ∫₀^τ S dt, τ = attribute `horizon`, the shortest
      protocol's end, with Wilson's interval of the time that events save, at the size that Greenwood's variance gives;
    - `seeds`, `events`, `censored`: members counted, arrived, and censored; attribute `reached`: what an arrival is
      called, `below`, `converged` or `escaped`.

    **Raises:** `ValueError` for a measure that is not there or has no history, and a tolerance that is not positive.
    """
    require_level(level)
    ds = standard(ds)
    has_records = measure is not None or times is not None
    arrival = times_of(ds, measure, below, times)
    horizon = _horizon(ds)
    grid = _grid(ds, arrival, has_records, horizon) if steps is None else np.asarray(steps, float)

    found = xr.apply_ufunc(
        lambda *arrays: _read_off(*arrays, grid=grid, horizon=horizon, level=level),
        *arrival[:4],
        input_core_dims=[["seed"]] * 4,
        output_core_dims=[["step"]] * 3 + [[]] * (len(_READ_OFF) - 3),
        dask="parallelized",
        output_dtypes=[float] * len(_READ_OFF),
        dask_gufunc_kwargs={"output_sizes": {"step": len(grid)}, "allow_rechunk": True},
    )
    result = xr.Dataset(dict(zip(_READ_OFF, found, strict=True)))
    arrives = arrival.counted & arrival.event & np.isfinite(arrival.by)
    result["seeds"] = arrival.counted.sum("seed")
    result["events"] = arrives.sum("seed")
    result["censored"] = (arrival.counted & ~arrival.event).sum("seed")
    result = result.assign_coords(step=("step", grid, {"units": "step", "long_name": "descent steps"}))
    for name in result.data_vars:
        result[name].attrs = _said(str(name))
    result.attrs = {"event": arrival.what, "reached": arrival.reached, "horizon": horizon, "level": level}
    result.attrs |= {name: ds.attrs[name] for name in ("study", "study_hash")}
    return result


_READ_OFF = ("survival", "survival_low", "survival_high", "median", "median_low", "median_high", "median_after")
_READ_OFF += ("never", "never_low", "never_high", "mean", "mean_low", "mean_high", "mean_after")


def _read_off(after, by, event, counted, *, grid: np.ndarray, horizon: float, level: float) -> tuple[np.ndarray, ...]:
    """What `_READ_OFF` names, along the last dimension of the members' arrays."""
    late, early = Curve(by, event, counted), Curve(after, event, counted)
    median, median_high = late.quantile(0.5, level)[::2]
    median_after, median_low = early.quantile(0.5, level)[:2]
    mean, _, mean_high = late.restricted_mean(horizon, level)
    mean_after, mean_low, _ = early.restricted_mean(horizon, level)
    ends = [x[..., 0] for x in late.at(np.array([np.finfo(float).max]), level)]
    means = (mean, mean_low, mean_high, mean_after)
    return (*late.at(grid, level), median, median_low, median_high, median_after, *ends, *means)


_SAYS = {
    "survival": ("share of seeds that have not arrived", "1"),
    "median": ("median arrival time; ∞: fewer than half arrive", "step"),
    "median_after": ("last record at which more than half had not arrived", "step"),
    "never": ("share of seeds that does not arrive within the run", "1"),
    "mean": ("restricted mean arrival time, up to the horizon", "step"),
    "mean_after": ("the same with every event at the record before", "step"),
    "seeds": ("members counted", "1"),
    "events": ("members that arrived", "1"),
    "censored": ("members whose protocol ended before they arrived", "1"),
}


def _said(name: str) -> dict[str, str]:
    """Units and words of a result, the end of an interval included."""
    for suffix, end in (("_low", "lower"), ("_high", "upper")):
        if name.endswith(suffix):
            long_name, units = _SAYS[name.removesuffix(suffix)]
            return {"units": units, "long_name": f"{end} end of the interval of the {long_name}"}
    long_name, units = _SAYS[name]
    return {"units": units, "long_name": long_name}


def log_rank(
    ds: xr.Dataset,
    along: str,
    measure: str | None = None,
    *,
    below: float | None = None,
    times: xr.Dataset | None = None,
) -> xr.Dataset:
    """The log-rank test that the cells along an axis share one survival curve.

        Z_g = Σ_i (d_gi − d_i n_gi/n_i),    χ² = Zᵀ V⁻ Z  with the hypergeometric covariance V of the Z_g

    **Arguments:** `along`: the axis whose cells are compared; `measure`, `below` and `times` as in `survival`.

    **Returns:** over the other axes `statistic`, `degrees` (cells − 1; those without a member do not count) and
    `p_value`. The test takes members as independent: cells that share their seeds are alike where seeds matter, which
    makes it conservative. Mantel 1966, Cancer Chemother. Rep. 50, 163–170.

    **Raises:** `ValueError` for an axis that is not there, or has one value; and as `survival`.
    """
    require_axis(ds, "along", along)
    if ds.sizes[along] < 2:
        raise ValueError(f"along: got {along!r}, which has one value; a test needs two cells to compare")
    arrival = times_of(ds, measure, below, times)
    statistic, degrees, p_value = xr.apply_ufunc(
        np.vectorize(_log_rank, signature="(g,n),(g,n),(g,n)->(),(),()"),
        arrival.by,
        arrival.event,
        arrival.counted,
        input_core_dims=[[along, "seed"]] * 3,
        output_core_dims=[[], [], []],
        dask="parallelized",
        output_dtypes=[float] * 3,
        dask_gufunc_kwargs={"allow_rechunk": True},
    )
    result = xr.Dataset({"statistic": statistic, "degrees": degrees, "p_value": p_value})
    says = {"statistic": "log-rank χ²", "degrees": "degrees of freedom", "p_value": "p-value; NaN: nothing to compare"}
    for name, long_name in says.items():
        result[name].attrs = {"units": "1", "long_name": long_name}
    result.attrs = {"event": arrival.what, "along": along}
    return result


def _horizon(ds: xr.Dataset) -> float:
    """The end of the shortest follow-up: the fewest steps of a member that ran them all, else the most of any."""
    stop = ds["stop_step"]
    ran = stop.where(ds["status"] == STATUS["max_steps"]).min()
    most = stop.where(finished(ds)).max()
    ran, most = float(ran), float(most)
    return ran if np.isfinite(ran) else (most if np.isfinite(most) else 0.0)


def _grid(ds: xr.Dataset, times: Times, has_records: bool, horizon: float) -> np.ndarray:
    if has_records:
        return ds["step"].values.astype(float)
    by = times.by.where(np.isfinite(times.by) & times.event & times.counted)
    first, last = float(by.min()), float(by.max())
    if not np.isfinite(first):
        return np.array([0.0, horizon])
    return np.unique([0.0, *np.geomspace(max(first, 1.0), max(last, horizon, 1.0), 200).round()])


def _log_rank(by: np.ndarray, event: np.ndarray, counted: np.ndarray) -> tuple[float, float, float]:
    groups = [g for g in range(len(by)) if counted[g].any()]
    ends = [np.sort(by[g][counted[g]]) for g in groups]
    events = [np.sort(by[g][counted[g] & event[g] & np.isfinite(by[g])]) for g in groups]
    moments = np.unique(np.concatenate([*events, []]))
    if len(groups) < 2 or not len(moments):
        return np.nan, float(max(len(groups) - 1, 0)), np.nan
    risk = np.array([len(e) - np.searchsorted(e, moments, side="left") for e in ends], float)
    died = np.array([np.diff(np.searchsorted(e, moments, side="right"), prepend=0) for e in events], float)
    n, d = risk.sum(axis=0), died.sum(axis=0)
    z = (died - d * risk / n).sum(axis=1)
    share = risk / n
    scale = d * np.where(n > 1, (n - d) / np.maximum(n - 1, 1), 0.0)
    V = np.diag((scale * share).sum(axis=1)) - (scale * share) @ share.T
    # One of the Z_g follows from the others.
    z, V = z[:-1], V[:-1, :-1]
    if not np.any(V):
        return np.nan, float(len(groups) - 1), np.nan
    statistic = float(z @ np.linalg.pinv(V) @ z)
    degrees = len(groups) - 1
    return statistic, float(degrees), float(chi2.sf(statistic, degrees))
