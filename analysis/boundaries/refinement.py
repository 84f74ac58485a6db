"""Where to run more members, so that a boundary becomes known best.

A column (one x) whose confidence set is wide gets members in proportion to its width squared, and every column some as
long as it has few. A new member lies at a place that the data do not contradict, drawn with the p-values of P(y) = ½,
so that members gather where the boundary may be; a share of them at places that tell the slope, and at an end of the
grid that the set reaches beyond. Its y is rounded to a lattice that halves the study's own grid as
often as it takes to be finer than half the set. A column never uses a seed twice: what seeds have in common would say
less.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ..members import below as is_below
from ..members import finished
from .boundary import Scale, fit_columns

FIRST_CELLS, FIRST_SEEDS = 3, 2
"""Every column begins with so many cells, evenly spaced over y, of so many seeds."""
OUTER, _OUTER_AT = 0.2, 1.5
"""Share of a column's members at the two places where the log-odds of a logistic curve are ±1.5 (a D-optimal design):
they tell its slope, without which no place is rejected that has all members on one side."""
OPEN = 0.3
"""Share of the others at an end of the grid beyond which the set reaches: a local curve through one half there has all
members on one side, and is contradicted by those at the end alone."""
_FINEST = 6
"""Times that the study's grid may be halved."""


class Addition(NamedTuple):
    """Seeds to run at one grid point."""

    x: float | str
    y: float
    seeds: range


def first_additions(x_values: Sequence[Any], y_values: Sequence[float]) -> list[Addition]:
    """The members that a refinement begins with."""
    heights = sorted(y_values)
    chosen = np.unique(np.linspace(0, len(heights) - 1, FIRST_CELLS).round().astype(int))
    return [
        Addition(x, heights[row], range(i * FIRST_SEEDS, (i + 1) * FIRST_SEEDS))
        for x in x_values
        for i, row in enumerate(chosen)
    ]


class Columns(NamedTuple):
    """Where the next members of every column may lie."""

    widths: np.ndarray
    """Of the confidence sets, within the grid."""
    candidates: np.ndarray
    chance: np.ndarray
    """(column, candidate): with which a member is placed there."""


def additions(
    ds: xr.Dataset, x: str, y: str, measure: str, below: float, grid: list[float], members: int, width: float = 0.0
) -> list[Addition]:
    """The next members to run, of a dataset with the axes `x` and `y` alone.

    **Arguments:** `grid`: the study's own values of y; how many members at most; columns whose set is narrower than
    `width` (in units of y, or of log₁₀ y where the grid is log-spaced) need none.

    **Returns:** grid points with the seeds to run at each; none where every set is narrow enough. The draws follow
    from the number of members in the dataset: the same dataset gives the same answer.
    """
    order = np.argsort(ds[y].values)
    ds = ds.isel({y: order})
    counted = finished(ds).transpose(x, y, "seed").values
    inside = is_below(ds, measure, below).transpose(x, y, "seed").values & counted
    scale = Scale.of_axis(ds, y, grid)
    lattice = scale.positions(np.sort(np.array(grid, float)))
    columns = known_columns(scale.positions(ds[y].values), inside, counted, lattice)
    generator = np.random.default_rng(int(counted.sum()))
    counts = allotted(columns.widths, counted.sum(axis=(1, 2)), np.ptp(lattice), members, width, generator)
    known = np.unique([*ds[y].values, *grid])
    begun = np.asarray((ds["status"] > 0).transpose(x, y, "seed").any(y))
    found = []
    for column, count in enumerate(counts):
        rows = drawn(columns, column, count, lattice, width, generator)
        next_seed = int(np.flatnonzero(begun[column]).max(initial=-1)) + 1
        for place, times in zip(*np.unique(rows, return_counts=True), strict=True):
            at = _shown(float(scale.value(place)), known)
            found.append(Addition(ds[x].values[column].item(), at, range(next_seed, next_seed + times)))
            next_seed += int(times)
    return found


def known_columns(heights: np.ndarray, inside: np.ndarray, counted: np.ndarray, lattice: np.ndarray) -> Columns:
    """What is known of every column: booleans (column, y, seed) over increasing positions."""
    fit = fit_columns(heights, inside, counted, grid=lattice)
    ends = np.array([fit["low"], fit["high"]])
    widths = np.diff(np.clip(ends, lattice[0], lattice[-1]), axis=0)[0]
    at = fit["candidates"]
    # A candidate that the data contradict more gets fewer members; the share of a step's members is its p-value's.
    chance = fit["p_values"] * np.gradient(at)
    chance[chance.sum(axis=1) <= 0] = 1.0
    chance /= chance.sum(axis=1, keepdims=True)
    beyond = OPEN * (np.isinf(ends) & (ends[0] < ends[1]))
    steep = np.maximum(np.abs(np.nan_to_num(fit["slope"])), 1e-300)
    outer = chance @ at + np.array([[-1.0], [1.0]]) * _OUTER_AT / steep
    chance *= ((1.0 - OUTER) * (1.0 - beyond.sum(axis=0)))[:, None]
    chance[:, [0, -1]] += (1.0 - OUTER) * beyond.T
    for places in outer:
        nearest = np.abs(at[None, :] - places[:, None]).argmin(axis=1)
        chance[np.arange(len(chance)), nearest] += 0.5 * OUTER
    return Columns(widths, at, chance)


def allotted(
    widths: np.ndarray, seen: np.ndarray, reach: float, members: int, width: float, generator: np.random.Generator
) -> np.ndarray:
    """How many of the members every column gets: none where all sets are narrower than `width`."""
    if not np.any(widths > width):
        return np.zeros(len(widths), int)
    # The second term: a set of few members may be narrow by chance.
    need = np.where(widths > width, widths, 0.0) ** 2 + reach**2 / np.maximum(seen, 1)
    share = np.asarray(members * need / need.sum())
    # Rounded at random, so that narrow columns are not left out for ever; never more than asked.
    counts = np.minimum(np.floor(share + generator.random(len(share))).astype(int), members)
    while counts.sum() > members:
        counts[np.argmax(counts)] -= 1
    return counts


def drawn(
    columns: Columns, column: int, count: int, lattice: np.ndarray, width: float, generator: np.random.Generator
) -> np.ndarray:
    """Positions of a column's next members."""
    places = generator.choice(columns.candidates, size=count, p=columns.chance[column])
    return _rounded(places, lattice, max(float(columns.widths[column]), width))


def _rounded(drawn: np.ndarray, lattice: np.ndarray, width: float) -> np.ndarray:
    """The nearest points of the grid, halved until it is finer than half of `width`."""
    spacing = np.diff(lattice).max()
    halvings = int(np.clip(np.ceil(np.log2(2.0 * spacing / max(width, 1e-12))), 0, _FINEST))
    inner = np.linspace(0, len(lattice) - 1, (len(lattice) - 1) * 2**halvings + 1)
    points = np.interp(inner, np.arange(len(lattice)), lattice)
    return points[np.argmin(np.abs(drawn[:, None] - points[None, :]), axis=1)]


def _shown(value: float, known: np.ndarray) -> float:
    """A y that a study file can show: one that is there already, or six digits."""
    nearest = float(known[np.argmin(np.abs(known - value))])
    return nearest if np.isclose(nearest, value, rtol=1e-5, atol=0.0) else float(f"{value:.6g}")
