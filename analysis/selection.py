"""Choosing members by the labels of axes, and asking which axes are open."""

from typing import Any

import numpy as np
import xarray as xr

from ensemble import Study

from .members import PARTS, axes, finished, like, standard


def require_axis(ds: xr.Dataset, argument: str, axis: str) -> None:
    """**Raises:** `ValueError` that lists the axes where `axis`, the value of an argument, is none."""
    if axis not in axes(ds):
        there = ", ".join(axes(ds)) or "none"
        raise ValueError(f"{argument}: got {axis!r}, which is no axis; the axes are {there}{like(axis, axes(ds))}")


def select(ds: xr.Dataset, at: dict[str, object]) -> xr.Dataset:
    """The dataset at some values of some axes.

    **Raises:** `ValueError` for an axis or a value that is not there.
    """
    ds = standard(ds)
    for name, value in at.items():
        if name in PARTS and name in ds.dims:
            ds = ds.isel({name: _part(name, value, ds.sizes[name])})
            continue
        if name not in axes(ds):
            there = ", ".join(axes(ds)) or "none"
            raise ValueError(f"at: got the axis {name!r}; the axes are {there}{like(name, axes(ds))}")
        values = ds[name].values.tolist()
        matches = [v for v in values if v == value or str(v) == str(value) or _as_number(value) == v]
        if not matches:
            raise ValueError(f"at: got {name} = {value!r}; its values are {values}")
        ds = ds.sel({name: matches[0]})
    return ds


def _part(name: str, value: object, count: int) -> int:
    """The place of a layer, or another part; `ValueError` for a number that is none."""
    number = _as_number(value)
    if number is None or number != int(number) or not 0 <= number < count:
        raise ValueError(f"at: got {name} = {value!r}; there are {count}, from 0 to {count - 1}")
    return int(number)


def only_axes(
    ds: xr.Dataset, x: str, y: str | None, at: dict[str, object] | None = None, over: str | None = None
) -> xr.Dataset:
    """The dataset with no axes but `x`, perhaps `y`, and perhaps `over`; any other at the value that `at` gives.

    An axis of one value needs none.

    **Raises:** `ValueError` for an axis or a value that is not there, one axis named twice, an axis left open, and
    `over` without `y`.
    """
    if y is None and over is not None:
        raise ValueError(f"over: got {over!r} without y; small multiples are maps over x and y")
    named = {name: axis for name, axis in (("x", x), ("y", y), ("over", over)) if axis is not None}
    for name, axis in named.items():
        require_axis(ds, name, axis)
    for name in ("y", "over"):
        if name in named and list(named.values()).count(named[name]) > 1:
            raise ValueError(f"{name}: got {named[name]!r} for two of {', '.join(named)}; take different ones")
    ds = select(ds, at or {})
    for axis in axes(ds):
        if axis not in named.values():
            if ds.sizes[axis] == 1:
                ds = ds.isel({axis: 0})
                continue
            values = ds[axis].values.tolist()
            raise ValueError(f"at: the axis {axis!r} is open; choose one of its values {values}")
    return ds


def open_axis(ds: xr.Dataset, along: str | None = None) -> str | None:
    """The one axis with more than one value: `along`, or the only one there is.

    **Raises:** `ValueError` for an axis that is not there, and where another one is open.
    """
    if along is not None:
        require_axis(ds, "along", along)
    rest = [name for name in axes(ds) if name != along and ds.sizes[name] > 1]
    if along is None and len(rest) == 1:
        return rest[0]
    if rest:
        raise ValueError(f"at: the axis {rest[0]!r} is open; choose one of its values {ds[rest[0]].values.tolist()}")
    return along


def one_member(ds: xr.Dataset) -> tuple[xr.Dataset, dict[str, Any]]:
    """(dataset, labels) of the one member that is left; its first finished seed where seeds are open.

    **Raises:** `ValueError` where weights were not stored, an axis is open, or no member is finished.
    """
    if "W" not in ds:
        raise ValueError("W: a picture of neurons needs the weights; run the study with `store_weights = true`")
    if "seed" not in ds.coords:
        raise ValueError("seed: got a member without its label; select it with sel or isel, and without drop=True")
    ds = standard(ds)
    name = open_axis(ds)
    if name is not None:
        raise ValueError(f"at: the axis {name!r} is open; choose one of its values {ds[name].values.tolist()}")
    ds = ds.isel({name: 0 for name in axes(ds)})
    done = np.flatnonzero(finished(ds).values)
    if not len(done):
        raise ValueError("seed: got no finished member in this cell; finish the run first")
    ds = ds.isel(seed=int(done[0]))
    names = Study.from_json(ds.attrs["study"]).axes
    # Neurons beyond those of the cell are zeros.
    sizes = {"neuron": "student_neurons", "teacher_neuron": "teacher_neurons"}
    own = {dim: slice(0, int(ds[size])) for dim, size in sizes.items() if size in ds}
    return ds.isel(own).load(), {**{name: ds[name].item() for name in names}, "seed": int(ds["seed"].item())}


def is_log_spaced(values: np.ndarray) -> bool:
    """Whether the positive values span a factor ≥ 8 in steps that are more even in the logarithm."""
    positive = np.sort(values[values > 0])
    if len(positive) < 3 or np.any(values < 0) or positive[-1] < 8 * positive[0]:
        return False
    ratios, differences = np.diff(np.log(positive)), np.diff(positive)
    return float(ratios.std() / ratios.mean()) < float(differences.std() / differences.mean())


def _as_number(value: object) -> float | None:
    try:
        return float(value)  # pyright: ignore[reportArgumentType] (anything else is refused by the except)
    except (TypeError, ValueError):
        return None
