"""When members leave a plateau of a measure for good: escape times, as censored data that `survival` takes."""

import functools
from typing import Any

import numpy as np
import xarray as xr

from ..members import history, largest, sound, standard
from .convergence import arrivals

_END = 1e-3
"""The part of its first value at which a measure has come to its end, and rests on no plateau."""


def escape_times(
    ds: xr.Dataset,
    measure: str = "loss",
    *,
    plateau: float | xr.DataArray | None = None,
    tolerance: float = 0.1,
    fraction: float = 0.5,
    floor: float | None = None,
) -> xr.Dataset:
    """When each member leaves the plateau of a measure for good.

        the first record r with q_s ≤ fraction · h for all s ≥ r

    The height h is that of the member's own plateau: its longest stretch of records, in steps, over which q > `floor`
    stays within a factor 1 + `tolerance`, if the stretch lasts at least as long as the fall from its end to
    `fraction` · h or, where that never comes, as the fall to its begin from h/`fraction`. So an exponential or a power
    law has no plateau. A member without one is measured by the median height over the seeds of its cell.

    **Arguments:**

    - `measure`: a positive probe with a history; of every teacher neuron or neuron, the largest.
    - `plateau`: h where it is known, in units of the measure, of all members or over axes and `seed`; nothing is then
      sought.
    - `tolerance` > 0; `fraction` between 0 and 1/(1 + `tolerance`).
    - `floor`: what is not above it is an end, such as a noise floor, and no plateau; by default 10⁻³ of the member's
      first record. A plateau that lasts up to the end of the run is taken for one that is not left.

    **Returns:** over the axes and `seed`, for `survival(ds, times=…)` and `log_rank`:

    - `by`, `after` (steps): the member escaped in (`after`, `by`], two neighbouring records; `by` is +∞ where it did
      not, and NaN where no member of its cell has a plateau;
    - `below`: whether it escaped; a diverged member does not; `observed`: the step up to which it was followed;
    - `height`: h; `plateau_begin`, `plateau_end` (steps): its own plateau, NaN where it has none.

    **Raises:** `ValueError` for a measure without a history, and numbers out of their range.
    """
    _check(plateau, tolerance, fraction, floor)
    ds = standard(ds)
    values = largest(history(ds, measure))
    stop = ds["stop_step"].astype(float)
    counted = sound(ds)
    if plateau is None:
        least = _END * values.isel(record=0, drop=True) if floor is None else xr.full_like(stop, floor)
        # Records after the stop repeat the last value: no plateau goes on there.
        steps = np.minimum(xr.DataArray(ds["step"].values.astype(float), dims="record"), stop)
        own, begin, end = xr.apply_ufunc(
            functools.partial(_plateaus, within=float(np.log1p(tolerance)), fraction=fraction),
            values,
            steps,
            least,
            counted,
            input_core_dims=[["record"], ["record"], [], []],
            output_core_dims=[[]] * 3,
            dask="parallelized",
            output_dtypes=[float] * 3,
            dask_gufunc_kwargs={"allow_rechunk": True},
        )
        middle = own.compute().median("seed")
        high = own.fillna(middle)
    else:
        high = xr.ones_like(stop) * plateau
        begin = end = xr.full_like(stop, np.nan)
    found = arrivals(ds, values <= fraction * high)
    found["by"] = found["by"].where(high.notnull())
    found = found.assign(height=high, plateau_begin=begin, plateau_end=end).drop_vars("step", errors="ignore")
    what = f"{measure} ≤ {fraction:g} × the height of its plateau"
    said = {
        "by": ("step", f"first record from which on {what}; ∞: never, NaN: no plateau"),
        "after": ("step", f"last record at which not yet {what}"),
        "below": ("1", f"whether {what} was reached for good"),
        "observed": ("step", "steps up to which the member was followed"),
        "height": (values.attrs.get("units", "1"), f"height of the plateau of {measure}; NaN: none"),
        "plateau_begin": ("step", "first record of the member's own plateau; NaN: none"),
        "plateau_end": ("step", "last record of the member's own plateau; NaN: none"),
    }
    for name, (units, long_name) in said.items():
        found[name].attrs = {"units": units, "long_name": long_name}
    found.attrs = {"event": f"{what} for good", "reached": "escaped"}
    return found.transpose(*ds["status"].dims, ...)


def _plateaus(
    values: np.ndarray, steps: np.ndarray, least: np.ndarray, sound: np.ndarray, within: float, fraction: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(height, first step, last step) of members' plateaus along the last dimension; NaN where there is none."""
    values, steps = np.broadcast_arrays(values.astype(float), steps)
    high = (values > least[..., None]) & sound[..., None]
    # NaN ends a stretch: extremes that have seen one are never within the tolerance.
    logs = np.log(np.where(high, values, np.nan))
    count = values.shape[-1]
    longest, first, last = (np.zeros(least.shape, kind) for kind in (float, int, int))
    for begin in range(count):
        rest = logs[..., begin:]
        flat = np.maximum.accumulate(rest, -1) - np.minimum.accumulate(rest, -1) <= within
        end = np.maximum(begin + flat.sum(-1) - 1, begin)
        length = _at(steps, end) - steps[..., begin]
        longer = length > longest
        longest, first, last = (
            np.where(longer, new, old) for new, old in ((length, longest), (begin, first), (end, last))
        )
    place = np.arange(count)
    inside = (place >= first[..., None]) & (place <= last[..., None])
    lowest = np.where(inside, logs, np.inf).min(-1)
    height = np.exp(0.5 * (lowest + np.where(inside, logs, -np.inf).max(-1)))
    # How many last records are all below: the fall ends at the first of them, and takes the least time before it.
    stays = np.cumprod((values <= fraction * height[..., None])[..., ::-1], -1).sum(-1)
    left = stays > 0
    fall = _at(steps, np.maximum(count - stays - 1, last)) - _at(steps, last)
    above = (values >= height[..., None] / fraction) & (place < first[..., None])
    before = np.where(above.any(-1), count - np.argmax(above[..., ::-1], -1), 0)
    approach = _at(steps, first) - _at(steps, np.minimum(before, first))
    is_plateau = (longest > 0) & (longest >= np.where(left, fall, approach))
    begins, ends = _at(steps, first), _at(steps, last)
    return (
        np.where(is_plateau, height, np.nan),
        np.where(is_plateau, begins, np.nan),
        np.where(is_plateau, ends, np.nan),
    )


def _at(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, index[..., None], -1)[..., 0]


def _check(plateau: Any, tolerance: float, fraction: float, floor: float | None) -> None:
    if not (np.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"tolerance: got {tolerance}; give a number above 0, such as 0.1 for a plateau within 10%")
    most = 1.0 / (1.0 + tolerance)
    if not 0 < fraction < most:
        raise ValueError(
            f"fraction: got {fraction}; a plateau within {tolerance:.0%} is left below {most:.2g} of its height: give "
            "a number between 0 and that"
        )
    if floor is not None and not (np.isfinite(floor) and floor >= 0):
        raise ValueError(f"floor: got {floor}; give a value of the measure ≥ 0")
    if plateau is not None:
        if floor is not None:
            raise ValueError(f"floor: got {floor} with a plateau; a given height needs none: leave one out")
        if not np.all(np.asarray(plateau) > 0) or np.any(np.isinf(plateau)):
            raise ValueError(f"plateau: got {np.ravel(plateau).tolist()[:3]}; give positive numbers")
