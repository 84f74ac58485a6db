"""Phase diagrams: shares below a threshold and order parameters over two axes, and how two studies differ."""

import numpy as np
import xarray as xr
from scipy.stats import binomtest

from ensemble import STATUS

from .boundaries.boundary import boundary
from .members import axes, finished, largest, probe, standard
from .members import below as is_below
from .selection import only_axes, require_axis
from .statistics import LEVEL, paired_difference, quantiles, require_level, share


def phase(
    ds: xr.Dataset,
    x: str,
    y: str | None,
    measure: str,
    below: float,
    at: dict[str, object] | None = None,
    *,
    over: str | None = None,
) -> xr.Dataset:
    """The share of members with `measure` < `below` over the axes `x` and `y`, or over `x` alone where `y` is None.

    **Arguments:** a dataset of a study with these axes; any other axis of several values needs one in `at`, but one may
    stay open as `over`, for small multiples. A diverged member is not below; an unfinished one does not count.

    **Returns:** `share`, `low`, `high`, `half_width` (95% Wilson) and `seeds`, with dimensions ([[over,] y,] x).

    **Raises:** `ValueError` for a measure, an axis or a value that is not there, and for an axis left open.
    """
    probe(ds, measure)
    ds = only_axes(ds, x, y, at, over)
    result = share(is_below(ds, measure, below), among=finished(ds)).transpose(*_order(x, y, over))
    result.attrs = {"below": below, **_says(ds, measure)}
    return result


def order_parameter(
    ds: xr.Dataset,
    x: str,
    y: str | None,
    measure: str,
    q: float = 0.5,
    at: dict[str, object] | None = None,
    *,
    over: str | None = None,
) -> xr.Dataset:
    """A quantile over seeds of a probe over the axes `x` and `y` (or `x` alone), with its order-statistic interval.

    Arguments, errors and dimensions are those of `phase`; a diverged member counts as +∞. A probe of every teacher
    neuron or neuron is taken at the largest of them.

    **Returns:** `value`, `low`, `high`, `seeds`; attribute `quantile`.
    """
    if not 0 < q < 1:
        raise ValueError(f"q: got {q}; a quantile lies between 0 and 1")
    probe(ds, measure)
    ds = only_axes(ds, x, y, at, over)
    values = largest(ds[measure])
    values = values.where(ds["status"] != STATUS["diverged"], np.inf)
    result = quantiles(values, (q,), finished(ds)).isel(quantile=0, drop=True).transpose(*_order(x, y, over))
    result.attrs = {"quantile": q, **_says(ds, measure)}
    return result


def difference(ds: xr.Dataset, other: xr.Dataset, measure: str, below: float, level: float = LEVEL) -> xr.Dataset:
    """How much larger the share with `measure` < `below` is in `other` than in `ds`, over common cells and seeds.

    A seed has the same draws in both, so members are paired: what seeds have in common cancels. The interval is
    Newcombe's for paired shares (1998, Stat. Med. 17, 2635–2650, method 10); `p_value` is McNemar's exact test.

    **Arguments:** two datasets with the same axes; only labels that both have are compared.

    **Returns:** over the axes `difference`, `low`, `high`, `half_width`; `only_first`, `only_second`: members below the
    threshold in one alone; `p_value`; `pairs`: members finished in both; `unpaired_half_width`: what the interval of
    two samples without common seeds would be.

    **Raises:** `ValueError` for a measure that is not there, other axes, and no common cell.
    """
    require_level(level)
    ds, other = standard(ds), standard(other)
    if axes(ds) != axes(other):
        raise ValueError(f"other: got the axes {axes(other)}, the first dataset has {axes(ds)}; compare like with like")
    flags = [
        xr.Dataset({"inside": is_below(one, measure, below), "done": finished(one)}).drop_vars("stage", errors="ignore")
        for one in (ds, other)
    ]
    first, second = xr.align(*flags, join="inner")
    if not first["done"].size:
        raise ValueError("other: got no cell or seed of the first dataset; compare studies on common labels")
    both = first["done"] & second["done"]
    pairs = both.sum("seed")
    only_first = (first["inside"] & ~second["inside"] & both).sum("seed")
    only_second = (~first["inside"] & second["inside"] & both).sum("seed")
    neither = (~first["inside"] & ~second["inside"] & both).sum("seed")
    found = xr.apply_ufunc(
        lambda both, second, first, none: paired_difference(both, second, first, none, level),
        pairs - only_first - only_second - neither,
        only_second,
        only_first,
        neither,
        output_core_dims=[[]] * 4,
        dask="parallelized",
        output_dtypes=[float] * 4,
    )
    test = np.vectorize(lambda b, c: binomtest(int(b), int(b + c)).pvalue if b + c else 1.0, otypes=[float])
    p_value = xr.apply_ufunc(test, only_first, only_second, dask="parallelized", output_dtypes=[float])
    result = xr.Dataset(dict(zip(list(_DIFFERENCE)[:4], found, strict=True)))
    result["half_width"] = 0.5 * (result["high"] - result["low"])
    result["only_first"], result["only_second"], result["pairs"] = only_first, only_second, pairs
    result["p_value"] = p_value
    for name, long_name in _DIFFERENCE.items():
        result[name].attrs = {"units": "1", "long_name": long_name}
    result.attrs = {
        "measure": measure,
        "below": below,
        "level": level,
        "study_hashes": [ds.attrs["study_hash"], other.attrs["study_hash"]],
    }
    return result


_DIFFERENCE = {
    "difference": "difference of the shares of seeds, second minus first",
    "low": "lower end of its interval",
    "high": "upper end of its interval",
    "unpaired_half_width": "half-width without common seeds",
    "half_width": "half-width of the interval",
    "only_first": "members below the threshold in the first alone",
    "only_second": "members below the threshold in the second alone",
    "p_value": "McNemar's exact p-value",
    "pairs": "members finished in both",
}


def marginal(ds: xr.Dataset, axis: str, measure: str, below: float) -> xr.Dataset:
    """The share of members with `measure` < `below` along one axis, all other axes pooled with the seeds.

    The interval treats all members of a value of the axis as one sample; it says how well the pooled
    share is known, not how cells differ.
    """
    ds = standard(ds)
    require_axis(ds, "axis", axis)
    inside, counted = is_below(ds, measure, below), finished(ds)
    pooled = [*(a for a in axes(ds) if a != axis), "seed"]
    flat = {"member": pooled}
    inside, counted = (v.drop_vars(pooled, errors="ignore").stack(flat, create_index=False) for v in (inside, counted))
    return share(inside.rename(member="seed"), among=counted.rename(member="seed"))


def boundaries(
    ds: xr.Dataset, x: str, y: str, measure: str, below: float, at: dict[str, object] | None = None, *, over: str
) -> xr.Dataset:
    """`boundary` for every value of a third axis, `over`: a dataset with dimensions (over, x); errors are the same."""
    require_axis(ds, "over", over)
    parts = [boundary(ds, x, y, measure, below, (at or {}) | {over: label}) for label in ds[over].values.tolist()]
    # Columns differ in how often their share passes one half.
    most = max(part.sizes["crossing"] for part in parts)
    parts = [part.pad(crossing=(0, most - part.sizes["crossing"])) for part in parts]
    return xr.concat(parts, ds[over].variable.to_base_variable(), combine_attrs="override").assign_coords(
        {over: ds[over]}
    )


def _order(x: str, y: str | None, over: str | None) -> tuple[str, ...]:
    return tuple(name for name in (over, y, x) if name is not None)


def _says(ds: xr.Dataset, measure: str) -> dict[str, str]:
    return {
        "measure": measure,
        "measure_long_name": ds[measure].attrs["long_name"],
        "measure_units": ds[measure].attrs["units"],
        "study_hash": ds.attrs["study_hash"],
        "study": ds.attrs["study"],
    }
