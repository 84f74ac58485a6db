"""Boundaries: where over y the share of seeds below a threshold passes one half, for every x, with a band.

In every column (one x) the share is fitted by a logistic curve in y, or in log y where the axis is log-spaced,

    P(y) = 1/(1 + exp(−β (y − c))),       the boundary is c

by Firth's penalised likelihood (Jeffreys' prior; Firth 1993, Biometrika 80, 27–38), which has a finite maximum where
all cells on one side fail and all on the other succeed. The band comes from resampling seeds: a seed has the same
draws in every cell, so the members of one seed are drawn together. A resample whose cells are separated between two y
says only that the boundary lies between these, and its place is drawn uniformly there: else a band could be narrower
than the grid can tell.
"""

from typing import Any, NamedTuple, Self

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from scipy.stats import norm
from scipy.stats import t as student

from .members import below as is_below
from .members import finished, is_log_spaced, only_axes, probe
from .statistics import LEVEL

RESAMPLES = 1000
_NEWTON_STEPS = 30
_ROWS = 200_000
"""Fits that are made side by side: they stay in cache."""


def boundary(
    ds: xr.Dataset,
    x: str,
    y: str,
    measure: str,
    below: float,
    at: dict[str, object] | None = None,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> xr.Dataset:
    """The y at which half of the seeds have `measure` < `below`, as a function of x.

    **Arguments:** two axes, `y` of numbers; any other axis needs a value in `at`. `resamples` of the seeds make the
    band, from fixed keys. Cells may have different numbers of finished seeds, or none.

    **Returns:** over `x`: `boundary` with `low`, `high` (percentiles of the resamples), in the units of y;
    `band_width`, the band's width, and `slope`, β: both in units of y, or of log₁₀ y where attribute `scale` is `log`;
    `seeds`: members counted. A boundary beyond the grid is −∞ or +∞, and so is an end of the band beyond it.

    **Raises:** `ValueError` for a measure, an axis or a value that is not there, an axis left open, a y that is no
    number, and a dataset with one seed: a band needs more.
    """
    probe(ds, measure)
    ds = only_axes(ds, x, y, at)
    heights = ds[y].values
    if heights.dtype.kind not in "fiu" or len(heights) < 2:
        raise ValueError(f"y: got {y!r} with the values {heights.tolist()}; a boundary needs two numbers or more")
    if ds.sizes["seed"] < 2:
        raise ValueError("seed: got one seed a cell; a band over seeds needs two or more: run more seeds a cell")
    order = np.argsort(heights)
    counted = finished(ds).transpose(x, y, "seed").values[:, order]
    inside = (is_below(ds, measure, below).transpose(x, y, "seed").values[:, order]) & counted
    heights = heights[order].astype(float)
    scale = Scale.of(heights)
    fit = fit_columns(scale.positions(heights), inside, counted, level, resamples)
    units, name = ds[y].attrs["units"], ds[y].attrs["long_name"]
    own = f"log10({units})" if scale.logarithmic else units
    said = {
        "boundary": (scale.value(fit["place"]), units, f"{name} at which half of the seeds have {measure} < {below:g}"),
        "low": (scale.value(fit["low"]), units, f"lower end of the boundary's {level:.0%} bootstrap band"),
        "high": (scale.value(fit["high"]), units, f"upper end of the boundary's {level:.0%} bootstrap band"),
        "band_width": (_width(fit["low"], fit["high"]), own, "width of the band; 0 where all of it is beyond the grid"),
        "slope": (fit["slope"], f"1/{own}", "slope β of the logistic curve"),
        "seeds": (counted.sum(axis=(1, 2)), "1", "members counted"),
    }
    data = {k: (x, values, {"units": u, "long_name": text}) for k, (values, u, text) in said.items()}
    attributes = {"measure": measure, "below": below, "y": y, "scale": "log" if scale.logarithmic else "linear"}
    attributes |= {"level": level, "resamples": resamples, "study": ds.attrs["study"]}
    return xr.Dataset(data, coords={x: ds[x]}, attrs=attributes | {"study_hash": ds.attrs["study_hash"]})


class Scale(NamedTuple):
    """Positions along y: the values, or their log₁₀ where they are positive and log-spaced."""

    logarithmic: bool

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """The scale of an axis's values."""
        values = np.asarray(values, float)
        return cls(bool(values.min() > 0) and is_log_spaced(values))

    def positions(self, values: np.ndarray) -> np.ndarray:
        return np.log10(values) if self.logarithmic else np.asarray(values, float)

    def value(self, position: Any) -> Any:
        """The values at positions; infinite ones stay what they are."""
        if not self.logarithmic:
            return position
        with np.errstate(over="ignore"):
            return np.where(np.isinf(position), position, 10.0**position)


def _width(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.where(low == high, 0.0, high - low)


def fit_columns(
    positions: np.ndarray, inside: np.ndarray, counted: np.ndarray, level: float = LEVEL, resamples: int = RESAMPLES
) -> dict[str, np.ndarray]:
    """Boundaries of columns: `place`, `low`, `high`, `slope`, one a column; `samples` (resample, column).

    **Arguments:** increasing positions along y; booleans (column, y, seed): below the threshold, and counted.
    """
    columns, rows, seeds = inside.shape
    generator = np.random.default_rng(0)
    weights = generator.multinomial(seeds, np.full(seeds, 1.0 / seeds), size=resamples).astype(float)
    weights = np.concatenate([np.ones((1, seeds)), weights])
    trials = (weights @ counted.reshape(-1, seeds).T.astype(float)).reshape(-1, columns, rows)
    wins = (weights @ inside.reshape(-1, seeds).T.astype(float)).reshape(-1, columns, rows)
    rising = _rising(positions, wins[0], trials[0])
    place, slope = _places(positions, wins.reshape(-1, rows), trials.reshape(-1, rows), rising, columns, generator)
    place, slope = place.reshape(-1, columns), slope.reshape(-1, columns)
    tails = [expanded_tail(int(n), level) for n in counted.any(axis=1).sum(axis=-1)]
    samples = list(zip(place[1:].T, tails, strict=True))
    low = np.array([np.quantile(column, tail, method="lower") for column, tail in samples])
    high = np.array([np.quantile(column, 1.0 - tail, method="higher") for column, tail in samples])
    empty = ~counted.any(axis=(1, 2))
    first = np.where(empty, np.nan, place[0])
    return {
        "place": first,
        "low": np.minimum(np.where(empty, -np.inf, low), first),
        "high": np.maximum(np.where(empty, np.inf, high), first),
        "slope": slope[0],
        "samples": place[1:],
    }


def expanded_tail(count: int, level: float) -> float:
    """The percentile at which a bootstrap interval of few units ends: Φ(−√(n/(n−1)) t_{n−1}).

    Resampling underestimates spread by n/(n−1), and a normal quantile that of a sample whose spread is estimated
    (Hesterberg 2015, Am. Stat. 69, 371–386: the expanded percentile interval). 0 for fewer than two.
    """
    if count < 2:
        return 0.0
    return float(norm.cdf(-np.sqrt(count / (count - 1)) * student.ppf(0.5 * (1.0 + level), count - 1)))


def _rising(positions: np.ndarray, wins: np.ndarray, trials: np.ndarray) -> float:
    """+1 where success grows with y over all columns together, −1 where it falls."""
    centre = (trials * positions).sum(axis=1, keepdims=True) / np.maximum(trials.sum(axis=1, keepdims=True), 1)
    share = wins.sum(axis=1, keepdims=True) / np.maximum(trials.sum(axis=1, keepdims=True), 1)
    return 1.0 if ((wins - trials * share) * (positions - centre)).sum() >= 0 else -1.0


def _places(positions, wins, trials, rising, own, generator) -> tuple[np.ndarray, np.ndarray]:
    """(boundary, slope) of many columns; the first `own` are the data's, whose places are not drawn."""
    centre, scale = positions.mean(), np.ptp(positions) / 2.0
    at = rising * (positions - centre) / scale
    parts = range(0, len(wins), _ROWS)
    found = [logistic(at, wins[i : i + _ROWS], trials[i : i + _ROWS]) for i in parts]
    intercept, slope = (np.concatenate(values) for values in zip(*found, strict=True))
    place = np.where(slope > 0, -intercept / np.where(slope > 0, slope, 1.0), np.nan)
    low, high = gap(at, wins, trials)
    separated = (low < high) & np.isfinite(low) & np.isfinite(high) & (np.arange(len(low)) >= own)
    start, length = np.where(separated, low, 0.0), np.where(separated, high, 0.0) - np.where(separated, low, 0.0)
    place = np.where(separated, start + length * generator.random(len(low)), place)
    # Beyond the cells that were run, or no curve of this direction: the side follows from the majority.
    lowest = np.where(trials > 0, at, np.inf).min(axis=1)
    highest = np.where(trials > 0, at, -np.inf).max(axis=1)
    majority = np.where(2 * wins.sum(axis=1) < trials.sum(axis=1), np.inf, -np.inf)
    place = np.where(np.isnan(place), majority, place)
    place = np.where(place > highest, np.inf, np.where(place < lowest, -np.inf, place))
    nothing, all_of_them = wins.sum(axis=1) == 0, wins.sum(axis=1) == trials.sum(axis=1)
    place = np.where(nothing, np.inf, np.where(all_of_them, -np.inf, place))
    return centre + rising * scale * place, rising * slope / scale


def gap(at: np.ndarray, wins: np.ndarray, trials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(last cell without, first cell with success) where success begins after failure ends, at the y of each."""
    fails = trials - wins
    order = np.argsort(at)
    at, wins, fails = at[order], wins[:, order], fails[:, order]
    last_failure = np.where(fails > 0, at, -np.inf).max(axis=1)
    first_success = np.where(wins > 0, at, np.inf).min(axis=1)
    return last_failure, first_success


def logistic(at: np.ndarray, wins: np.ndarray, trials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(intercept, slope) of P = 1/(1 + exp(−(b₀ + b₁ at))) by Firth's penalised likelihood, one fit a row.

    Newton's method on the score Σ_i (s_i − n_i p_i + h_i(½ − p_i)) (1, at_i), h_i the leverage of all trials at i.
    """
    b0, b1 = np.zeros(len(wins)), np.zeros(len(wins))
    for _ in range(_NEWTON_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(b0[:, None] + b1[:, None] * at, -40.0, 40.0)))
        weight = trials * p * (1.0 - p)
        i00, i01, i11 = weight.sum(axis=1), weight @ at, weight @ (at * at)
        # Where one y carries all the weight, the slope is unknown to rounding: a bounded step.
        det = np.maximum(i00 * i11 - i01 * i01, 1e-12 * i00 * i11 + 1e-100)
        leverage = weight * (i11[:, None] - 2.0 * i01[:, None] * at + i00[:, None] * at * at) / det[:, None]
        residual = wins - trials * p + leverage * (0.5 - p)
        u0, u1 = residual.sum(axis=1), residual @ at
        d0, d1 = (i11 * u0 - i01 * u1) / det, (i00 * u1 - i01 * u0) / det
        length = np.maximum(np.maximum(np.abs(d0), np.abs(d1)) / 2.0, 1.0)
        b0, b1 = b0 + d0 / length, b1 + d1 / length
        if np.nanmax(np.abs(d0) + np.abs(d1), initial=0.0) < 1e-8:
            break
    return b0, b1
