"""Shares and quantiles over seeds, each with the number of seeds and an interval."""

import numpy as np
import xarray as xr
from scipy.stats import binom, norm
from scipy.stats import t as student

LEVEL = 0.95
"""The nominal coverage of every interval unless another is asked for."""


def require_level(level: float) -> None:
    """**Raises:** `ValueError` for a coverage that is none."""
    if not 0.0 < level < 1.0:
        raise ValueError(
            f"level: got {level!r}, the coverage of an interval; give a number between 0 and 1, such as 0.95"
        )


def require_sizes(argument: str, axis: str, sizes: np.ndarray) -> None:
    """**Raises:** `ValueError` where the values of an axis, along which a power is sought, are texts, not positive, or
    fewer than two."""
    if sizes.dtype.kind not in "fiu" or len(sizes) < 2 or sizes.min() <= 0:
        raise ValueError(
            f"{argument}: got {axis!r} with the values {sizes.tolist()}; an exponent needs two positive numbers or more"
        )


def wilson(successes: np.ndarray, trials: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's score interval for a share: the p with |k/n − p| ≤ z √(p(1−p)/n).

        (k + z²/2 ± z √(k(n−k)/n + z²/4)) / (n + z²)

    **Arguments:** arrays of counts that broadcast; z is the normal quantile of (1 + level)/2.

    **Returns:** (low, high), in [0, 1]; (0, 1) where `trials` is 0.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22, 209–212.
    """
    require_level(level)
    k, n = np.broadcast_arrays(np.asarray(successes, float), np.asarray(trials, float))
    z = norm.ppf(0.5 * (1.0 + level))
    some = np.where(n > 0, n, 1.0)
    half = z * np.sqrt(k * (n - k) / some + 0.25 * z * z)
    centre = k + 0.5 * z * z
    # The ends are exactly 0 and 1 at k = 0 and k = n; rounding must not put them beyond.
    low = np.where(k == 0, 0.0, (centre - half) / (n + z * z))
    high = np.where(k == n, 1.0, (centre + half) / (n + z * z))
    return low, high


def over_seeds(values: xr.DataArray) -> xr.DataArray:
    """The values with a dimension `seed`, of one where one was selected."""
    return values if "seed" in values.dims else values.expand_dims("seed", -1)


def expanded_tail(count: int, level: float) -> float:
    """The percentile at which a bootstrap interval of few units ends: Φ(−√(n/(n−1)) t_{n−1}).

    Resampling underestimates spread by n/(n−1), and a normal quantile that of a sample whose spread is estimated
    (Hesterberg 2015, Am. Stat. 69, 371–386: the expanded percentile interval). 0 for fewer than two.
    """
    if count < 2:
        return 0.0
    return float(norm.cdf(-np.sqrt(count / (count - 1)) * student.ppf(0.5 * (1.0 + level), count - 1)))


def share(condition: xr.DataArray, among: xr.DataArray | None = None, level: float = LEVEL) -> xr.Dataset:
    """The share of seeds for which a condition holds.

    **Arguments:** `condition` is boolean with a dimension `seed`; `among` says which members count (all).

    **Returns:** `share`, `low`, `high` (Wilson), `half_width` = (high − low)/2 and `seeds` (how many counted).
    The share is 0/0 = NaN where no member counts; `seeds` is 0 there and the interval is (0, 1).
    """
    require_level(level)
    condition = over_seeds(condition)
    among = xr.ones_like(condition, dtype=bool) if among is None else over_seeds(among)
    successes = (condition & among).sum("seed")
    trials = among.sum("seed")
    low, high = xr.apply_ufunc(
        lambda k, n: wilson(k, n, level),
        successes,
        trials,
        output_core_dims=[[], []],
        dask="parallelized",
        output_dtypes=[float, float],
    )
    result = xr.Dataset(
        {
            "share": successes / trials.where(trials > 0),
            "low": low,
            "high": high,
            "half_width": 0.5 * (high - low),
            "seeds": trials,
        }
    )
    names = {
        "share": "share of seeds",
        "low": f"lower end of the {level:.0%} Wilson interval",
        "high": f"upper end of the {level:.0%} Wilson interval",
        "half_width": f"half-width of the {level:.0%} Wilson interval",
        "seeds": "members counted",
    }
    return _label(result, names)


def paired_difference(
    both: np.ndarray, only_a: np.ndarray, only_b: np.ndarray, neither: np.ndarray, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(p_a − p_b, low, high, unpaired half-width) of two shares of the same members.

    Newcombe's square-and-add of the two Wilson intervals (l, u), with their correlation φ:

        θ − √(δ_a² − 2φ δ_a ε_b + ε_b²),   θ + √(ε_a² − 2φ ε_a δ_b + δ_b²),   δ = p − l, ε = u − p

    **Arguments:** counts of members for which both conditions hold, either alone, and neither. The unpaired half-width
    is that of φ = 0. NaN and (−1, 1) where there are no members.
    """
    e, f, g, h = (np.asarray(x, float) for x in (both, only_a, only_b, neither))
    n = e + f + g + h
    some = np.maximum(n, 1.0)
    p_a, p_b = (e + f) / some, (e + g) / some
    (low_a, high_a), (low_b, high_b) = wilson(e + f, n, level), wilson(e + g, n, level)
    spread = np.sqrt((e + f) * (g + h) * (e + g) * (f + h))
    odds = e * h - f * g
    corrected = np.where(odds > 0, np.maximum(odds - 0.5 * n, 0.0), odds)
    phi = np.where(spread > 0, corrected / np.where(spread > 0, spread, 1.0), 0.0)
    down_a, up_a, down_b, up_b = p_a - low_a, high_a - p_a, p_b - low_b, high_b - p_b

    def ends(phi):
        below = np.sqrt(np.maximum(down_a**2 - 2 * phi * down_a * up_b + up_b**2, 0.0))
        above = np.sqrt(np.maximum(up_a**2 - 2 * phi * up_a * down_b + down_b**2, 0.0))
        return below, above

    theta = np.where(n > 0, p_a - p_b, np.nan)
    below, above = ends(phi)
    unpaired = 0.5 * sum(ends(0.0))
    return (
        theta,
        np.where(n > 0, np.maximum(theta - below, -1.0), -1.0),
        np.where(n > 0, np.minimum(theta + above, 1.0), 1.0),
        np.where(n > 0, unpaired, 1.0),
    )


def quantiles(
    values: xr.DataArray,
    q: tuple[float, ...] = (0.1, 0.5, 0.9),
    among: xr.DataArray | None = None,
    level: float = LEVEL,
) -> xr.Dataset:
    """Quantiles over seeds with distribution-free intervals from order statistics.

    The number of values below the q-quantile is binomial(n, q); the interval runs from the order statistic at
    its (1−level)/2 quantile to the one at its (1+level)/2 quantile + 1, which covers with at least `level`. An
    end that n seeds cannot bound is −∞ or +∞. Values may be +∞ (never reached), so censored times keep
    their quantiles as long as these are below the censored share.

    **Returns:** `value`, `low`, `high` with a new dimension `quantile`, and `seeds`. `value` is the order
    statistic ⌈qn⌉ itself, never a mean of two, so that it is a value that a member has.
    """
    require_level(level)
    values = over_seeds(values)
    among = xr.ones_like(values, dtype=bool) if among is None else over_seeds(among)
    grid = np.asarray(q, float)

    def reduce(values, among):
        return _order_statistics(values, among, grid, level)

    value, low, high = xr.apply_ufunc(
        reduce,
        values,
        among,
        input_core_dims=[["seed"], ["seed"]],
        output_core_dims=[["quantile"]] * 3,
        dask="parallelized",
        output_dtypes=[float] * 3,
        dask_gufunc_kwargs={"output_sizes": {"quantile": len(q)}, "allow_rechunk": True},
    )
    result = xr.Dataset({"value": value, "low": low, "high": high, "seeds": among.sum("seed")})
    result = result.assign_coords(quantile=("quantile", grid, {"units": "1", "long_name": "quantile"}))
    name = values.attrs.get("long_name", str(values.name))
    names = {
        "value": f"quantile over seeds of {name}",
        "low": f"lower end of its {level:.0%} order-statistic interval",
        "high": f"upper end of its {level:.0%} order-statistic interval",
        "seeds": "members counted",
    }
    units = values.attrs.get("units", "1")
    return _label(result, names, {"value": units, "low": units, "high": units})


def _order_statistics(values: np.ndarray, among: np.ndarray, q: np.ndarray, level: float):
    # What counts has no dimension of records: where there are no axes, it has fewer dimensions than the values.
    values, among = np.broadcast_arrays(values, among)
    n = among.sum(axis=-1)[..., None]
    ordered = np.sort(np.where(among, values, np.inf), axis=-1)
    # A rank 0 lies below all values and a rank n + 1 above: they read −∞ and +∞.
    edge = np.full((*ordered.shape[:-1], 1), np.inf)
    padded = np.concatenate([-edge, ordered, edge], axis=-1)
    middle, low, high = order_ranks(n, q, level)

    def at(rank):
        # Ranks beyond the counted values would read members that do not count.
        return np.where(rank > n, np.inf, np.take_along_axis(padded, rank, axis=-1))

    return np.where(n > 0, at(middle), np.nan), at(low), at(high)


def order_ranks(n: np.ndarray, q: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ranks, from 1, of the order statistics that are the q-quantile of n values and the ends of its interval.

    A rank 0 stands for −∞, and n + 1 for +∞: an end that n values cannot bound.
    """
    tail = 0.5 * (1.0 - level)
    middle = np.clip(np.ceil(q * n - 1e-9), 1, np.maximum(n, 1)).astype(int)
    low = binom.ppf(tail, n, q).astype(int)
    high = np.minimum(binom.ppf(1.0 - tail, n, q).astype(int) + 1, n + 1)
    return middle, np.maximum(low, 0), high


def _label(ds: xr.Dataset, names: dict[str, str], units: dict[str, str] | None = None) -> xr.Dataset:
    for name, long_name in names.items():
        ds[name].attrs = {"units": (units or {}).get(name, "1"), "long_name": long_name}
    return ds
