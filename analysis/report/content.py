"""What the page says, as one object of JSON: every member's end values, and for every cell its curves and families."""

from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import norm

from ensemble import Study
from ensemble.store.schema import status_line

from ..boundaries.boundary import boundary
from ..members import axes, standard, with_units
from ..plots.style import axis_positions
from ..predictions import places, predictions
from ..statistics import LEVEL
from .cells import said_of_cells
from .measures import Opening, opening, said_of_members
from .numbers import exact
from .uses import Attack, said_of_uses


def content(
    ds: xr.Dataset,
    measure: str | None = None,
    below: float | None = None,
    x: str | None = None,
    y: str | None = None,
    *,
    attack: Attack | None = None,
    without: str = "",
) -> dict[str, Any]:
    """All that the page shows.

    **Arguments:** `measure` < `below` is what the map counts when the page opens: by default the largest angle below
    0.02 rad where there is one, else the loss, below the median of all members; `x`, `y`: its axes, by default the
    study's two longest. `attack`: attacks under which networks are shown, which take the longest; by default none.
    `without`: why there are no families, certificates, neurons, pruned networks and transfer, which take most of the
    time; by default there are.

    **Raises:** `ValueError` for a measure or an axis that is not there, a threshold that is not positive, and what is
    no attack.
    """
    if attack is not None:
        attack.require()
    ds = standard(ds)
    first, known = opening(ds, measure, below, x, y)
    study = Study.from_json(ds.attrs["study"])
    toml = study.to_toml()
    return {
        "title": str(ds.attrs["title"]),
        "name": study.name,
        "question": str(ds.attrs.get("question", "")),
        "status": status_line(ds),
        "complete": bool(ds.attrs["complete"]),
        "opening": {"measure": first.measure.key, "below": first.below, "x": first.x, "y": first.y},
        "threshold": f"{first.measure.key} < {with_units(first.below, ds[first.measure.name].attrs['units'])}",
        # The normal quantile of every Wilson interval.
        "z": float(norm.ppf(0.5 * (1.0 + LEVEL))),
        "axes": [_axis(ds[name]) for name in axes(ds)],
        **said_of_members(ds, known, first.measure),
        **said_of_cells(ds, first, known, without),
        **said_of_uses(ds, attack, without),
        "boundary": _boundary(ds, first),
        "predictions": _predicted(ds, study),
        "study": toml,
        "command": _command(study.name, toml),
        "provenance": {k: str(v) for k, v in ds.attrs.items() if k not in ("study", "title", "question", "box")},
    }


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


def _boundary(ds: xr.Dataset, first: Opening) -> list[list] | None:
    """[low, boundary, high] for every x of the opening's map, where it has two axes alone and y is one of numbers."""
    x, y = first.x, first.y
    if x is None or y is None or len(axes(ds)) != 2 or ds[y].dtype.kind not in "fiu" or ds.sizes["seed"] < 2:
        return None
    if ds.sizes[y] < 2:
        return None
    found = boundary(first.measure.of(ds), x, y, first.measure.name, first.below)
    return [[exact(found[name][i]) for name in ("low", "boundary", "high")] for i in range(found.sizes[x])]


def _predicted(ds: xr.Dataset, study: Study) -> list[dict[str, Any]]:
    """Places on an axis that theory gives: one for every cell of the other axes, `dims`, the last of them fastest."""
    said, found = [], predictions(ds)
    for axis in axes(ds):
        for name in places(found, study, axis):
            values = found[name].max(axis)
            label = f"{found[name].attrs['long_name']} ({found[name].attrs['source']})"
            dims = [str(dim) for dim in values.dims]
            said.append({"axis": axis, "dims": dims, "at": [exact(v) for v in np.ravel(values.values)], "label": label})
    return said


def _command(name: str, toml: str) -> str:
    """Shell lines that make the dataset again from nothing but the package."""
    return (
        f"cat > {name}.toml <<'GD_ATLAS_STUDY'\n{toml}GD_ATLAS_STUDY\n"
        f"python -m ensemble run {name}.toml --out data/{name}"
    )
