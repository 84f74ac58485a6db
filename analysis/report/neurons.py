"""What the page draws of members' neurons: from start to end, in up to two planes of teacher neurons."""

from typing import Any

import numpy as np
import xarray as xr

from ensemble import Study
from ensemble.study import Cell

from ..members import axes, finished
from ..two_layer.paths import ARRAYS, Paths, in_view, paths_of, vanished
from .numbers import numbers

MOST_DRAWN = 400
"""Members whose start is drawn again, 10 ms each: the first seeds of every cell."""
MOST_SHOWN = 4000
"""Members whose neurons are on the page, a kilobyte each."""


def drawn_seeds(ds: xr.Dataset) -> tuple[int, int]:
    """How many seeds of a cell are on the page, and of how many of them the start is."""
    cells = max(int(np.prod([ds.sizes[name] for name in axes(ds)])), 1)
    return min(MOST_SHOWN // cells, ds.sizes["seed"]), max(MOST_DRAWN // cells, 1)


def neurons_of(ds: xr.Dataset, cell: Cell, study: Study, most: int, starts: int) -> list[dict[str, Any]]:
    """The neurons of the first finished seeds of a cell; none where the teacher spans no plane.

    **Arguments:** the dataset at the cell, its axes' labels as coordinates; `starts`: how many of them are drawn again.
    """
    done = np.flatnonzero(finished(ds).values)[:most]
    at = {name: ds[name].item() for name in study.axes}
    # Neurons beyond those of the cell are zeros.
    width, every = cell.student.width, {name: ds[name].transpose("seed", ...).values for name in ARRAYS}
    found = []
    for place in done:
        arrays = {name: values[place] for name, values in every.items()}
        arrays |= {"a": arrays["a"][:width], "W": arrays["W"][:width]}
        labels = {**at, "seed": int(ds["seed"].values[place])}
        try:
            paths = paths_of(arrays, labels, cell, study if len(found) < starts else None)
        except ValueError:
            return []
        found.append(_said(paths, start=len(found) < starts))
    return found


def _said(paths: Paths, *, start: bool) -> dict[str, Any]:
    views = []
    for plane in paths.planes:
        points = {"end": paths.end, "teacher": paths.teacher} | ({"begin": paths.begin} if start else {})
        seen = {name: values @ plane.rows.T for name, values in points.items()}
        view = {name: [numbers(row) for row in values] for name, values in seen.items()}
        views.append({"first": plane.first, "second": plane.second, "stars": in_view(seen["teacher"], plane), **view})
    return {
        "seed": paths.labels["seed"],
        "sign": paths.sign.astype(int).tolist(),
        "vanished": vanished(paths).tolist(),
        "views": views,
    }
