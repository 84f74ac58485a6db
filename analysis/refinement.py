"""Where to run more members, so that a boundary becomes known best.

A column (one x) whose band is wide gets members in proportion to the band's width squared, and every column some as
long as it has few. Each new member lies
where a resample of the boundary does, so that members gather where the boundary may be, and nowhere else; its y is
rounded to a lattice that halves the study's own grid as often as it takes to be finer than half the band. A column
never uses a seed twice: what seeds have in common would say less.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from .boundary import Scale, expanded_tail, fit_columns
from .members import below as is_below
from .members import finished
from .statistics import LEVEL

FIRST_CELLS, FIRST_SEEDS = 3, 2
"""Every column begins with so many cells, evenly spaced over y, of so many seeds."""
_RESAMPLES = 300
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


def additions(
    ds: xr.Dataset, x: str, y: str, measure: str, below: float, grid: list[float], members: int, width: float = 0.0
) -> list[Addition]:
    """The next members to run, of a dataset with the axes `x` and `y` alone.

    **Arguments:** `grid`: the study's own values of y; how many members at most; columns whose band is narrower than
    `width` (in units of y, or of log₁₀ y where the grid is log-spaced) need none.

    **Returns:** grid points with the seeds to run at each; none where every band is narrow enough. The draws follow
    from the number of members in the dataset: the same dataset gives the same answer.
    """
    order = np.argsort(ds[y].values)
    ds = ds.isel({y: order})
    counted = finished(ds).transpose(x, y, "seed").values
    inside = is_below(ds, measure, below).transpose(x, y, "seed").values & counted
    scale = Scale.of(grid)
    heights = scale.positions(ds[y].values)
    lattice = scale.positions(np.sort(np.array(grid, float)))
    samples = np.clip(fit_columns(heights, inside, counted, resamples=_RESAMPLES)["samples"], lattice[0], lattice[-1])
    seen = counted.sum(axis=(1, 2))
    tails = [expanded_tail(int(n), LEVEL) for n in seen]
    widths = np.array([np.ptp(np.quantile(s, [t, 1.0 - t])) for s, t in zip(samples.T, tails, strict=True)])
    if not np.any(widths > width):
        return []
    # The second term: a band of few members may be narrow by chance.
    need = np.where(widths > width, widths, 0.0) ** 2 + np.ptp(lattice) ** 2 / np.maximum(seen, 1)
    generator = np.random.default_rng(int(counted.sum()))
    share = np.asarray(members * need / need.sum())
    # Rounded at random, so that narrow columns are not left out for ever; never more than asked.
    counts = np.minimum(np.floor(share + generator.random(len(share))).astype(int), members)
    while counts.sum() > members:
        counts[np.argmax(counts)] -= 1
    known = np.unique([*ds[y].values, *grid])
    begun = np.asarray((ds["status"] > 0).transpose(x, y, "seed").any(y))
    found = []
    for column, count in enumerate(counts):
        if count == 0:
            continue
        drawn = generator.choice(samples[:, column], size=count)
        rows = _rounded(drawn, lattice, max(widths[column], width))
        next_seed = int(np.flatnonzero(begun[column]).max(initial=-1)) + 1
        for place, times in zip(*np.unique(rows, return_counts=True), strict=True):
            found.append(
                Addition(
                    ds[x].values[column].item(),
                    _shown(float(scale.value(place)), known),
                    range(next_seed, next_seed + times),
                )
            )
            next_seed += int(times)
    return found


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
