"""Learning curves: how a measure falls along an axis (samples, width), and whether it rises to a peak in between.

Seeds share their teachers and the beginnings of their samples along the axis, so that points are compared seed by seed.
"""

from itertools import combinations

import numpy as np
import xarray as xr
from scipy.stats import t as student

from .members import largest, probe, sound, standard
from .selection import require_axis
from .statistics import LEVEL, require_level


def learning_curve(ds: xr.Dataset, along: str, measure: str = "loss", *, level: float = LEVEL) -> xr.Dataset:
    """The geometric mean over seeds of a measure along an axis, and its local exponent.

        slope_k = mean over seeds of ln(q_k/q_{k−1}) / ln(v_k/v_{k−1})

    at the points v_k of the axis: −1 where the measure falls as 1/n. Paired: every seed has its own ratio.

    **Arguments:** a dataset with the axis `along` of positive numbers; a positive measure (of every teacher neuron or
    neuron: the largest). Members that diverged or have no result do not count.

    **Returns:** over the axes: `mean`, `low`, `high` (t-interval of the mean logarithm), `seeds`; `slope`, `slope_low`,
    `slope_high` of the step to a point from the one before it, NaN at the first.

    **Raises:** `ValueError` for an axis or a measure that is not there, an axis of texts or of values ≤ 0, and a
    measure that is ≤ 0 for some member: leaving that out would raise the mean.
    """
    require_level(level)
    values, logs = _logarithms(ds, along, measure)
    mean, half, count = _t_interval(logs, level)
    steps = np.diff(np.log(values), prepend=np.nan)
    slope, slope_half, _ = _t_interval(logs.diff(along, label="upper") / xr.DataArray(steps[1:], dims=along), level)
    slope, slope_half = (x.reindex({along: logs[along]}) for x in (slope, slope_half))
    name = ds[measure].attrs.get("long_name", measure)
    units = ds[measure].attrs.get("units", "1")
    said = {
        "mean": (np.exp(mean), units, f"geometric mean over seeds of {name}"),
        "low": (np.exp(mean - half), units, f"lower end of its {level:.0%} t-interval"),
        "high": (np.exp(mean + half), units, f"upper end of its {level:.0%} t-interval"),
        "seeds": (count, "1", "members counted"),
        "slope": (slope, "1", f"local exponent of {name} in {along}, paired by seed"),
        "slope_low": (slope - slope_half, "1", f"lower end of its {level:.0%} t-interval"),
        "slope_high": (slope + slope_half, "1", f"upper end of its {level:.0%} t-interval"),
    }
    return _labelled(said, ds)


def double_descent(ds: xr.Dataset, along: str, measure: str = "loss", *, level: float = LEVEL) -> xr.Dataset:
    """Whether a measure falls, rises to a peak and falls again along an axis.

    The peak is the interior point at which the smaller of `rise` and `fall` is largest: the mean over seeds of the
    logarithm of the measure there over that at the least point before, and at the least one after it. All pairs of
    points are compared at a level that covers every one of them (Bonferroni): a pair may be chosen by its value.

    **Arguments:** as `learning_curve`, with three values or more.

    **Returns:** over the other axes: `peak`, the value of the axis; `rise` and `fall` with `_low` and `_high`;
    `is_double`: whether both are above 0 beyond doubt.

    **Raises:** `ValueError` as `learning_curve`, and for fewer than three values.
    """
    require_level(level)
    values, logs = _logarithms(ds, along, measure)
    if len(values) < 3:
        raise ValueError(f"along: got {len(values)} values of {along!r}; a peak in between needs three or more")
    pairs = list(combinations(range(len(values)), 2))
    each = 1.0 - (1.0 - level) / len(pairs)
    table = {}
    for i, j in pairs:
        mean, half, _ = _t_interval(logs.isel({along: j}, drop=True) - logs.isel({along: i}, drop=True), each)
        table[i, j] = mean, mean - half, mean + half
    others = [dim for dim in logs.dims if dim not in (along, "seed")]
    mean = logs.mean("seed")
    shape = tuple(logs.sizes[dim] for dim in others)
    found = {name: np.full(shape, np.nan) for name in ("peak", *(f"{n}{e}" for n in ("rise", "fall") for e in _ENDS))}
    for place in np.ndindex(*shape):
        at = dict(zip(others, place, strict=True))
        curve = mean.isel(at).transpose(along).values
        if not np.all(np.isfinite(curve)):
            continue
        before, peak, after = _triple(curve)
        found["peak"][place] = values[peak]
        rise, fall = ([x.isel(at).item() for x in table[pair]] for pair in ((before, peak), (peak, after)))
        falls = -fall[0], -fall[2], -fall[1]
        for end, up, down in zip(_ENDS, rise, falls, strict=True):
            found[f"rise{end}"][place], found[f"fall{end}"][place] = up, down
    double = (found["rise_low"] > 0) & (found["fall_low"] > 0)
    words = {
        "peak": f"{along} at the peak",
        "rise": "ln of the peak over the least point before it, paired by seed",
        "fall": "ln of the peak over the least point after it, paired by seed",
    }
    ends = {"_low": f"lower end of its simultaneous {level:.0%} interval", "_high": "upper end of it"}
    said = {}
    for name, array in found.items():
        end = next((text for suffix, text in ends.items() if name.endswith(suffix)), None)
        said[name] = (xr.DataArray(array, dims=others), "1", end or words[name])
    said["is_double"] = (xr.DataArray(double, dims=others), "1", "whether both ends of the peak are below it")
    result = _labelled(said, ds)
    return result.assign_coords({dim: logs[dim] for dim in others})


_ENDS = ("", "_low", "_high")


def _triple(curve: np.ndarray) -> tuple[int, int, int]:
    """(least before, peak, least after) of the interior point that stands out most on its lower side."""
    inner = range(1, len(curve) - 1)
    heights = [min(curve[k] - curve[:k].min(), curve[k] - curve[k + 1 :].min()) for k in inner]
    peak = 1 + int(np.argmax(heights))
    return int(np.argmin(curve[:peak])), peak, peak + 1 + int(np.argmin(curve[peak + 1 :]))


def _logarithms(ds: xr.Dataset, along: str, measure: str) -> tuple[np.ndarray, xr.DataArray]:
    """(values of the axis in increasing order, logarithms of a measure; NaN where a member does not count)."""
    ds = standard(ds)
    require_axis(ds, "along", along)
    found = largest(probe(ds, measure)).compute()
    values = ds[along].values
    if values.dtype.kind not in "iuf" or not np.all(values > 0):
        raise ValueError(
            f"along: got {along!r} with values {values.tolist()}; a curve needs an axis of positive numbers"
        )
    counts = sound(ds).compute()
    found = found.where(counts).sortby(along)
    if none := int((found <= 0).sum()):
        raise ValueError(
            f"measure: got {measure!r}, which is 0 or less for {none:,} of {int(found.notnull().sum()):,} members; a "
            "geometric mean needs a positive one: take another, or select the points where it is positive"
        )
    return found[along].values.astype(float), xr.ufuncs.log(found)


def _t_interval(values: xr.DataArray, level: float) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """(mean over seeds, half-width of Student's interval, seeds); infinite for one seed."""
    count = values.notnull().sum("seed")
    some = count.where(count > 1)
    quantile = xr.apply_ufunc(lambda n: student.ppf(0.5 * (1.0 + level), n - 1), some)
    half = quantile * values.std("seed", ddof=1) / np.sqrt(some)
    return values.mean("seed"), half.where(count > 1, np.inf), count


def _labelled(said: dict[str, tuple[xr.DataArray, str, str]], ds: xr.Dataset) -> xr.Dataset:
    made = {name: values.assign_attrs(units=units, long_name=text) for name, (values, units, text) in said.items()}
    return xr.Dataset(made, attrs={"study": ds.attrs["study"], "study_hash": ds.attrs["study_hash"]})
