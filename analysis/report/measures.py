"""What the page can count: every measure of a dataset, the end value of each member, and what a page opens with.

The page counts members itself, from the values that are stored here as they are: a share there is
`analysis.share(analysis.below(ds, measure, below), among=analysis.finished(ds))` for any measure and threshold.
"""

from itertools import product
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ensemble import PROBES, STATUS

from ..layers import LAYERS, depths_of
from ..members import PARTS, axes, finished, like, probe, require_threshold
from ..selection import require_axis
from ..statistics import LEVEL, order_ranks
from .numbers import packed

_FIRST = ("max_angle", "mean_angle", "loss")
"""What a page opens with where nobody says it: the first of these that there is."""
_THRESHOLDS = {"max_angle": 0.02, "mean_angle": 0.02}
"""Those that are usual; other measures begin at the median of all members."""
MOST_BYTES = 24 * 2**20
"""End values of all members that a page holds, in bytes of its text."""


class Measure(NamedTuple):
    """A probe, or one part of a probe that has a value for each layer or mode."""

    name: str
    part: tuple[tuple[str, int], ...] = ()

    @property
    def key(self) -> str:
        """What the page and its links call it, such as `layer_norm[layer=1]`."""
        inside = ",".join(f"{dim}={number}" for dim, number in self.part)
        return f"{self.name}[{inside}]" if inside else self.name

    def of(self, ds: xr.Dataset) -> xr.Dataset:
        """The dataset in which the probe is this part of it alone."""
        own = {name: ds[name].isel(dict(self.part)) for name in (self.name, f"{self.name}_history") if name in ds}
        return ds.assign(own) if self.part else ds


class Opening(NamedTuple):
    """What a page shows first; everything else is chosen on it."""

    measure: Measure
    below: float
    x: str | None
    y: str | None


def measures(ds: xr.Dataset) -> list[Measure]:
    """All that a member can be counted by, the usual ones first."""
    member = {*axes(ds), "seed"}
    found = [
        str(name)
        for name, values in ds.data_vars.items()
        if member <= set(values.dims)
        and values.dtype.kind in "fiu"
        and (name in PROBES or f"{name}_stage" in ds)
        and set(values.dims) - member <= {*PARTS, "neuron", "teacher_neuron"}
        and name not in ("applied_decay", "applied_step_size")
    ]
    found.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    return [one for name in found for one in _parts(ds[name])]


def _parts(values: xr.DataArray) -> list[Measure]:
    dims = [str(dim) for dim in values.dims if dim in PARTS]
    numbers = product(*(range(values.sizes[dim]) for dim in dims))
    return [Measure(str(values.name), tuple(zip(dims, at, strict=True))) for at in numbers]


def opening(
    ds: xr.Dataset, measure: str | None, below: float | None, x: str | None, y: str | None
) -> tuple[Opening, list[Measure]]:
    """(what a page opens with, all measures). A probe of several parts opens with the first.

    **Raises:** `ValueError` for a measure or an axis that is not there, and a threshold that is not positive.
    """
    known = measures(ds)
    if measure is None and not known:
        raise ValueError(
            "measure: got a dataset without any; a page counts members by one, run the study with `probes`"
        )
    name = known[0].name if measure is None else measure
    chosen = next((one for one in known if name in (one.key, one.name)), None)
    if chosen is None:
        probe(ds, name)
        raise ValueError(
            f"measure: got {name!r}, which is no number of a member; take one of "
            f"{', '.join(dict.fromkeys(one.name for one in known))}{like(name, [one.name for one in known])}"
        )
    threshold = usual_threshold(chosen, ends_of(ds, chosen), finished(ds).values) if below is None else below
    require_threshold(threshold)
    return Opening(chosen, threshold, *_map_axes(ds, x, y)), known


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


def ends_of(ds: xr.Dataset, measure: Measure, depths: np.ndarray | None = None) -> np.ndarray:
    """End values, over axes and seed, in their own precision; of a probe of neurons the largest.

    All neurons are below a threshold exactly where the largest is, and none is where one is NaN. A layer that a cell's
    students do not have is stored as 0 and NaN here, so that it is not counted. `depths`: `depths_of(ds)`.
    """
    values = measure.of(ds)[measure.name]
    many = [dim for dim in ("teacher_neuron", "neuron") if dim in values.dims]
    values = values.max(many, skipna=False) if many else values
    values = values.transpose(*axes(ds), "seed").values
    last = max((number - LAYERS[dim] for dim, number in measure.part if dim in LAYERS), default=-1)
    if last <= 0:
        return values
    absent = last >= (depths_of(ds) if depths is None else depths)
    return np.where(absent[..., None], np.nan, values).astype(np.result_type(values.dtype, np.float32))


def usual_threshold(measure: Measure, ends: np.ndarray, counted: np.ndarray) -> float:
    """Where a measure's threshold begins: what is usual, or about the median of all finished members."""
    if measure.name in _THRESHOLDS:
        return _THRESHOLDS[measure.name]
    values = np.asarray(ends, float)[counted]
    positive = values[np.isfinite(values) & (values > 0)]
    middle = float(np.median(positive)) if len(positive) else 1.0
    if ends.dtype.kind in "iu":
        return float(np.floor(middle)) + 0.5  # a whole number would be below none of its own
    return float(f"{middle:.2g}") or middle


def said_of_members(ds: xr.Dataset, known: list[Measure], first: Measure) -> dict[str, Any]:
    """Every member's status, last step and end values, as the page reads them: bytes in base64, cell by cell.

    A measure whose values would make the page larger than `MOST_BYTES` has none, but for the first.
    """
    counted = finished(ds).transpose(*axes(ds), "seed").values
    status = ds["status"].transpose(*axes(ds), "seed").values
    stop = ds["stop_step"].transpose(*axes(ds), "seed").values
    layered = any(dim in LAYERS for one in known for dim, _ in one.part)
    left, said, depths = MOST_BYTES, [], depths_of(ds) if layered else None
    for measure in sorted(known, key=lambda one: one != first):
        ends = ends_of(ds, measure, depths)
        kept = ends if ends.dtype == np.float32 else ends.astype(float)
        left -= kept.nbytes * 4 // 3
        source = ds[measure.name].attrs
        said.append(
            {
                "key": measure.key,
                "longName": source.get("long_name", measure.name) + _words(measure),
                "units": source.get("units", "1"),
                # A float32 is compared with the threshold's float32, as NumPy does.
                "single": ends.dtype == np.float32,
                "threshold": usual_threshold(measure, ends, counted),
                "values": packed(kept) if left >= 0 or measure == first else None,
            }
        )
    counts = np.unique(counted.sum(axis=-1)).tolist()
    ranks = [order_ranks(np.array([count]), np.array([0.5]), LEVEL) for count in counts]
    return {
        "measures": said,
        "seeds": np.atleast_1d(ds["seed"].values).tolist() if "seed" in ds.coords else list(range(ds.sizes["seed"])),
        "codes": packed(status.astype(np.int8)),
        "stops": packed(stop.astype(np.int32)),
        "statuses": STATUS,
        # Ranks of the median and of its interval, by the number of seeds that count.
        "ranks": {str(count): [int(rank.item()) for rank in found] for count, found in zip(counts, ranks, strict=True)},
    }


def _words(measure: Measure) -> str:
    return "".join(f", {dim.replace('_', ' ')} {number}" for dim, number in measure.part)
