"""The dataset's schema: what every variable is called, measured in and may hold; checked on write and read.

NaN never means "missing". A finished member has a finite value of every probe; a member that is `not_run`
or still `running` has NaN, and its status says so. A stage that a member never ended has
`stage_end_step` = −1 and NaN; nothing else is NaN.
"""

import json
from typing import NamedTuple

import numpy as np
import xarray as xr

from ..probes import PROBES
from ..study import Study
from .boxes import Box

SCHEMA_VERSION = 2
"""1: every file holds a whole study. 2: a file may hold a box of one, which its attribute `box` says."""

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


def variables(study: Study) -> dict[str, Variable]:
    """The data variables that hold a value a member, by name."""
    found = {
        "status": Variable((), "int8", STATUS["not_run"], "1", "how the member ended"),
        "stop_step": Variable((), "int32", NEVER_ENDED, "step", "descent steps taken; −1 before the end"),
        "stage_end_step": Variable(
            ("stage",), "int32", NEVER_ENDED, "step", "step at which the stage ended; −1: never"
        ),
    }
    for name in study.probes:
        probe = PROBES[name]
        whole = name in ("active", "owner")
        dtype, fill = ("int32", -1) if whole else (None, np.nan)
        found[name] = Variable(probe.dims, dtype, fill, probe.units, probe.long_name)
        if "neuron" in probe.dims:
            continue
        found[f"{name}_stage"] = Variable(
            ("stage", *probe.dims), dtype, fill, probe.units, f"{probe.long_name}, at the end of each stage"
        )
        if study.record_steps and name in study.recorded_probes:
            found[f"{name}_history"] = Variable(
                ("record", *probe.dims), dtype, fill, probe.units, f"{probe.long_name}, at records"
            )
    if study.store_weights:
        found["a"] = Variable(("neuron",), None, np.nan, "1", "final output weights")
        found["W"] = Variable(("neuron", "input"), None, np.nan, "1", "final first-layer weights")
        found["teacher_a"] = Variable(("teacher_neuron",), None, np.nan, "1", "teacher output weights")
        found["teacher_W"] = Variable(("teacher_neuron", "input"), None, np.nan, "1", "teacher first-layer weights")
    return found


def sizes(study: Study) -> dict[str, int]:
    """Every dimension's size, in the dataset's order of dimensions."""
    points = [(p.cell.student.width, p.cell.teacher.shape()[0], study.space(p.cell).columns) for p in study.points]
    width, teacher_neurons, inputs = (max(column) for column in zip(*points, strict=True))
    return {
        **{name: len(axis.values) for name, axis in study.axes.items()},
        "seed": study.seeds,
        "record": len(study.record_steps),
        "stage": len(study.stage_names),
        "neuron": width,
        "teacher_neuron": teacher_neurons,
        "input": inputs,
    }


def status_line(ds: xr.Dataset) -> str:
    """How many members there are of each status, in words."""
    counts = {name: int((ds["status"] == code).sum()) for name, code in STATUS.items()}
    ended = ", ".join(f"{count:,} {_SAYS[name]}" for name, count in counts.items() if count)
    return f"{ds['status'].size:,} members: {ended}"


def add_counts(counts: np.ndarray, cells: np.ndarray, status: np.ndarray) -> None:
    """Adds members to a table (cell, status)."""
    np.add.at(counts.reshape(-1), cells * len(STATUS) + status, 1)


def check(ds: xr.Dataset, values: bool = True) -> None:
    """Raises `SchemaError` where a dataset breaks the schema; with `values=False` without reading any data."""
    for name in ("schema_version", "study", "study_hash", "complete"):
        _require(name in ds.attrs, f"attribute {name!r} is missing; this is no dataset of gd-atlas")
    version = int(ds.attrs["schema_version"])
    _require(
        version <= SCHEMA_VERSION,
        f"schema_version: got {version}, this version reads up to {SCHEMA_VERSION}; update gd-atlas",
    )
    study = Study.from_json(ds.attrs["study"])
    _require(study.hash == ds.attrs["study_hash"], "study_hash: does not belong to the stored study")
    box = Box.from_runs(json.loads(ds.attrs["box"])) if "box" in ds.attrs else Box.whole(study)
    expected = sizes(study) | dict(zip((*study.axes, "seed"), box.shape, strict=True))
    for name, variable in variables(study).items():
        _require(name in ds, f"variable {name!r} is missing")
        dims = (*study.axes, "seed", *variable.dims)
        _require(ds[name].dims == dims, f"{name}: got dimensions {ds[name].dims}, expected {dims}")
        for dim in dims:
            _require(ds.sizes[dim] == expected[dim], f"{dim}: got size {ds.sizes[dim]}, expected {expected[dim]}")
    for name, array in ds.variables.items():
        for attribute in ("units", "long_name"):
            _require(attribute in array.attrs, f"{name}: attribute {attribute!r} is missing")
    for (name, axis), indices in zip(study.axes.items(), box.indices, strict=False):
        expects = [axis.values[i] for i in indices]
        _require(ds[name].values.tolist() == expects, f"{name}: is not the axis of the stored study")
    if values:
        _check_values(ds, study)


def _check_values(ds: xr.Dataset, study: Study) -> None:
    status = ds["status"]
    _require(bool(status.isin(list(STATUS.values())).all()), "status: holds a number that is no status")
    finished = status >= FINISHED
    _require(bool((ds["stop_step"] >= 0).equals(finished)), "stop_step: disagrees with status")
    if ds.attrs["complete"]:
        _require(bool(finished.all()), "complete: says yes, but some members are not finished")
    reached = ds["stage_end_step"] >= 0
    for name, variable in variables(study).items():
        if variable.dtype is not None:
            continue
        known = reached & finished if "stage" in variable.dims else finished
        if np.isnan(ds[name].values).any():
            bad = ds[name].isnull() & known
            _require(not bool(bad.any()), f"{name}: is NaN for {int(bad.sum())} values of finished members")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise SchemaError(message)
