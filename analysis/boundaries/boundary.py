"""Boundaries: where over y the share of seeds below a threshold passes one half, for every x, with a confidence set.

The boundary is that place itself, not the midpoint of a curve: every place in the grid is tested, and the set is what
the data do not contradict (crossing.py). Positions are y, or log₁₀ y where the study's own axis is log-spaced. Which
curves are believed between and around the cells is chosen by how they fit (bands.py), and said: where a logistic or a
skewed curve fits the whole column, the set is as narrow as that allows; where none does, because of a plateau, a hump
or a late fall, curves are fitted to the neighbourhood of every place alone, and a column may pass one half several
times.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ensemble import Study

from ..members import below as is_below
from ..members import finished, probe
from ..selection import is_log_spaced, only_axes
from ..statistics import LEVEL, require_level
from .bands import Band, bands
from .crossing import Columns
from .firth import logistic


def boundary(
    ds: xr.Dataset,
    x: str,
    y: str,
    measure: str,
    below: float,
    at: dict[str, object] | None = None,
    *,
    level: float = LEVEL,
    scale: Literal["log", "linear"] | None = None,
) -> xr.Dataset:
    """The y at which the share of seeds with `measure` < `below` passes one half, as a function of x.

    **Arguments:** two axes, `y` of numbers; any other axis needs a value in `at`. Cells may have different numbers of
    finished seeds, or none. `scale` of y: that of the study's own axis unless it is said.

    **Returns:** over `x`: `boundary`, NaN where the share passes one half several times; `low` and `high`, the ends of
    the `level` confidence set; both in the units of y. `band_width`, their distance, and `slope`, β of a logistic
    curve over the whole column (Firth's fit; NaN where it has not converged): in units of y, or of log₁₀ y where
    attribute `scale` is `log`. `crossings`: how often the share passes one half; `crossing_place`, `_low`, `_high`
    (dimension `crossing`): each part of the set, in increasing y; the place of a part in which the share may pass one
    half twice or not at all is NaN. `fit`: the curve that fits best, `fit_p_value`: how well (bend and twist; of the
    whole column unless its name begins with `local` or `nearest`). `seeds`: members counted. A boundary beyond the
    grid is −∞ or +∞, and so is an end of the set beyond it.

    **Raises:** `ValueError` for a measure, an axis or a value that is not there, an axis left open, a y that is no
    number, and a dataset with one seed: a set needs more.
    """
    require_level(level)
    probe(ds, measure)
    own = ds[y].attrs.get("scale") if y in ds.coords else None
    ds = only_axes(ds, x, y, at)
    heights = ds[y].values
    if heights.dtype.kind not in "fiu" or len(heights) < 2:
        raise ValueError(f"y: got {y!r} with the values {heights.tolist()}; a boundary needs two numbers or more")
    if ds.sizes["seed"] < 2:
        raise ValueError("seed: got one seed a cell; a band over seeds needs two or more: run more seeds a cell")
    order = np.argsort(heights)
    counted = finished(ds).transpose(x, y, "seed").values[:, order]
    inside = (is_below(ds, measure, below).transpose(x, y, "seed").values[:, order]) & counted
    positions = Scale.named(scale or own) or Scale.of_axis(ds, y)
    fit = fit_columns(positions.positions(heights[order].astype(float)), inside, counted, level)
    said = _said(fit, positions, ds[y], f"{measure} < {below:g}", level)
    said["seeds"] = (x, counted.sum(axis=(1, 2)), {"units": "1", "long_name": "members counted"})
    made = {name: ((x, "crossing") if np.ndim(v) == 2 else x, v, attrs) for name, (_, v, attrs) in said.items()}
    attributes = {"measure": measure, "below": below, "y": y, "scale": positions.name, "level": level}
    attributes |= {"study": ds.attrs["study"], "study_hash": ds.attrs["study_hash"]}
    return xr.Dataset(made, coords={x: ds[x]}, attrs=attributes)


def _said(fit: dict[str, np.ndarray], scale: "Scale", y: xr.DataArray, event: str, level: float) -> dict[str, tuple]:
    """Name → (dimensions, values, attributes) of what is known of the columns."""
    units, name = y.attrs.get("units", "1"), y.attrs.get("long_name", str(y.name))
    own = f"log10({units})" if scale.logarithmic else units
    texts = {
        "boundary": (scale.value(fit["place"]), units, f"{name} at which half of the seeds have {event}"),
        "low": (scale.value(fit["low"]), units, f"lower end of the boundary's {level:.0%} confidence set"),
        "high": (scale.value(fit["high"]), units, f"upper end of the boundary's {level:.0%} confidence set"),
        "band_width": (_width(fit["low"], fit["high"]), own, "width of the set; 0 where all of it is beyond the grid"),
        "slope": (fit["slope"], f"1/{own}", "slope β of a logistic curve over the whole column"),
        "crossings": (fit["crossings"], "1", "how often the share passes one half"),
        "crossing_place": (scale.value(fit["crossing_place"]), units, "places at which the share passes one half"),
        "crossing_low": (scale.value(fit["crossing_low"]), units, "lower ends of the parts of the set"),
        "crossing_high": (scale.value(fit["crossing_high"]), units, "upper ends of the parts of the set"),
        "fit": (fit["fit"], "1", "curve that fits best"),
        "fit_p_value": (fit["fit_p_value"], "1", "p-value of its fit"),
    }
    return {key: ((), values, {"units": u, "long_name": text}) for key, (values, u, text) in texts.items()}


class Scale(NamedTuple):
    """Positions along y: the values, or their log₁₀ where they are positive and log-spaced."""

    logarithmic: bool

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """The scale of an axis's values."""
        values = np.asarray(values, float)
        return cls(bool(values.min() > 0) and is_log_spaced(values))

    @classmethod
    def named(cls, name: str | None) -> Self | None:
        """`log` or `linear`; None for None.

        **Raises:** `ValueError` for another name.
        """
        if name not in ("log", "linear", None):
            raise ValueError(f"scale: got {name!r}; it is log or linear")
        return None if name is None else cls(name == "log")

    @classmethod
    def of_axis(cls, ds: xr.Dataset, name: str, values: Sequence[float] | None = None) -> Self:
        """The scale of an axis of the dataset's study, whatever part of it the dataset holds.

        Where the study does not say it, its values decide, or those that are given.
        """
        axis = Study.from_json(ds.attrs["study"]).axes.get(name)
        if axis is None or any(isinstance(value, str) for value in axis.values):
            return cls.of(ds[name].values)
        return cls.named(axis.scale) or cls.of(np.array(axis.values if values is None else values, float))

    @property
    def name(self) -> str:
        return "log" if self.logarithmic else "linear"

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
    positions: np.ndarray,
    inside: np.ndarray,
    counted: np.ndarray,
    level: float = LEVEL,
    grid: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Boundaries of columns: `place`, `low`, `high`, `slope`, `fit`, `fit_p_value`, `crossings`, one a column.

    **Arguments:** increasing positions along y; booleans (column, y, seed): below the threshold, and counted. `grid`:
    the study's own positions, in whose levels the reach of a local curve is counted (the positions themselves).

    **Returns:** also `crossing_place`, `crossing_low`, `crossing_high` (column, part of the set), and `candidates` with
    their `p_values` (column, candidate).
    """
    grid = positions if grid is None else grid
    wins, trials = inside.sum(axis=-1).astype(float), counted.sum(axis=-1).astype(float)
    rising = _rising(positions, wins, trials)
    if rising > 0:
        at, made = bands(Columns.of(positions, grid, inside, counted), level)
    else:
        turned = Columns.of(-positions[::-1], -grid[::-1], inside[:, ::-1], counted[:, ::-1])
        at, made = bands(turned, level)
    empty = ~counted.any(axis=(1, 2))
    hulls = np.array([band.hull() for band in made]).reshape(-1, 3)
    hulls[empty] = [-np.inf, np.nan, np.inf]
    ends = hulls if rising > 0 else -hulls[:, ::-1]
    parts = _parts(made, rising)
    parts[empty] = np.nan
    centre, reach = positions.mean(), np.ptp(positions) / 2.0
    _, slope = logistic((positions - centre) / reach, wins, trials)
    return {
        "place": ends[:, 1],
        "low": ends[:, 0],
        "high": ends[:, 2],
        "slope": slope / reach,
        "fit": np.array([band.fit for band in made]),
        "fit_p_value": np.where(empty, np.nan, [band.misfit for band in made]),
        "crossings": np.array([sum(np.isfinite(part.place) for part in band.intervals) for band in made]) * ~empty,
        **dict(zip(("crossing_low", "crossing_place", "crossing_high"), np.moveaxis(parts, -1, 0), strict=True)),
        "candidates": at if rising > 0 else -at[::-1],
        "p_values": np.array([band.p_values for band in made])[:, :: int(rising)],
    }


def _parts(made: list[Band], rising: float) -> np.ndarray:
    """(column, part, (low, place, high)) in increasing y, NaN where a column has fewer parts."""
    found = np.full((len(made), max([len(band.intervals) for band in made] + [1]), 3), np.nan)
    for row, band in zip(found, made, strict=True):
        for i, part in enumerate(band.intervals[:: int(rising)]):
            row[i] = part if rising > 0 else [-end for end in part[::-1]]
    return found


def _rising(positions: np.ndarray, wins: np.ndarray, trials: np.ndarray) -> float:
    """+1 where success grows with y over all columns together, −1 where it falls."""
    centre = (trials * positions).sum(axis=1, keepdims=True) / np.maximum(trials.sum(axis=1, keepdims=True), 1)
    share = wins.sum(axis=1, keepdims=True) / np.maximum(trials.sum(axis=1, keepdims=True), 1)
    return 1.0 if ((wins - trials * share) * (positions - centre)).sum() >= 0 else -1.0
