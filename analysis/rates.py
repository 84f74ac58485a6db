"""How a probe decays along a run: exponentially or by a power law, chosen by likelihood, the alternative shown.

    exponential   ln v(t) = α − rate · t         power law   ln v(t) = α − exponent · ln t

Both are fitted to the logarithms of a member's records by least squares, with Gaussian residuals of unknown size, so
that the log-likelihood is −(n/2) ln(RSS/n) up to a constant: both have as many parameters, and their difference is
the evidence. Residuals of neighbouring records are alike, so the evidence ranks the two laws; it is no p-value.
"""

import numpy as np
import xarray as xr

from .members import finished, history, standard
from .statistics import LEVEL, quantiles, share

FEWEST = 4
"""Records that a fit needs."""


def rates(
    ds: xr.Dataset,
    measure: str = "loss",
    *,
    after: float = 0.0,
    until: float = np.inf,
    floor: float = 1e-13,
    level: float = LEVEL,
) -> xr.Dataset:
    """Fits of both laws to every member's history of a probe, and their statistics over seeds.

    **Arguments:** records with `after` < step ≤ `until`, up to the member's stop, whose value is > `floor` (rounding)
    are fitted; a member with fewer than four such records has no fit.

    **Returns:** over axes and seed: `rate` (1/step), `exponent`, `evidence` = ℓ_exponential − ℓ_power, `residual`
    (rms of ln v around the likelier law), `records`; over axes: `exponential`, `_low`, `_high`: the share of fitted
    members of which the exponential is likelier (Wilson); `rate_median`, `exponent_median` with `_low`, `_high`
    (order statistics over seeds); `seeds`: members fitted.

    **Raises:** `ValueError` for a probe without a history, and one of every teacher neuron or neuron.
    """
    ds = standard(ds)
    values = history(ds, measure)
    extra = [d for d in ("teacher_neuron", "neuron") if d in values.dims]
    if extra:
        raise ValueError(f"measure: got {measure!r}, which has a value for every {extra[0]}; select one of them first")
    steps = ds["step"].astype(float)
    # Records after the stop repeat the last value: they are no decay.
    before = xr.concat([xr.zeros_like(steps[:1]), steps[:-1]], "record").drop_vars("step")
    kept = finished(ds) & (values > floor) & (steps > max(after, 0.0)) & (steps <= until)
    kept = kept & (before.assign_coords(step=steps) < ds["stop_step"])

    def reduce(values, kept):
        y = np.log(np.where(kept, values, 1.0))
        t = np.broadcast_to(steps.values, y.shape)
        slope, rss, n = _line(t, y, kept)
        power, power_rss, _ = _line(np.log(np.maximum(t, 1.0)), y, kept)
        enough = n >= FEWEST
        tiny = np.finfo(float).tiny
        evidence = 0.5 * n * (np.log(np.maximum(power_rss, tiny)) - np.log(np.maximum(rss, tiny)))
        residual = np.sqrt(np.minimum(rss, power_rss) / np.maximum(n, 1))
        return *(np.where(enough, x, np.nan) for x in (-slope, -power, evidence, residual)), n

    found = xr.apply_ufunc(
        reduce,
        values,
        kept,
        input_core_dims=[["record"], ["record"]],
        output_core_dims=[[]] * 5,
        dask="parallelized",
        output_dtypes=[float] * 4 + [int],
        dask_gufunc_kwargs={"allow_rechunk": True},
    )
    says = {
        "rate": ("1/step", f"rate of an exponential decay of {measure}"),
        "exponent": ("1", f"exponent of a power law of {measure}"),
        "evidence": ("1", "log-likelihood of the exponential minus that of the power law"),
        "residual": ("1", "rms residual of the logarithm around the likelier law"),
        "records": ("1", "records fitted"),
    }
    result = xr.Dataset(dict(zip(says, found, strict=True))).drop_vars("step", errors="ignore")
    for name, (units, long_name) in says.items():
        result[name].attrs = {"units": units, "long_name": long_name}
    fitted = result["evidence"].notnull()
    likelier = share(result["evidence"] > 0, among=fitted, level=level)
    for suffix, part in (("", "share"), ("_low", "low"), ("_high", "high")):
        result[f"exponential{suffix}"] = likelier[part]
    result["exponential"].attrs["long_name"] = "share of members that decay exponentially rather than by a power law"
    for name in ("rate", "exponent"):
        median = quantiles(result[name], (0.5,), fitted, level).isel(quantile=0, drop=True)
        for suffix, part in (("", "value"), ("_low", "low"), ("_high", "high")):
            result[f"{name}_median{suffix}"] = median[part]
    result["seeds"] = likelier["seeds"]
    result.attrs = {"measure": measure, "after": after, "until": until, "floor": floor}
    return result


def _line(x: np.ndarray, y: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(slope, residual sum of squares, points) of least squares along the last dimension."""
    n = kept.sum(axis=-1)
    some = np.maximum(n, 1)

    def centred(values):
        mean = np.where(kept, values, 0.0).sum(axis=-1) / some
        return np.where(kept, values - mean[..., None], 0.0)

    x, y = centred(x), centred(y)
    square = (x * x).sum(axis=-1)
    slope = (x * y).sum(axis=-1) / np.where(square > 0, square, 1.0)
    return slope, ((y - slope[..., None] * x) ** 2).sum(axis=-1), n
