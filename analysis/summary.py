"""The summary of a dataset: per cell, how members ended and how well, with seeds counted and intervals."""

import numpy as np
import xarray as xr

from ensemble import STATUS

from .members import axes, finished, probe, require_threshold, standard
from .statistics import quantiles, share
from .times.convergence import stopping_time, time_below, time_quantiles

QUANTILES = (0.1, 0.5, 0.9)


def summary(
    ds: xr.Dataset, measure: str = "max_angle", below: float = 0.02, measures: tuple[str, ...] | None = None
) -> xr.Dataset:
    """Statistics over seeds of every cell.

    **Arguments:** times are those from which on `measure` ≤ `below` where the measure has a history; without one those
    at which the stop rule was met, and attribute `reached` says which: `below` or `converged`. `measures` are the
    probes whose quantiles are given: by default those of loss and the angles that the dataset holds.

    **Returns:** a dataset over the axes:

    - `status_share`, `_low`, `_high` (dimension `outcome`): shares of each status, 95% Wilson;
    - for every probe p: `p`, `p_low`, `p_high` (dimension `quantile`), 95% order-statistic intervals;
    - `time`, `time_low`, `time_high` (dimension `quantile`): these times in steps, +∞ beyond the share of members that
      have one; `censored`, `_low`, `_high`: the share that has none;
    - `seeds`: finished members.
    """
    ds = standard(ds)
    counted = finished(ds)
    out = xr.Dataset({"seeds": counted.sum("seed")})
    out["seeds"].attrs = {"units": "1", "long_name": "finished members"}
    outcomes = ["converged", "max_steps", "diverged"]
    parts = [share(ds["status"] == STATUS[name], among=counted) for name in outcomes]
    _add_share(out, "status_share", xr.concat(parts, xr.Variable("outcome", np.array(outcomes))))
    if measures is None:
        measures = tuple(m for m in ("loss", "mean_angle", "max_angle") if m in ds)
    for name in measures:
        _add_quantiles(out, name, quantiles(probe(ds, name), QUANTILES, counted))
    if f"{measure}_history" in ds:
        require_threshold(below)
        times = time_below(ds, measure, below)["by"]
    else:
        times = stopping_time(ds)
    _add_quantiles(out, "time", time_quantiles(times, counted, QUANTILES))
    out["time"].attrs["long_name"] = times.attrs["long_name"]
    _add_share(out, "censored", share(times == np.inf, among=counted))
    out.attrs = {
        "study": ds.attrs["study"],
        "study_hash": ds.attrs["study_hash"],
        "complete": ds.attrs["complete"],
        "reached": "below" if f"{measure}_history" in ds else "converged",
    }
    return out.transpose(*axes(ds), ...)


def _add_share(out: xr.Dataset, name: str, shares: xr.Dataset) -> None:
    for suffix, part in (("", "share"), ("_low", "low"), ("_high", "high")):
        out[name + suffix] = shares[part]


def _add_quantiles(out: xr.Dataset, name: str, values: xr.Dataset) -> None:
    for suffix, part in (("", "value"), ("_low", "low"), ("_high", "high")):
        out[name + suffix] = values[part]
