"""How far members of finitely many inputs are from the equations of online learning, and how that falls with d."""

import numpy as np
import xarray as xr
from scipy.stats import t as t_distribution

from ..members import axes, history, sound, standard
from ..selection import require_axis
from ..statistics import LEVEL, require_level, require_sizes
from .order_parameters import solutions

_RESAMPLES = 2000
"""Of the seeds, for an interval."""


def order_deviation(ds: xr.Dataset, *, noise: float | None = None, batch: int | None = None) -> xr.Dataset:
    """How far the members of an ensemble are from the equations, each from its own start.

    **Arguments:** a dataset with a history of `loss`; `noise` and `batch` as in `order_parameters`.

    Members that diverged do not count.

    **Returns:** over axes and `record`: `measured` and `solution`, means of the loss over seeds; `mean` of loss −
    solution with `mean_low`, `mean_high` (95%, Student's t), its standard deviation `spread` over seeds, and `z` =
    mean/(standard error); over axes `seeds`, the members that count, `largest`, the largest |mean|/spread of the
    records at which the spread is above 1e-9 of the loss at the start, `typical`, the geometric mean of spread/solution
    over the times, on a log scale, that all cells have (of order d^−1/2), and `second_order` as `order_parameters`.

    **Raises:** `ValueError` as `order_parameters`, and where a cell has fewer than two members that count.
    """
    measured, solved, counted = _beside(standard(ds), noise, batch)
    count = counted.sum("seed")
    difference = (measured - solved["loss"]).where(counted)
    mean, spread = difference.mean("seed"), difference.std("seed", ddof=1)
    error = spread / np.sqrt(count)
    half = xr.apply_ufunc(lambda n: t_distribution.ppf(0.975, n - 1), count) * error
    typical = _typical(spread / solved["loss"].where(counted).mean("seed"), solved["time"])
    differs = spread > 1e-9 * measured.isel(record=0).mean("seed")
    data = {
        "measured": (measured.where(counted).mean("seed"), "mean loss over seeds"),
        "solution": (solved["loss"].where(counted).mean("seed"), "mean loss over seeds, from the equations"),
        "seeds": (count, "members counted"),
        "mean": (mean, "mean of loss − solution"),
        "mean_low": (mean - half, "low end of its 95% interval"),
        "mean_high": (mean + half, "high end of its 95% interval"),
        "spread": (spread, "standard deviation of loss − solution over seeds"),
        "z": ((mean / error).where(differs), "mean over its standard error"),
        "largest": ((abs(mean) / spread).where(differs).max("record"), "largest |mean|/spread of all records"),
        "typical": (typical, "geometric mean of spread/solution over times that all cells have"),
    }
    variables = {name: array.assign_attrs({"units": "1", "long_name": said}) for name, (array, said) in data.items()}
    attrs = {"study": ds.attrs["study"], "study_hash": ds.attrs["study_hash"]}
    variables["second_order"] = solved["second_order"]
    return xr.Dataset(variables, coords={"time": solved["time"], "step": solved["step"]}, attrs=attrs)


def deviation_exponent(
    ds: xr.Dataset, along: str, *, noise: float | None = None, batch: int | None = None, level: float = LEVEL
) -> xr.Dataset:
    """The power p by which the typical spread of members around the equations falls with the dimension.

        spread/solution ≈ C d^p,    −1/2 for fluctuations of independent samples

    **Arguments:** a dataset with a history of `loss` and the axis `along`, of numbers d > 0, two or more, and no other
    of several values; `noise` and `batch` as in `order_parameters`; `level` of the intervals, which are percentiles of
    2 000 resamples of the seeds, the same ones in every cell, since cells share their seeds' draws.

    **Returns:** over `along`: `typical` as `order_deviation` has it, with `typical_low` and `typical_high`; `exponent`
    of least squares of its logarithm, with `exponent_low` and `exponent_high`.

    **Raises:** `ValueError` as `order_deviation`, for a level that is none, and for axes that are not as said.
    """
    require_level(level)
    ds = standard(ds)
    require_axis(ds, "along", along)
    others = [name for name in axes(ds) if name != along and ds.sizes[name] > 1]
    if others:
        raise ValueError(f"along: got {along!r} beside {', '.join(others)}; choose one value of each with ds.sel")
    sizes = ds[along].values
    require_sizes("along", along, sizes)
    ds = ds.isel({name: 0 for name in axes(ds) if name != along}, drop=True)
    measured, solved, counted = _beside(ds, noise, batch)
    difference, solution = (
        x.where(counted).transpose(along, "seed", "record") for x in (measured - solved["loss"], solved["loss"])
    )
    rng = np.random.default_rng(0)
    rows = np.arange(ds.sizes["seed"])
    found = np.array(
        [_typical_of(difference, solution, solved["time"], rows)]
        + [_typical_of(difference, solution, solved["time"], rng.choice(rows, rows.size)) for _ in range(_RESAMPLES)]
    )
    exponents = np.polyfit(np.log(sizes.astype(float)), np.log(found).T, 1)[0]
    ends = 0.5 * (1.0 - level), 0.5 * (1.0 + level)
    low, high = np.nanquantile(found[1:], ends, axis=0)
    exponent_low, exponent_high = np.nanquantile(exponents[1:], ends)
    said = {
        "typical": ((along,), found[0], "geometric mean of spread/solution over times that all cells have"),
        "typical_low": ((along,), low, f"low end of its {level:.0%} bootstrap interval over seeds"),
        "typical_high": ((along,), high, "high end of it"),
        "exponent": ((), exponents[0], f"exponent of the typical spread in {along}"),
        "exponent_low": ((), exponent_low, f"low end of its {level:.0%} bootstrap interval over seeds"),
        "exponent_high": ((), exponent_high, "high end of it"),
    }
    data = {name: (dims, value, {"units": "1", "long_name": text}) for name, (dims, value, text) in said.items()}
    attrs = {"study": ds.attrs["study"], "study_hash": ds.attrs["study_hash"]}
    return xr.Dataset(data, coords={along: ds[along]}, attrs=attrs)


def _beside(ds: xr.Dataset, noise: float | None, batch: int | None) -> tuple[xr.DataArray, xr.Dataset, xr.DataArray]:
    """(measured losses, solutions, which members count) of a standard dataset.

    **Raises:** `ValueError` where a cell has fewer than two members that count.
    """
    measured = history(ds, "loss").load()
    counted = sound(ds).load()
    if int(counted.sum("seed").min()) < 2:
        raise ValueError(
            "seed: got a cell with fewer than two members that are finished and did not diverge; a deviation needs a "
            "spread"
        )
    return measured, solutions(ds, noise=noise, batch=batch), counted


def _typical_of(difference: xr.DataArray, solution: xr.DataArray, time: xr.DataArray, rows: np.ndarray) -> np.ndarray:
    """`_typical` of some seeds, of arrays over (cell, seed, record)."""
    spread = np.nanstd(difference.values[:, rows], axis=1, ddof=1)
    share = spread / np.nanmean(solution.values[:, rows], axis=1)
    return _typical(difference.isel(seed=0, drop=True).copy(data=share), time).values


def _typical(share: xr.DataArray, time: xr.DataArray) -> xr.DataArray:
    """The geometric mean of a positive history over log-spaced times between two records that every cell has."""
    values, times = share.transpose(..., "record"), time.transpose(..., "record").values
    later = np.where(times > 0.0, times, np.nan)
    common = np.geomspace(np.nanmax(np.nanmin(later, axis=-1)), times.max(axis=-1).min(), 64)
    found = np.full(times.shape[:-1], np.nan)
    for place in np.ndindex(*found.shape):
        at, value = times[place], values.values[place]
        kept = (at > 0.0) & (value > 0.0)
        if kept.any():
            found[place] = np.exp(np.mean(np.interp(np.log(common), np.log(at[kept]), np.log(value[kept]))))
    return xr.DataArray(found, values.isel(record=0, drop=True).coords, dims=values.dims[:-1])
