"""What the page says of every cell beside what it counts itself: times, curves, families, certificates, neurons."""

import math
from typing import Any

import numpy as np
import xarray as xr

from ensemble import Study

from ..alignment import trajectory
from ..members import axes, finished, history
from ..problems import all_plain, cells
from ..statistics import share
from ..times.survival import survival
from ..two_layer.certificate import certificates, certified
from ..two_layer.families import families
from .measures import Measure, Opening
from .neurons import drawn_seeds, neurons_of
from .numbers import exact, interval, number, numbers

_MOST_DETAILED = 400
"""Cells that get families and neurons: each costs tens of milliseconds and a kilobyte."""
_MOST_FAMILIES = 8
_MOST_CURVES = 400_000
"""Numbers in the curves of all cells, seven bytes each; beyond them the opening's measure and the loss alone."""
_WITHOUT = "needs stored weights of two-layer students: store_weights = true"
_MANY = f"left out on the page of more than {_MOST_DETAILED} cells; `gd-atlas families` lists them"


def said_of_cells(ds: xr.Dataset, first: Opening, known: list[Measure], without: str = "") -> dict[str, Any]:
    """The cells in the order of the grid, what their curves are of, and why there are no families.

    **Arguments:** `without`: why there are no families, certificates and neurons, which take most of the time.
    """
    names = axes(ds)
    curves = _curves(ds, first, known)
    own, followed = first.measure.of(ds), _has_history(ds, first.measure)
    times = survival(own, first.measure.name, below=first.below) if followed else survival(ds)
    times = times.load()
    few = math.prod(ds.sizes[name] for name in names) <= _MOST_DETAILED
    stored = "W" in ds and "teacher_W" in ds
    deep = stored and few and not without
    ds = ds.load() if deep else ds
    groups, reason = _grouped(ds) if deep else (None, (without or _MANY) if stored else _WITHOUT)
    proven = None if without else _certified(ds, deep)
    shown, starts = drawn_seeds(ds)
    study = Study.from_json(ds.attrs["study"])
    seeds = finished(ds).sum("seed").values
    said = []
    for place, cell in np.ndenumerate(cells(ds)):
        at = dict(zip(names, place, strict=True))
        one: dict[str, Any] = {
            "place": list(place),
            "time": interval(times, ("median", "median_low", "median_high"), place),
            "never": interval(times, ("never", "never_low", "never_high"), place),
            "survival": [numbers(times[f"survival{end}"][place].values) for end in ("", "_low", "_high")],
            "trajectories": {
                key: [numbers(row) for row in found["value"][place].transpose("quantile", "record").values]
                for key, found in curves.items()
            },
        }
        if proven is not None:
            one["certified"] = interval(proven, ("share", "low", "high"), place)
        if groups is not None and seeds[place]:
            mine = groups.isel(at)
            one["families"] = _families(mine, cell.teacher.sigma.symmetry == "ray")
            one["rarer"] = [int(mine["others"]), int(mine["families"]) - len(one["families"])]
        if deep and seeds[place]:
            one["neurons"] = neurons_of(ds.isel(at), cell, study, shown, starts)
        said.append(one)
    return {
        "cells": said,
        "event": times.attrs["event"],
        "reached": times.attrs["reached"],
        "survivalSteps": np.maximum(times["step"].values, 0.5).tolist(),
        "noFamilies": reason,
        "steps": ds["step"].values.tolist() if "step" in ds else [],
    }


def _has_history(ds: xr.Dataset, measure: Measure) -> bool:
    ds = measure.of(ds)
    if f"{measure.name}_history" not in ds or "record" not in ds[f"{measure.name}_history"].dims:
        return False
    return not {"teacher_neuron", "neuron"} & set(history(ds, measure.name).dims)


def _curves(ds: xr.Dataset, first: Opening, known: list[Measure]) -> dict[str, xr.Dataset]:
    """Quantiles at records, by the measure's key."""
    followed = [measure for measure in known if _has_history(ds, measure)]
    cells = math.prod(ds.sizes[name] for name in axes(ds))
    if 3 * cells * len(followed) * ds.sizes.get("record", 0) > _MOST_CURVES:
        followed = [one for one in followed if one == first.measure or one.key == "loss"]
    return {one.key: trajectory(one.of(ds), one.name).load() for one in followed}


def _grouped(ds: xr.Dataset) -> tuple[xr.Dataset | None, str]:
    """(families of minima, "") or (None, why there are none)."""
    try:
        return families(ds, most=_MOST_FAMILIES), ""
    except ValueError as error:
        return None, str(error)


def _certified(ds: xr.Dataset, stored: bool) -> xr.Dataset | None:
    """The share of members that are certified; None where λ = 0 or it cannot be said."""
    if not all_plain(cells(ds)) or not (stored or "gap" in ds):
        return None
    sigmas = {getattr(cell.teacher, "sigma", None) for cell in cells(ds).flat}
    penalties = {stage.penalty for cell in cells(ds).flat for stage in cell.stages.stages}
    if len({penalty.kind for penalty in penalties}) > 1 or not all(penalty.total_variation for penalty in penalties):
        return None
    if len(sigmas) > 1 or not all(sigma is not None and sigma.homogeneous for sigma in sigmas):
        return None
    try:
        found = certificates(ds)
    except ValueError:  # such as members trained on samples
        return None
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
                "share": interval(one, ("share", "low", "high"), ()),
                "loss": exact(one["loss"]),
                "antiAligned": int(one["anti_aligned"]) if ray else None,
                "active": int(one["active"]),
                "lowest": number(one["lowest"]),
                "highest": number(one["highest"]),
                "kind": str(one["kind"].item()),
            }
        )
    return rows
