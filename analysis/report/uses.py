"""What the page says of what features are good for: pruned and attacked networks, member by member, and transfer.

Curves hold every member's values, so that the page counts medians, bands and differences of two cells seed by seed.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ensemble.problem.students import DeepLinearStudent, TwoLayerStudent
from ensemble.problem.teachers import TwoTasks

from ..members import axes
from ..problems import cells
from ..statistics import LEVEL, order_ranks
from ..uses.pruning import pruning
from ..uses.robustness import Label, Norm, checked, robust_loss
from ..uses.transfer import GAINS, transfer
from .numbers import exact, packed

POINTS, STARTS, STEPS = 128, 12, 30
"""Of the ascent on a page, half of what `robust_loss` takes: inputs, starts at each, and steps."""
MOST_CELLS = 400
MOST_PRUNED, MOST_ATTACKED = 4000, 400
"""Members whose curves are on a page, the first seeds of every cell: a hundredth and a tenth of a second each."""
QUANTILES = (0.1, 0.5, 0.9)


class Attack(NamedTuple):
    """Attacks whose losses a page shows: what `robust_loss` is asked."""

    radii: tuple[float, ...]
    norm: Norm = 2
    label: Label = "kept"

    def require(self) -> None:
        """**Raises:** `ValueError` for what is no attack."""
        checked(*self, POINTS, STARTS, STEPS)


def said_of_uses(ds: xr.Dataset, attack: Attack | None, without: str = "") -> dict[str, Any]:
    """Curves of pruned and attacked networks, and gains of a first task; each a reason under `none` where it is not.

    **Arguments:** the dataset in standard form; `without`: why there are none, because they take time.
    """
    kinds = {type(cell.student) for cell in cells(ds).flat}
    curves: dict[str, Any] = {"pruning": {"none": "of two-layer students alone"}, "robustness": {"none": ""}}
    if kinds <= {TwoLayerStudent}:
        curves["pruning"] = _curves(ds, without, MOST_PRUNED, _pruning)
    if not kinds <= {TwoLayerStudent, DeepLinearStudent}:
        curves["robustness"] = {"none": "of two-layer and deep linear students alone"}
    elif attack is not None:
        curves["robustness"] = _curves(ds, without, MOST_ATTACKED, lambda part: _robustness(part, attack))
    most = max((found.get("seeds", 0) for found in curves.values()), default=0)
    ranks = order_ranks(np.arange(1, most + 1)[:, None], np.array(QUANTILES), LEVEL)
    return {
        "curves": curves,
        # Of n values, from 1: ranks of the quantiles and of their intervals.
        "curveRanks": np.stack(ranks, axis=-1).tolist(),
        "transfer": _transfer(ds, without),
    }


def _curves(ds: xr.Dataset, without: str, most: int, reduce: Any) -> dict[str, Any]:
    count = math.prod(ds.sizes[name] for name in axes(ds))
    if not ({"W", "layer_weights"} & set(ds.variables)):
        return {"none": "needs stored weights: store_weights = true"}
    if without or count > MOST_CELLS:
        return {"none": without or f"left out on the page of more than {MOST_CELLS} cells"}
    part = ds.isel(seed=slice(max(most // max(count, 1), 1)))
    try:
        return {"seeds": part.sizes["seed"], **reduce(part)}
    except ValueError as error:  # such as networks under other inputs, whose losses are not known
        return {"none": str(error)}


def _pruning(ds: xr.Dataset) -> dict[str, Any]:
    found = pruning(ds)
    return {
        "x": found["kept"].values.tolist(),
        "values": packed(_rows(found["pruned_loss"], "kept")),
        # A narrower cell's own loss stands at all numbers above its width; the page leaves them out.
        "most": [cell.student.width for cell in cells(ds).flat],
        "width": packed(_rows(found["minimal_width"])),
        "by": found.attrs["by"],
        "tolerance": found.attrs["tolerance"],
    }


def _robustness(ds: xr.Dataset, attack: Attack) -> dict[str, Any]:
    found = robust_loss(ds, attack.radii, attack.norm, label=attack.label, points=POINTS, starts=STARTS, steps=STEPS)
    relative = float((found["robust_loss_error"] / found["robust_loss"].where(found["robust_loss"] > 0)).max())
    told = {name: found.attrs[name] for name in ("label", "method", "points", "starts", "steps")}
    values = packed(_rows(found["robust_loss"], "radius"))
    norm = str(found.attrs["norm"])
    return {"x": found["radius"].values.tolist(), "values": values, "norm": norm, "error": exact(relative), **told}


def _rows(values: xr.DataArray, *last: str) -> np.ndarray:
    """Cell by cell, seed by seed."""
    names = [str(name) for name in values.dims if name not in ("seed", *last)]
    return values.transpose(*names, "seed", *last).values.astype(float)


def _transfer(ds: xr.Dataset, without: str) -> dict[str, Any] | None:
    """Medians over paired seeds of every gain; None of a study that has no second task."""
    if not all(isinstance(cell.teacher, TwoTasks) for cell in cells(ds).flat):
        return None
    if without:
        return {"none": without}
    try:
        found = transfer(ds).load()
    except ValueError as error:
        return {"none": str(error)}
    names, along, fresh = axes(ds), found.attrs["along"], found.attrs["fresh"]
    found = found.transpose(*names, "transfer_gain", ...)
    spread = np.stack(
        [found[name].values for name in ("value", "low", "high", "positive", "positive_low", "positive_high", "seeds")],
        axis=-1,
    )
    values, at = ds[along].values.tolist(), names.index(along)
    own = [value for value in values if value != fresh]

    def of_cell(place: tuple[int, ...]) -> list[list] | None:
        if values[place[at]] == fresh:
            return None
        there = (*place[:at], own.index(values[place[at]]), *place[at + 1 :])
        return [[exact(value) for value in row] for row in spread[there]]

    gains = found["transfer_gain"].values.tolist()
    return {
        "along": along,
        "fresh": values.index(fresh),
        "gains": [{"name": name, "longName": GAINS[name]} for name in gains],
        "cells": [of_cell(place) for place in np.ndindex(*(ds.sizes[name] for name in names))],
    }
