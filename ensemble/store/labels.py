"""Labels: coordinates, sizes of cells, units and attributes around the arrays of a box."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ..problem.students import AbstractSizedStudent
from ..study import Study
from .boxes import Box
from .schema import BEFORE_DECAY, SCHEMA_VERSION, STATUS, Variable, adopted, variables


def labelled(
    study: Study,
    box: Box,
    arrays: Mapping[str, Any],
    complete: bool,
    provenance: Mapping[str, Any],
    known: Mapping[str, Variable] | None = None,
) -> xr.Dataset:
    """The dataset of a box whose variables are `arrays`, of shape (axes…, seed, …); lazy where these are.

    `known` is what they are, where it is not what the study says. Of a study without its parts, `arrays` have the
    sizes of cells, too, of shape (axes…).
    """
    axes, layout = tuple(study.axes), adopted(study)
    data = {
        name: xr.Variable((*axes, "seed", *v.dims), arrays[name], _said(v.units, v.long_name))
        for name, v in (known or variables(study)).items()
        if name in arrays
    }
    data["status"].attrs.update(flag_values=np.array(list(STATUS.values()), np.int8), flag_meanings=" ".join(STATUS))
    if "loss_error" in data:
        for name in [name for name in ("loss", "loss_stage", "loss_history") if name in data]:
            data[name].attrs["comment"] = _estimated(study) if layout is None else layout.estimated
    data["status"].attrs["comment"] = "probes of diverged members may be infinite or NaN"
    for name, (values, long_name) in _cell_sizes(study, box).items():
        if name not in axes:  # else the coordinate says it
            data[name] = xr.Variable(axes, values.reshape(box.shape[:-1]), _said("1", long_name))
    for name, v in ({} if layout is None else layout.of_cells).items():
        data[name] = xr.Variable(axes, arrays[name], _said(v.units, v.long_name))
    attributes = {
        "title": f"gd-atlas ensemble: {study.name}",
        "question": study.question,
        "Conventions": "CF-1.11",
        "schema_version": SCHEMA_VERSION if set(variables(study)) <= set(data) else BEFORE_DECAY,
        "complete": int(complete),
        "study": study.text,
        "study_hash": study.hash,
        "box": json.dumps(box.runs()),
        **provenance,
    }
    return xr.Dataset(data, coords=_coordinates(study, box), attrs=attributes)


def _estimated(study: Study) -> str:
    """What is said of a loss that is estimated."""
    sizes = {(p.cell.is_exact, p.cell.data.test_count) for p in study.points if p.cell.data is not None}
    # Where this version knows all of them exactly, it was an earlier one that estimated them.
    estimated = {size for exact, size in sizes if not exact} or {size for _, size in sizes}
    said = ", ".join(f"{size:,}" for size in sorted(estimated))
    kept = all(p.cell.data.inputs.of_rows for p in study.points if p.cell.data is not None)
    whose = "rows that no member is trained on" if kept else "each member's own"
    return f"estimated on a test sample of {said}, {whose}; its standard error is loss_error"


def _cell_sizes(study: Study, box: Box) -> dict[str, tuple[np.ndarray, str]]:
    cells = [study.points[n].cell for n in np.unique(box.members(study) // study.seeds)]
    said: dict[str, list[tuple[int, str]]] = {}
    for cell in cells:
        student, space = cell.student, study.space(cell)
        if isinstance(student, AbstractSizedStudent) and space is not None:
            for name, value in student.described(cell.teacher, space).items():
                said.setdefault(name, []).append(value)
    # A size that only some of the cells have is none of the dataset's.
    return {
        name: (np.array([value for value, _ in values], np.int64), values[0][1])
        for name, values in said.items()
        if len(values) == len(cells)
    }


def _coordinates(study: Study, box: Box) -> dict[str, tuple]:
    coords: dict[str, tuple] = {
        name: (
            name,
            np.array(axis.values)[indices],
            _said(axis.units, axis.long_name or name.replace("_", " ")) | ({"scale": axis.scale} if axis.scale else {}),
        )
        for (name, axis), indices in zip(study.axes.items(), box.indices, strict=False)
    }
    coords["seed"] = ("seed", box.indices[-1], _said("1", "seed of the member's draws"))
    if study.record_steps:
        steps = np.array(study.record_steps, np.int64)
        coords["step"] = ("record", steps, _said("step", "descent steps taken at the record"))
    coords["stage"] = ("stage", np.array(study.stage_names), _said("1", "stage of the protocol"))
    return coords


def _said(units: str, long_name: str) -> dict[str, Any]:
    return {"units": units, "long_name": long_name}
