"""Arrival times as censored data: survival curves, medians, restricted means, log-rank tests.

A member arrives where it is below a tolerance for good or, without one, where its stop rule is met (converged).
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

from .convergence import stopping_time, time_below
from .members import finished, require_axis, standard, with_units
from .statistics import LEVEL, wilson


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


def times_of(ds: xr.Dataset, measure: str | None, below: float | None) -> Times:
    """The arrival times of all finished members: of a measure and a tolerance, or of the stop rule.

    **Raises:** `ValueError` for a measure without a history, a tolerance that is not positive, or one of both alone.
    """
    if (measure is None) != (below is None):
        raise ValueError(f"below: got measure = {measure!r} with below = {below}; give both, or none for the stop rule")
    ds = standard(ds)
    counted = finished(ds)
    stop = ds["stop_step"].astype(float)
    if measure is None or below is None:
        by = stopping_time(ds)
        reached, after = ds["status"] == STATUS["converged"], by - 1.0
        what, word = "the stop rule is met", "converged"
    else:
        found = time_below(ds, measure, below)
        by, after, reached = found["by"], found["after"], found["below"]
        what, word = f"{measure} ≤ {with_units(below, ds[measure].attrs['units'])} for good", "below"
    censored = ~reached & (ds["status"] == STATUS["max_steps"])
    after = xr.where(reached, after, xr.where(censored, stop, np.inf))
    return Times(after, xr.where(censored, stop, by), ~censored, counted, what, word)


def survival(
    ds: xr.Dataset,
    measure: str | None = None,
    *,
    below: float | None = None,
    steps: np.ndarray | None = None,
    level: float = LEVEL,
) -> xr.Dataset:
    """Kaplan–Meier curves of every cell, and what is read off them.

        S(t) = Π_{t_i ≤ t} (1 − d_i/n_i)          d_i members arrive at t_i, n_i had not before

    **Arguments:** `measure` ≤ `below` for good is the arrival; without both it is that the stop rule was met. `steps`:
    those at which curves are given (the records; without a history 200 log-spaced ones). `level` of all intervals.

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
      called, `below` or `converged`.

    **Raises:** `ValueError` for a measure that is not there or has no history, and a tolerance that is not positive.
    """
    ds = standard(ds)
    times = times_of(ds, measure, below)
    horizon = _horizon(ds)
    grid = _grid(ds, times, measure, horizon) if steps is None else np.asarray(steps, float)

    def reduce(after, by, event, counted):
        late, early = _Curve(by, event, counted), _Curve(after, event, counted)
        curve = late.at(grid, level)
        median, median_high = late.quantile(0.5, level)[::2]
        median_after, median_low = early.quantile(0.5, level)[:2]
        mean, _, mean_high = late.restricted_mean(horizon, level)
        mean_after, mean_low, _ = early.restricted_mean(horizon, level)
        ends = [x[..., 0] for x in late.at(np.array([np.finfo(float).max]), level)]
        means = (mean, mean_low, mean_high, mean_after)
        return (*curve, median, median_low, median_high, median_after, *ends, *means)

    names = ("survival", "survival_low", "survival_high", "median", "median_low", "median_high", "median_after")
    names += ("never", "never_low", "never_high", "mean", "mean_low", "mean_high", "mean_after")
    found = xr.apply_ufunc(
        reduce,
        *times[:4],
        input_core_dims=[["seed"]] * 4,
        output_core_dims=[["step"]] * 3 + [[]] * 11,
        dask="parallelized",
        output_dtypes=[float] * 14,
        dask_gufunc_kwargs={"output_sizes": {"step": len(grid)}, "allow_rechunk": True},
    )
    result = xr.Dataset(dict(zip(names, found, strict=True)))
    arrives = times.counted & times.event & np.isfinite(times.by)
    result["seeds"] = times.counted.sum("seed")
    result["events"] = arrives.sum("seed")
    result["censored"] = (times.counted & ~times.event).sum("seed")
    result = result.assign_coords(step=("step", grid, {"units": "step", "long_name": "descent steps"}))
    for name in result.data_vars:
        long_name, units = _SAYS[str(name).removesuffix("_low").removesuffix("_high")]
        end = {"_low": "lower end of the interval of the ", "gh": "upper end of the interval of the "}
        said = next((text for suffix, text in end.items() if str(name).endswith(suffix)), "")
        result[name].attrs = {"units": units, "long_name": said + long_name}
    result.attrs = {
        "event": times.what,
        "reached": times.reached,
        "horizon": horizon,
        "level": level,
        "study": ds.attrs["study"],
        "study_hash": ds.attrs["study_hash"],
    }
    return result


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


def log_rank(ds: xr.Dataset, along: str, measure: str | None = None, *, below: float | None = None) -> xr.Dataset:
    """The log-rank test that the cells along an axis share one survival curve.

        Z_g = Σ_i (d_gi − d_i n_gi/n_i),    χ² = Zᵀ V⁻ Z  with the hypergeometric covariance V of the Z_g

    **Arguments:** `along`: the axis whose cells are compared; `measure` and `below` as in `survival`.

    **Returns:** over the other axes `statistic`, `degrees` (cells − 1; those without a member do not count) and
    `p_value`. The test takes members as independent: cells that share their seeds are alike where seeds matter, which
    makes it conservative. Mantel 1966, Cancer Chemother. Rep. 50, 163–170.

    **Raises:** `ValueError` for an axis that is not there, or has one value; and as `survival`.
    """
    require_axis(ds, "along", along)
    if ds.sizes[along] < 2:
        raise ValueError(f"along: got {along!r}, which has one value; a test needs two cells to compare")
    times = times_of(ds, measure, below)
    statistic, degrees, p_value = xr.apply_ufunc(
        np.vectorize(_log_rank, signature="(g,n),(g,n),(g,n)->(),(),()"),
        times.by,
        times.event,
        times.counted,
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
    result.attrs = {"event": times.what, "along": along}
    return result


def _horizon(ds: xr.Dataset) -> float:
    """The end of the shortest follow-up: the fewest steps of a member that ran them all, else the most of any."""
    stop = ds["stop_step"]
    ran = stop.where(ds["status"] == STATUS["max_steps"]).min()
    most = stop.where(finished(ds)).max()
    ran, most = float(ran), float(most)
    return ran if np.isfinite(ran) else (most if np.isfinite(most) else 0.0)


def _grid(ds: xr.Dataset, times: Times, measure: str | None, horizon: float) -> np.ndarray:
    if measure is not None:
        return ds["step"].values.astype(float)
    by = times.by.where(np.isfinite(times.by) & times.event & times.counted)
    first, last = float(by.min()), float(by.max())
    if not np.isfinite(first):
        return np.array([0.0, horizon])
    return np.unique([0.0, *np.geomspace(max(first, 1.0), max(last, horizon, 1.0), 200).round()])


class _Curve:
    """Kaplan–Meier curves along the last dimension; members that do not count are left out.

    Members are taken one by one in order of time, events before censorings of the same step: the factors of events
    at one time multiply to 1 − d/n.
    """

    def __init__(self, time: np.ndarray, event: np.ndarray, counted: np.ndarray):
        time = np.where(counted, time, np.inf)
        event = event & counted & np.isfinite(time)
        order = np.lexsort((~event, time), axis=-1)
        self.time = np.take_along_axis(time, order, -1)
        self.event = np.take_along_axis(event, order, -1)
        self.n = counted.sum(axis=-1)[..., None]
        risk = np.maximum(self.n - np.arange(time.shape[-1]), 0)
        safe = np.maximum(risk, 1)
        self.survival = np.cumprod(np.where(self.event, (safe - 1) / safe, 1.0), axis=-1)
        self.greenwood = np.cumsum(np.where(self.event & (risk > 1), 1.0 / (safe * np.maximum(safe - 1, 1)), 0.0), -1)
        self.risk = safe
        # How many were followed up to each time: those of the same time all were.
        new = np.concatenate([np.ones_like(event[..., :1]), self.time[..., 1:] != self.time[..., :-1]], -1)
        begin = np.maximum.accumulate(np.where(new, np.arange(time.shape[-1]), 0), -1)
        self.followed = np.maximum(self.n - begin, 0)
        before = np.take_along_axis(self.survival, np.maximum(begin - 1, 0), -1)
        self.before = np.where(begin > 0, before, 1.0)

    def _size(self) -> np.ndarray:
        """The effective sample size of the curve at every time: how many uncensored members would know S as well.

        Greenwood's variance says (1 − S)/(S Σ d/(n(n − d))), which forgets that members are missing where none of
        those left has an event, and is all of them where the last one does; the members at risk say n_i/S(t_i−) (Peto
        et al. 1977, Br. J. Cancer 35, 1–39), which is too few. Their harmonic mean, the first counted twice: where
        their coverage errs as far to either side (tests/test_survival.py). All are n without censoring.
        """
        at_risk = self.followed / np.where(self.before > 0, self.before, 1.0)
        inside = (self.survival > 0.0) & (self.greenwood > 0.0)
        spread = np.where(inside, self.survival * self.greenwood, 1.0)
        greenwood = np.where(inside, (1.0 - self.survival) / spread, at_risk)
        both = greenwood + 2.0 * at_risk
        return np.where(both > 0, 3.0 * greenwood * at_risk / np.where(both > 0, both, 1.0), 0.0)

    def _bounds(self, survival: np.ndarray, size: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Wilson's interval at the effective sample size."""
        low, high = wilson(survival * size, size, level)
        return np.where(survival <= 0.0, 0.0, low), np.where(survival >= 1.0, 1.0, high)

    def at(self, grid: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(S, low, high) at some times: a new last dimension."""
        shape = (*self.time.shape[:-1], len(grid))
        flat = self.time.reshape(-1, self.time.shape[-1])
        index = np.array([np.searchsorted(row, grid, side="right") for row in flat], int).reshape(shape) - 1
        at = np.maximum(index, 0)
        some = index >= 0

        def pick(values, before):
            return np.where(some, np.take_along_axis(values, at, -1), before)

        survival = pick(self.survival, 1.0)
        low, high = self._bounds(survival, pick(self._size(), self.n), level)
        none = self.n == 0
        return np.where(none, np.nan, survival), np.where(none, 0.0, low), np.where(none, 1.0, high)

    def quantile(self, q: float, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(time at which S falls to 1 − q, and those at which the lower and the upper end of its interval do)."""
        low, high = self._bounds(self.survival, self._size(), level)
        # Inside a run of tied events the curve is not the one after all of them.
        last = np.concatenate([self.time[..., 1:] != self.time[..., :-1], np.ones_like(self.event[..., :1])], -1)

        def first(curve):
            reached = (curve <= 1.0 - q + 1e-12) & last & np.isfinite(self.time)
            found = np.take_along_axis(self.time, np.argmax(reached, -1)[..., None], -1)[..., 0]
            return np.where(reached.any(-1), found, np.inf)

        middle = np.where(self.n[..., 0] > 0, first(self.survival), np.nan)
        return middle, np.where(self.n[..., 0] > 0, first(low), 0.0), first(high)

    def restricted_mean(self, horizon: float, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(∫₀^τ S, and the ends of its interval).

        The time that events save, τ − ∫S, is a share p of members with an event times what one saves, s. The interval
        is Wilson's in p at the effective size at which the binomial variance s² p(1 − p)/n is Greenwood's, and s is
        the mean of what each event saves, weighted with it, and of one more event that saves all of τ: so that few
        events do not make an interval short because they came late or alike. Without an event it is that of 0 of n.
        """
        begin = np.zeros_like(self.time[..., :1])
        clipped = np.minimum(self.time, horizon)
        width = np.diff(np.concatenate([begin, clipped, begin + horizon], -1), axis=-1)
        height = np.concatenate([np.ones_like(begin), self.survival], -1)
        area = width * height
        mean = area.sum(-1)
        drop = np.where(self.event & (self.time < horizon), height[..., :-1] - self.survival, 0.0)
        saved = np.where(drop > 0, horizon - clipped, 0.0)
        lost, square = (drop * saved).sum(-1), (drop * saved**2).sum(-1)
        count = (drop > 0).sum(-1)
        unit = (np.where(lost > 0, square / np.where(lost > 0, lost, 1.0), 0.0) * count + horizon) / (count + 1)
        size = self._size_of_mean(area, mean, square - lost**2, drop)
        low, high = wilson(np.clip(lost / np.maximum(unit, 1e-300), 0.0, 1.0) * size, size, level)
        none = self.n[..., 0] == 0
        low, high = np.maximum(horizon - unit * high, 0.0), np.minimum(horizon - unit * low, horizon)
        return np.where(none, np.nan, mean), np.where(none, 0.0, low), np.where(none, horizon, high)

    def _size_of_mean(self, area: np.ndarray, mean: np.ndarray, variance: np.ndarray, drop: np.ndarray) -> np.ndarray:
        """How many uncensored members would know the mean as well: one member's variance over Greenwood's."""
        beyond = mean[..., None] - np.cumsum(area[..., :-1], -1)  # ∫ from each event to τ
        weight = np.where((drop > 0) & (self.risk > 1), 1.0 / (self.risk * np.maximum(self.risk - 1, 1)), 0.0)
        greenwood = (beyond**2 * weight).sum(-1)
        known = (greenwood > 0) & (variance > 0)
        size = np.where(known, variance / np.where(known, greenwood, 1.0), self.n[..., 0])
        return np.minimum(size, self.n[..., 0])


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
