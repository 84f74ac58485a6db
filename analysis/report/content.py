"""What the page says, as one object of JSON: the map, and for every cell its numbers, curves, families and neurons."""

import math
from typing import Any

import numpy as np
import xarray as xr

from ensemble import STATUS, Study
from ensemble.store.schema import status_line

from ..alignment import trajectory
from ..boundary import boundary
from ..certificate import certificates, certified
from ..families import families
from ..members import all_plain, axes, cells, finished, history, probe, require_axis, standard, with_units
from ..members import below as is_below
from ..paths import in_view, neuron_paths, vanished
from ..plots.style import axis_positions
from ..predictions import places, predictions
from ..statistics import quantiles, share
from ..survival import survival

_MOST_DETAILED = 400
"""Cells that get families and neurons: each costs tens of milliseconds and a kilobyte."""
_MOST_FAMILIES = 8


def content(ds: xr.Dataset, measure: str, below: float, x: str | None = None, y: str | None = None) -> dict[str, Any]:
    """All that the page shows.

    **Arguments:** `measure` < `below` is what the map counts; `x`, `y`: its axes, by default the study's two longest.

    **Raises:** `ValueError` for a measure or an axis that is not there.
    """
    probe(ds, measure)
    ds = standard(ds)
    names = axes(ds)
    x, y = _map_axes(ds, x, y)
    study = Study.from_json(ds.attrs["study"])
    toml = study.to_toml()
    cells_said, survival_steps, without = _cells(ds, measure, below)
    return {
        "title": str(ds.attrs["title"]),
        "question": str(ds.attrs.get("question", "")),
        "status": status_line(ds),
        "complete": bool(ds.attrs["complete"]),
        "measure": measure,
        "measureName": ds[measure].attrs["long_name"],
        "threshold": f"{measure} < {with_units(below, ds[measure].attrs['units'])}",
        "x": x,
        "y": y,
        "axes": [_axis(ds[name]) for name in names],
        "boundary": _boundary(ds, x, y, measure, below),
        "predictions": _predicted(ds, study, x, y),
        "cells": cells_said,
        "reached": "below" if _has_history(ds, measure) else "converged",
        "survivalSteps": survival_steps,
        "noFamilies": without,
        "steps": ds["step"].values.tolist() if "step" in ds else [],
        "curves": [name for name in dict.fromkeys(["loss", measure]) if f"{name}_history" in ds],
        "study": toml,
        "command": _command(study.name, toml),
        "provenance": {k: str(v) for k, v in ds.attrs.items() if k not in ("study", "title", "question", "box")},
    }


def _map_axes(ds: xr.Dataset, x: str | None, y: str | None) -> tuple[str | None, str | None]:
    names = axes(ds)
    for name, axis in (("x", x), ("y", y)):
        if axis is not None:
            require_axis(ds, name, axis)
    left = [name for name in sorted(names, key=lambda name: -ds.sizes[name]) if name not in (x, y)]
    order = [name for name in names if name in left[: (x is None) + (y is None)]]
    x = x if x is not None else (order.pop(0) if order else None)
    y = y if y is not None else (order.pop(0) if order else None)
    return x, y


def _axis(coordinate: xr.DataArray) -> dict[str, Any]:
    positions, _, logarithmic = axis_positions(coordinate)
    return {
        "name": str(coordinate.name),
        "longName": coordinate.attrs["long_name"],
        "units": coordinate.attrs["units"],
        "values": coordinate.values.tolist(),
        "positions": positions.tolist(),
        "numbers": coordinate.dtype.kind in "fiu",
        "log": logarithmic,
    }


def _boundary(ds: xr.Dataset, x: str | None, y: str | None, measure: str, below: float) -> list[list] | None:
    """[low, boundary, high] for every x, where the map has two axes alone and y is one of numbers."""
    if x is None or y is None or len(axes(ds)) != 2 or ds[y].dtype.kind not in "fiu" or ds.sizes["seed"] < 2:
        return None
    if ds.sizes[y] < 2:
        return None
    found = boundary(ds, x, y, measure, below)
    return [[_number(found[name][i]) for name in ("low", "boundary", "high")] for i in range(found.sizes[x])]


def _predicted(ds: xr.Dataset, study: Study, x: str | None, y: str | None) -> list[dict[str, Any]]:
    """Places on an axis of the map that theory gives: one for every value of the other axis, or one alone."""
    if x is None or any(name not in (x, y) for name in axes(ds)):
        return []
    found = predictions(ds)
    said = []
    for axis in (x, y) if y is not None else (x,):
        for name in places(found, study, axis):
            values = np.atleast_1d(found[name].max(axis).values)
            label = f"{found[name].attrs['long_name']} ({found[name].attrs['source']})"
            said.append({"axis": axis, "at": [_number(value) for value in values], "label": label})
    return said


def _cells(ds: xr.Dataset, measure: str, below: float) -> tuple[list[dict[str, Any]], list[float], str]:
    """(what is said of every cell, the steps of their survival curves, why there are no families)."""
    names = axes(ds)
    inside = share(is_below(ds, measure, below), among=finished(ds)).load()
    medians = {
        name: quantiles(ds[name], (0.5,), finished(ds)).isel(quantile=0).load() for name in _scalars(ds, measure)
    }
    over = {name: trajectory(ds, name).load() for name in dict.fromkeys(["loss", measure]) if _has_history(ds, name)}
    times = survival(ds, measure, below=below).load() if _has_history(ds, measure) else survival(ds).load()
    few = math.prod(ds.sizes[name] for name in names) <= _MOST_DETAILED
    detailed = "W" in ds and few
    if detailed:
        ds = ds.load()
    groups, without = _grouped(ds) if detailed else (None, _WITHOUT if few else _MANY)
    certified = _certified(ds, detailed)
    counts = {name: (ds["status"] == code).sum("seed").values for name, code in STATUS.items()}
    found = []
    for place, cell in np.ndenumerate(cells(ds)):
        at = dict(zip(names, place, strict=True))
        one = {
            "place": list(place),
            "share": [_number(inside[name][place]) for name in ("share", "low", "high")],
            "seeds": int(inside["seeds"][place]),
            "status": {name: int(count[place]) for name, count in counts.items() if count[place]},
            "medians": {
                name: [_number(q[end][place]) for end in ("value", "low", "high")] for name, q in medians.items()
            },
            "time": [_number(times[f"median{end}"][place]) for end in ("", "_low", "_high")],
            "never": [_number(times[f"never{end}"][place]) for end in ("", "_low", "_high")],
            "survival": {
                end or "value": _numbers(times[f"survival{end}"][place].values) for end in ("", "_low", "_high")
            },
            "trajectories": {
                name: [_numbers(row) for row in values["value"][place].transpose("quantile", "record").values]
                for name, values in over.items()
            },
        }
        if certified is not None:
            one["certified"] = [_number(certified[name][place]) for name in ("share", "low", "high")]
        if groups is not None and one["seeds"]:
            mine = groups.isel(at)
            one["families"] = _families(mine, cell.teacher.sigma.symmetry == "ray")
            one["rarer"] = [int(mine["others"]), int(mine["families"]) - len(one["families"])]
        if detailed and one["seeds"]:
            one["neurons"] = _neurons(ds.isel(at))
        found.append(one)
    return found, np.maximum(times["step"].values, 0.5).tolist(), without


_WITHOUT = "needs stored weights: store_weights = true"
_MANY = f"left out on the page of more than {_MOST_DETAILED} cells; `gd-atlas families` lists them"


def _grouped(ds: xr.Dataset) -> tuple[xr.Dataset | None, str]:
    """(families of minima, "") or (None, why there are none)."""
    try:
        return families(ds, most=_MOST_FAMILIES), ""
    except ValueError as error:
        return None, str(error)


def _has_history(ds: xr.Dataset, name: str) -> bool:
    return name in ds and f"{name}_history" in ds and not {"teacher_neuron", "neuron"} & set(history(ds, name).dims)


def _scalars(ds: xr.Dataset, measure: str) -> list[str]:
    wanted = dict.fromkeys(["loss", "mean_angle", "max_angle", measure])
    return [name for name in wanted if name in ds and set(ds[name].dims) == set(ds["status"].dims)]


def _certified(ds: xr.Dataset, detailed: bool) -> xr.Dataset | None:
    """The share of members that are certified; None where λ = 0 or it cannot be said."""
    sigmas = {cell.teacher.sigma for cell in cells(ds).flat}
    penalties = {stage.penalty for cell in cells(ds).flat for stage in cell.stages.stages}
    if not all_plain(cells(ds)):
        return None
    if len({penalty.kind for penalty in penalties}) > 1 or not all(penalty.total_variation for penalty in penalties):
        return None
    if len(sigmas) > 1 or not all(sigma.homogeneous for sigma in sigmas) or not (detailed or "gap" in ds):
        return None
    found = certificates(ds)
    if not bool((found["weight_decay_used"] > 0).any()):
        return None
    return share(certified(found), among=finished(ds)).load()


def _families(found: xr.Dataset, ray: bool) -> list[dict[str, Any]]:
    rows = []
    for i in np.flatnonzero(found["count"].values):
        one = found.isel(family=int(i))
        rows.append(
            {
                "count": int(one["count"]),
                "share": [_number(one[name]) for name in ("share", "low", "high")],
                "loss": _number(one["loss"]),
                "antiAligned": int(one["anti_aligned"]) if ray else None,
                "active": int(one["active"]),
                "lowest": _number(one["lowest"]),
                "highest": _number(one["highest"]),
                "kind": str(one["kind"].item()),
            }
        )
    return rows


def _neurons(ds: xr.Dataset) -> dict[str, Any] | None:
    """The neurons of the first finished seed, in up to two planes."""
    try:
        paths = neuron_paths(ds)
    except ValueError:
        return None
    views = []
    for plane in paths.planes:
        points = {"begin": paths.begin, "end": paths.end, "teacher": paths.teacher}
        seen = {name: values @ plane.rows.T for name, values in points.items()}
        view = {name: [_numbers(row) for row in values] for name, values in seen.items()}
        views.append({"first": plane.first, "second": plane.second, "stars": in_view(seen["teacher"], plane), **view})
    return {
        "seed": paths.labels["seed"],
        "sign": paths.sign.astype(int).tolist(),
        "vanished": vanished(paths).tolist(),
        "views": views,
    }


def _command(name: str, toml: str) -> str:
    """Shell lines that make the dataset again from nothing but the package."""
    return (
        f"cat > {name}.toml <<'GD_ATLAS_STUDY'\n{toml}GD_ATLAS_STUDY\n"
        f"python -m ensemble run {name}.toml --out data/{name}"
    )


def _number(value: Any) -> float | str | None:
    """A number of four digits; infinities as texts, which JSON has no numbers for, and NaN as null."""
    value = float(value)
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return float(f"{value:.4g}")


def _numbers(values: np.ndarray) -> list[float | str | None]:
    return [_number(value) for value in values]
