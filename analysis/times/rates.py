"""How a probe decays along a run: exponentially, by a power law, or by neither, with the evidence (laws.py)."""

import numpy as np
import xarray as xr

from ..members import finished, history, standard
from ..statistics import LEVEL, quantiles, require_level, share
from .laws import LAWS, laws

_ROWS = 4096
"""Histories that are fitted at once: their temporary arrays stay in memory."""
_SAYS = {
    "rate": ("1/step", "rate of an exponential decay of {measure}"),
    "exponent": ("1", "exponent of a power law of {measure}"),
    "evidence": ("1", "log-likelihood of the exponential minus that of the power law"),
    "residual": ("1", "rms residual of the logarithm around the likelier law"),
    "begin": ("step", "step from which the likelier law is fitted"),
    "records": ("1", "records fitted"),
}
_NONE = ""
"""The law of a member that has no fit."""


def rates(
    ds: xr.Dataset,
    measure: str = "loss",
    *,
    after: float = 0.0,
    until: float = np.inf,
    floor: float = 1e-13,
    level: float = LEVEL,
) -> xr.Dataset:
    """The law by which every member's history of a probe decays, and the laws' shares and numbers over seeds.

        exponential   ln v(t) = α − rate · (t − b)₊         power law   ln v(t) = α − exponent · (ln t − ln b)₊

    with a plateau up to b where the records say so. A law is told of a member that decays, whose records after b show
    no bend or twist beside the law that is more than chance and more than 3% of the decay, and which leave less than a
    fifth of it: `neither` where both laws fail so or nothing decays, `undecided` where the law that is left has fewer
    than eight records, leaves more, or is not twenty times as likely as its rival. How often these words are wrong is
    in docs/analysis.md.

    **Arguments:** records with `after` < step ≤ `until`, up to the member's stop, whose value is > `floor` (rounding)
    are fitted; a member with fewer than four such records has no fit.

    **Returns:** over axes and seed: `law` (one of these four words, "" without a fit); `rate` (1/step) and `exponent`,
    each after its own plateau; `evidence` = ℓ_exponential − ℓ_power; `residual` (rms of ln v around the likelier law)
    and `begin`, the step from which that is fitted; `records`. Over axes: `law_share`, `_low`, `_high` (Wilson), for
    every `verdict` (the four words), of fitted members; `exponential`, `_low`, `_high`: the share of fitted members of
    which the exponential is likelier, whatever their law; `rate_median`, `exponent_median` with `_low`, `_high` (order
    statistics over fitted members); `seeds`: members fitted.

    **Raises:** `ValueError` for a probe without a history, and one of every teacher neuron or neuron.
    """
    require_level(level)
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
    *found, code = xr.apply_ufunc(
        lambda values, kept: _fitted(steps.values, values, kept),
        values,
        kept,
        input_core_dims=[["record"], ["record"]],
        output_core_dims=[[]] * 7,
        dask="parallelized",
        output_dtypes=[float] * 5 + [int] * 2,
        dask_gufunc_kwargs={"allow_rechunk": True},
    )
    result = xr.Dataset(dict(zip(_SAYS, found, strict=True))).drop_vars("step", errors="ignore")
    for name, (units, long_name) in _SAYS.items():
        result[name].attrs = {"units": units, "long_name": long_name.format(measure=measure)}
    return _over_seeds(result, code.drop_vars("step", errors="ignore"), measure, level).assign_attrs(
        {"measure": measure, "after": after, "until": until, "floor": floor}
    )


def _fitted(steps: np.ndarray, values: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rate, exponent, evidence, residual, begin, records and the number of the law of every history."""
    y = np.log(np.where(kept, values, 1.0)).reshape(-1, len(steps))
    kept = np.broadcast_to(kept, values.shape).reshape(y.shape)
    t = np.broadcast_to(np.maximum(steps, 1.0), y.shape)
    parts = [laws(*(one[i : i + _ROWS] for one in (t, y, kept))) for i in range(0, len(y), _ROWS)]
    names = (*list(_SAYS)[:-1], "records", "law")
    return tuple(
        np.concatenate([getattr(part, name) for part in parts] or [np.zeros(0)]).reshape(values.shape[:-1])
        for name in names
    )


def _over_seeds(result: xr.Dataset, code: xr.DataArray, measure: str, level: float) -> xr.Dataset:
    """The result with what its members say together."""
    words = np.array([*LAWS, _NONE])
    result["law"] = xr.apply_ufunc(
        lambda code: words[code.astype(int)], code, dask="parallelized", output_dtypes=[words.dtype]
    ).assign_attrs({"units": "1", "long_name": f"law by which {measure} decays"})
    fitted = code >= 0
    likelier = share(result["evidence"] > 0, among=fitted, level=level)
    verdicts = xr.DataArray(np.arange(len(LAWS)), dims="verdict", coords={"verdict": list(LAWS)})
    of_laws = share((code == verdicts).transpose(..., "seed", "verdict"), among=fitted, level=level)
    for suffix, part in (("", "share"), ("_low", "low"), ("_high", "high")):
        result[f"exponential{suffix}"] = likelier[part]
        result[f"law_share{suffix}"] = of_laws[part]
    result["exponential"].attrs["long_name"] = "share of members that decay exponentially rather than by a power law"
    result["law_share"].attrs["long_name"] = f"share of members by the law of {measure}"
    for name in ("rate", "exponent"):
        median = quantiles(result[name], (0.5,), fitted, level).isel(quantile=0, drop=True)
        for suffix, part in (("", "value"), ("_low", "low"), ("_high", "high")):
            result[f"{name}_median{suffix}"] = median[part]
    result["seeds"] = likelier["seeds"]
    return result
