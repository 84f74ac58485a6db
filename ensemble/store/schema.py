"""The dataset's schema: what every variable is called, measured in and may hold; checked on write and read.

NaN never means "missing". A finished member has a value of every probe; a member that is `not_run` or still
`running` has NaN, and its status says so. A stage that a member never ended has `stage_end_step` = −1 and NaN. A
member that is `diverged` has the values of networks that left the range of numbers: they may be infinite or NaN.
Nothing else is NaN.
"""

import json
import numbers
from typing import NamedTuple

import numpy as np
import xarray as xr

from ..plan import member_sizes, stored_arrays
from ..probes import ALWAYS, PROBES
from ..study import Study
from ..study.identity import is_identity
from .boxes import Box

SCHEMA_VERSION = 3
"""1: every file holds a whole study. 2: a file may hold a box of one, which its attribute `box` says. 3: λ and η of
every record, stage end and end are stored."""

BEFORE_DECAY = 2
"""The last version before λ was stored."""

STATUS = {"not_run": 0, "running": 1, "converged": 2, "max_steps": 3, "diverged": 4}
"""`running` is a member in flight, of a run that goes on or was interrupted; `converged`: the last stage ended by a
rule; `max_steps`: all steps of the protocol were taken, or the cap was reached, and no rule held."""

FINISHED = STATUS["converged"]
"""A status ≥ this is a result."""

_SAYS = {
    "not_run": "not started",
    "running": "in flight",
    "converged": "converged (stop rule met)",
    "max_steps": "ran all their steps",
    "diverged": "diverged",
}

NEVER_ENDED = -1

_ATTRIBUTES: dict[str, type] = {
    "schema_version": numbers.Integral,
    "study": str,
    "study_hash": str,
    "complete": numbers.Integral,
    "box": str,
}
"""What the tool itself reads of a file's attributes; `box` is that of a part of a study."""


class SchemaError(ValueError):
    """A dataset that is not what the schema promises."""


class StoreError(Exception):
    """A run directory that cannot be read or written, and what to do about it."""


class Variable(NamedTuple):
    """Dimensions beside axes and seed, dtype (None: the study's precision), fill value, attributes."""

    dims: tuple[str, ...]
    dtype: str | None
    fill: float
    units: str
    long_name: str


class Layout(NamedTuple):
    """What a file says of its own variables, for who has a study without its parts."""

    variables: dict[str, Variable]
    sizes: dict[str, int]
    of_cells: dict[str, Variable]
    """The variables with one value a cell."""
    estimated: str
    """What is said of a loss that is estimated."""


_layouts: dict[str, Layout] = {}
"""By study: those whose parts are not here, so that a file has to say what it holds."""


def adopt_layout(study: Study, ds: xr.Dataset) -> None:
    """Takes a file's word for the variables of a study whose parts cannot be imported; of several files, the largest
    sizes."""
    shared = (*study.axes, "seed")
    found, of_cells = {}, {}
    for name, v in ds.data_vars.items():
        kind, own = v.dtype.kind, tuple(str(d) for d in v.dims[len(shared) :])
        fill = np.nan if kind == "f" else STATUS["not_run"] if name == "status" else NEVER_ENDED
        said = str(v.attrs.get("units", "1")), str(v.attrs.get("long_name", name))
        variable = Variable(own, None if kind == "f" else str(v.dtype), fill, *said)
        if v.dims[: len(shared)] == shared:
            found[str(name)] = variable
        elif v.dims == (*study.axes,):
            of_cells[str(name)] = variable._replace(fill=0)
    before = _layouts[study.hash].sizes if study.hash in _layouts else {}
    sizes = {str(d): max(n, before.get(str(d), 0)) for d, n in ds.sizes.items() if d not in shared}
    estimated = str(ds["loss"].attrs.get("comment", "")) if "loss" in ds else ""
    _layouts[study.hash] = Layout(found, sizes, of_cells, estimated)


def adopted(study: Study) -> Layout | None:
    """What a file said, of a study whose parts are not here; None where the study says it itself."""
    return _layouts.get(study.hash) if study.lacks_parts else None


def variables(study: Study) -> dict[str, Variable]:
    """The data variables that hold a value a member, by name; of a study without its parts, those that a file has."""
    if (layout := adopted(study)) is not None:
        return layout.variables
    found = {
        "status": Variable((), "int8", STATUS["not_run"], "1", "how the member ended"),
        "stop_step": Variable((), "int32", NEVER_ENDED, "step", "descent steps taken; −1 before the end"),
        "stage_end_step": Variable(
            ("stage",), "int32", NEVER_ENDED, "step", "step at which the stage ended; −1: never"
        ),
    }
    for name in study.stored_probes:
        found |= of_probe(name, bool(study.record_steps) and name in study.recorded_probes)
    if study.store_weights:
        for name, stored in stored_arrays(study).items():
            found[name] = Variable(stored.dims, None, np.nan, "1", stored.long_name)
    return found


def of_probe(name: str, recorded: bool) -> dict[str, Variable]:
    """The data variables of a probe: its values at the end, at the ends of stages, and at records where it has them."""
    probe = PROBES[name]
    dtype, fill = (None, np.nan) if probe.dtype == "float" else (probe.dtype, -1)
    found = {name: Variable(probe.dims, dtype, fill, probe.units, probe.long_name)}
    if probe.when == "end":
        return found
    found[f"{name}_stage"] = Variable(
        ("stage", *probe.dims), dtype, fill, probe.units, f"{probe.long_name}, at the end of each stage"
    )
    if recorded:
        found[f"{name}_history"] = Variable(
            ("record", *probe.dims), dtype, fill, probe.units, f"{probe.long_name}, at records"
        )
    return found


def sizes(study: Study) -> dict[str, int]:
    """Every dimension's size, in the dataset's order of dimensions."""
    if (layout := adopted(study)) is not None:
        return {name: len(axis.values) for name, axis in study.axes.items()} | {"seed": study.seeds} | layout.sizes
    return {
        **{name: len(axis.values) for name, axis in study.axes.items()},
        "seed": study.seeds,
        "record": len(study.record_steps),
        "stage": len(study.stage_names),
        **member_sizes(study),
    }


def status_line(ds: xr.Dataset) -> str:
    """How many members there are of each status, in words."""
    status = ds["status"]
    if status.chunks is not None:
        from dask.local import get_sync  # told who computes, Dask does not import `distributed` to look for a cluster

        status = status.compute(scheduler=get_sync)
    counts = {name: int((status == code).sum()) for name, code in STATUS.items()}
    ended = ", ".join(f"{count:,} {_SAYS[name]}" for name, count in counts.items() if count)
    return f"{status.size:,} members: {ended}"


def add_counts(counts: np.ndarray, cells: np.ndarray, status: np.ndarray) -> None:
    """Adds members to a table (cell, status)."""
    np.add.at(counts.reshape(-1), cells * len(STATUS) + status, 1)


def check(ds: xr.Dataset, values: bool = True) -> None:
    """Raises `SchemaError` where a dataset breaks the schema; with `values=False` without reading any data."""
    for name, kind in _ATTRIBUTES.items():
        _require(name in ds.attrs or name == "box", f"attribute {name!r} is missing; this is no dataset of gd-atlas")
        _require_kind(name, ds.attrs.get(name, ""), kind)
    version = int(ds.attrs["schema_version"])
    _require(
        version <= SCHEMA_VERSION,
        f"schema_version: got {version}, this version reads up to {SCHEMA_VERSION}; update gd-atlas",
    )
    _require(is_identity(ds.attrs["study"], ds.attrs["study_hash"]), "study_hash: does not belong to the stored study")
    study = Study.stored(ds.attrs["study"])
    if study.lacks_parts:
        adopt_layout(study, ds)
    box = Box.from_runs(json.loads(ds.attrs["box"]), study) if "box" in ds.attrs else Box.whole(study)
    expected = sizes(study) | dict(zip((*study.axes, "seed"), box.shape, strict=True))
    for name, variable in _expected(study, version).items():
        _require(name in ds, f"variable {name!r} is missing")
        dims = (*study.axes, "seed", *variable.dims)
        _require(ds[name].dims == dims, f"{name}: got dimensions {ds[name].dims}, expected {dims}")
        for dim in dims:
            _require(ds.sizes[dim] == expected[dim], f"{dim}: got size {ds.sizes[dim]}, expected {expected[dim]}")
    for name, array in ds.variables.items():
        for attribute in ("units", "long_name"):
            _require(attribute in array.attrs, f"{name}: attribute {attribute!r} is missing")
            _require_kind(f"{name}.{attribute}", array.attrs[attribute], str)
    for (name, axis), indices in zip(study.axes.items(), box.indices, strict=False):
        expects = [axis.values[i] for i in indices]
        _require(ds[name].values.tolist() == expects, f"{name}: is not the axis of the stored study")
    if values:
        _check_values(ds, study, version)


def _expected(study: Study, version: int) -> dict[str, Variable]:
    """The variables that a file of a version has."""
    return {name: v for name, v in variables(study).items() if version > BEFORE_DECAY or not is_new(name)}


def is_new(name: str) -> bool:
    """Whether a variable exists since version 3."""
    return any(name.startswith(probe) for probe in ALWAYS)


def _check_values(ds: xr.Dataset, study: Study, version: int) -> None:
    status = ds["status"]
    _require(bool(status.isin(list(STATUS.values())).all()), "status: holds a number that is no status")
    finished = status >= FINISHED
    _require(bool((ds["stop_step"] >= 0).equals(finished)), "stop_step: disagrees with status")
    if ds.attrs["complete"]:
        _require(bool(finished.all()), "complete: says yes, but some members are not finished")
    reached = ds["stage_end_step"] >= 0
    regular = finished & (status != STATUS["diverged"])
    for name, variable in _expected(study, version).items():
        if variable.dtype is not None:
            continue
        known = reached & regular if "stage" in variable.dims else regular
        if np.isnan(ds[name].values).any():
            bad = ds[name].isnull() & known
            _require(not bool(bad.any()), f"{name}: is NaN for {int(bad.sum())} values of finished members")


def _require_kind(name: str, value: object, kind: type) -> None:
    wanted = "text" if kind is str else "whole number"
    _require(isinstance(value, kind), f"attribute {name!r}: got {value!r:.60}, which is no {wanted}; it was changed")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise SchemaError(message)
