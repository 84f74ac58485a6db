"""When members arrive: below a tolerance for good, known between records, or at their stop rule (converged).

The first step at which a measure is ≤ ε and stays so is known to lie in (`after`, `by`], two neighbouring records; a
member that never gets there while it runs is right-censored: `below` is false and `by` is +∞. "Converged" is said of
a member that a stop rule ended, and of nothing else.
"""

import numpy as np
import xarray as xr

from ensemble import STATUS

from ..members import history, largest, sound, standard, with_units
from ..statistics import quantiles


def time_below(ds: xr.Dataset, measure: str, below: float) -> xr.Dataset:
    """When `measure` falls to ≤ `below` and stays there, per member.

    **Arguments:** a dataset with a history of `measure`; the tolerance, in the measure's units.

    **Returns:** `by` and `after` (steps; the time lies in (after, by], and is 0 where `by` is 0), `below`, whether it
    got there, and `observed`, the step up to which the member was followed. A diverged or unfinished member does not.

    **Raises:** `ValueError` where the measure or its history is not in the dataset.
    """
    if not below > 0:
        raise ValueError(f"below: got {below}; a tolerance must be positive")
    ds = standard(ds)
    values = largest(history(ds, measure))
    result = arrivals(ds, values <= below)
    threshold = f"{measure} ≤ {below:g} {values.attrs.get('units', '')}".strip()
    result["by"].attrs = {
        "units": "step",
        "long_name": f"first record from which on {threshold}; ∞: not reached",
    }
    result["after"].attrs = {"units": "step", "long_name": f"last record at which not yet {threshold}"}
    result["below"].attrs = {"units": "1", "long_name": f"whether {threshold} was reached for good"}
    result["observed"].attrs = {"units": "step", "long_name": "steps up to which the member was followed"}
    result.attrs = {
        "event": f"{measure} ≤ {with_units(below, values.attrs.get('units', '1'))} for good",
        "reached": "below",
    }
    return result


def arrivals(ds: xr.Dataset, inside: xr.DataArray) -> xr.Dataset:
    """What `time_below` returns, where `inside` says at which records a member is inside."""
    # Counted from the end: how many last records are all inside.
    stays = inside.isel(record=slice(None, None, -1)).astype(int).cumprod("record").sum("record")
    count = ds.sizes["record"]
    arrived = (stays > 0) & sound(ds)
    first = (count - stays).clip(0, count - 1)
    step = xr.DataArray(ds["step"].values.astype(float), dims="step_index")
    at = step[first.compute()]
    before = xr.where(first > 0, step[(first - 1).clip(0).compute()], 0.0)
    stop = ds["stop_step"].astype(float)
    # Records after the stop repeat the final value: the member was there by its stop.
    result = xr.Dataset(
        {
            "by": xr.where(arrived, np.minimum(at, stop), np.inf),
            "after": xr.where(arrived, np.minimum(before, stop), stop),
            "below": arrived,
            "observed": stop,
        }
    )
    return result.drop_vars("step", errors="ignore")


def stopping_time(ds: xr.Dataset) -> xr.DataArray:
    """The step at which each member's last stage was ended by its rule; +∞ where none was."""
    ds = standard(ds)
    time = xr.where(ds["status"] == STATUS["converged"], ds["stop_step"].astype(float), np.inf)
    time.attrs = {"units": "step", "long_name": "step at which the stop rule was met; ∞: never"}
    return time


def time_quantiles(times: xr.DataArray, among: xr.DataArray, q: tuple[float, ...] = (0.5,)) -> xr.Dataset:
    """Quantiles of times in which +∞ stands for "not within the run", with order-statistic intervals.

    Exact for members that are all followed to the end of the same protocol; a quantile is +∞ where fewer
    than that share arrives.
    """
    return quantiles(times, q, among)
