"""Families of final losses: members that ended at the same value, within a stated tolerance."""

from typing import Any

import numpy as np
import xarray as xr

from ensemble import STATUS

from ..members import axes, finished, probe, sound, standard
from ..statistics import share, wilson

RELATIVE, ABSOLUTE = 1e-6, 1e-12


def minima(ds: xr.Dataset, relative: float = RELATIVE, absolute: float = ABSOLUTE) -> xr.Dataset:
    """Groups the final losses of every cell into families by value.

    Sorted losses are cut wherever the next one is larger by more than max(`absolute`, `relative` × loss): a
    family is a chain of losses without such a gap. A family whose mean loss is ≤ `absolute` is the global
    minimum, loss 0 within rounding. Diverged and unfinished members belong to no family; those that stopped
    without meeting a rule are counted apart, since their loss may not be one of a minimum.

    **Returns:** dimension `family` after the axes, by increasing loss: `loss` (mean), `spread` (largest minus
    smallest), `count`, `share` among the cell's finished members with the 95% Wilson interval `low`, `high`,
    `is_global`; and `seeds`, `unconverged` per cell. A cell with fewer families has count 0 there.

    **Raises:** `ValueError` for tolerances that are not positive, and where the loss was not stored.
    """
    if not (relative > 0 and absolute > 0):
        raise ValueError(f"tolerance: got relative = {relative}, absolute = {absolute}; both must be positive")
    ds = standard(ds)
    loss = probe(ds, "loss").transpose(..., "seed")
    counted = sound(ds).transpose(..., "seed").values
    values = loss.values
    cells = list(np.ndindex(values.shape[:-1]))
    found = {cell: _families(values[cell][counted[cell]], relative, absolute) for cell in cells}
    most = max((len(f) for f in found.values()), default=0)
    shape = (*values.shape[:-1], most)
    mean, spread, count = np.full(shape, np.nan), np.zeros(shape), np.zeros(shape, int)
    for cell, members in found.items():
        for i, family in enumerate(members):
            mean[(*cell, i)] = family.mean()
            spread[(*cell, i)] = family[-1] - family[0]
            count[(*cell, i)] = len(family)
    seeds = finished(ds).sum("seed").transpose(*axes(ds)).values
    low, high = wilson(count, seeds[..., None])
    dims = (*axes(ds), "family")
    data = {
        "loss": (dims, mean, _says("mean final loss of the family; NaN where count is 0")),
        "spread": (dims, spread, _says("largest minus smallest loss of the family")),
        "count": (dims, count, _says("members in the family")),
        "share": (
            dims,
            count / np.maximum(seeds[..., None], 1),
            _says("share of the cell's finished members"),
        ),
        "low": (dims, low, _says("lower end of the share's 95% Wilson interval")),
        "high": (dims, high, _says("upper end of the share's 95% Wilson interval")),
        "is_global": (dims, (count > 0) & (np.nan_to_num(mean, nan=np.inf) <= absolute), _says("loss 0")),
        "seeds": (axes(ds), seeds, _says("finished members of the cell")),
        "unconverged": (
            axes(ds),
            (ds["status"] == STATUS["max_steps"]).sum("seed").transpose(*axes(ds)).values,
            _says("members that stopped without meeting a rule"),
        ),
    }
    coords = {axis: ds[axis] for axis in axes(ds)}
    attributes = {
        "relative_tolerance": relative,
        "absolute_tolerance": absolute,
        "study_hash": ds.attrs["study_hash"],
    }
    return xr.Dataset(data, coords=coords, attrs=attributes)


def listed(result: xr.Dataset) -> list[dict[str, Any]]:
    """The dataset of `minima` as plain values: one object a cell, one a family in it."""
    names = [str(d) for d in result["seeds"].dims]
    cells = []
    for place in np.ndindex(*result["seeds"].shape):
        cell = result.isel(dict(zip(names, place, strict=True)))
        some = np.flatnonzero(cell["count"].values)
        families = [{key: cell[key].values[i].item() for key in _LISTED} for i in some]
        at = {name: cell[name].item() for name in names}
        cells.append(
            {"at": at, "seeds": int(cell["seeds"]), "unconverged": int(cell["unconverged"]), "families": families}
        )
    return cells


_LISTED = ("loss", "spread", "count", "share", "low", "high", "is_global")


def spurious(ds: xr.Dataset, absolute: float = ABSOLUTE) -> xr.Dataset:
    """The share of members that converged to a loss above `absolute`, among the converged, with intervals."""
    ds = standard(ds)
    return share(probe(ds, "loss") > absolute, among=ds["status"] == STATUS["converged"])


def _families(losses: np.ndarray, relative: float, absolute: float) -> list[np.ndarray]:
    ordered = np.sort(losses)
    gaps = np.diff(ordered) > np.maximum(absolute, relative * np.abs(ordered[1:]))
    return [part for part in np.split(ordered, np.flatnonzero(gaps) + 1) if len(part)]


def _says(long_name: str) -> dict[str, str]:
    return {"units": "1", "long_name": long_name}
