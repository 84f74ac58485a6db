"""Study: a grid of cells times seeds, read from TOML, validated before any work starts.

A study file has the tables `teacher`, `student`, `protocol` and `axes` beside a few plain fields. Any field
of the three tables can be an axis:

    [axes]
    separation = [0.2, 0.5]                                # the one field of that name
    weight_decay = {field = "protocol.weight_decay", values = [0.0, 0.05], units = "1"}
    k = {values = [6, 7], fields = {"teacher.neurons" = [6, 7], "teacher.inputs" = [6, 7]}}

A cell is one point of the product of all axes; a member is a cell with a seed.
"""

import difflib
import hashlib
import itertools
import json
import math
import re
import tomllib
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, PositiveInt, ValidationError, model_validator

from . import protocols
from .probes import MEMBER_PROBES, PROBES
from .protocol import Protocol
from .spec import Spec
from .stability import largest_stable_step
from .starts import AbstractStart, GivenStart, Student
from .teachers import TEACHERS, Teacher

Scalar = bool | int | float | str


class StudyError(ValueError):
    """A study that cannot be run as written; the message names the field, the value and the way out."""


class StudyWarning(UserWarning):
    """A study that can be run, but hardly means what it says."""


class Axis(Spec):
    """One grid parameter: the labels of its points, and the field or fields that it sets at each."""

    values: Annotated[tuple[Scalar, ...], Field(min_length=1)]
    field: str | None = None
    """The path of the one field that takes the values themselves, such as `protocol.weight_decay`."""
    fields: dict[str, tuple[Any, ...]] | None = None
    """Paths to the values that each field takes at each point."""
    units: str = "1"
    long_name: str = ""

    @model_validator(mode="after")
    def _check(self):
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"values: got {list(self.values)}; every point of an axis must differ")
        if any(isinstance(v, float) and not math.isfinite(v) for v in self.values):
            raise ValueError(f"values: got {list(self.values)}; every value must be finite")
        kinds = {isinstance(v, str) for v in self.values}
        if len(kinds) > 1:
            raise ValueError(f"values: got {list(self.values)}; give only numbers or only texts")
        for path, settings in (self.fields or {}).items():
            if len(settings) != len(self.values):
                raise ValueError(
                    f"fields.{path}: got {len(settings)} settings for {len(self.values)} values; give one a value"
                )
        if self.field is not None and self.fields is not None:
            raise ValueError("field: got both `field` and `fields`; give one of them")
        return self

    def settings(self, index: int) -> dict[str, Any]:
        """Path → value of the fields at one point."""
        if self.fields is not None:
            return {path: settings[index] for path, settings in self.fields.items()}
        assert self.field is not None, "an axis of a study knows its field"
        return {self.field: self.values[index]}

    def restrict(self, values: Sequence[Scalar], name: str) -> Self:
        """This axis at some of its values, in the order given."""
        unknown = [v for v in values if v not in self.values]
        if unknown:
            raise StudyError(f"axes.{name}: got {unknown[0]!r}; its values are {list(self.values)}")
        keep = [self.values.index(v) for v in values]
        fields = self.fields and {p: tuple(s[i] for i in keep) for p, s in self.fields.items()}
        return self.model_copy(update={"values": tuple(self.values[i] for i in keep), "fields": fields})


class Cell(Spec):
    """One grid point, resolved: what all its members share."""

    teacher: Teacher
    student: Student
    protocol: dict[str, Any]

    @cached_property
    def stages(self) -> Protocol:
        return protocols.resolve(self.protocol)[0]

    @model_validator(mode="before")
    @classmethod
    def _resolve_protocol(cls, data: Any):
        if isinstance(data, dict) and "protocol" in data:
            data = data | {"protocol": _resolved_protocol(data["protocol"])}
        return data

    @model_validator(mode="after")
    def _check(self):
        _, inputs = self.teacher.shape()
        own = self.student.inputs
        if isinstance(self.student.start, GivenStart):
            own = len(self.student.start.W[0])
        if own is not None and own != inputs:
            raise ValueError(
                f"student.inputs: got {own}, but teacher.inputs = {inputs}; student and teacher see the same x, so "
                "leave student.inputs out or make it equal"
            )
        homogeneous = self.teacher.sigma.homogeneous
        if not homogeneous and any(stage.update == "balance" for stage in self.stages.stages):
            raise ValueError(
                f"protocol: got a balance stage with activation {self.teacher.activation}, which is not "
                "1-homogeneous: rescaling a neuron would change the function; take another protocol or activation"
            )
        return self


class Point(NamedTuple):
    """A cell and where it lies on the grid."""

    place: tuple[int, ...]
    labels: dict[str, Scalar]
    cell: Cell


class Study(Spec):
    """A grid of cells times seeds, and what is measured and stored of each member.

    Members are numbered cell by cell (the last axis fastest), seeds innermost.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    question: str = ""
    seeds: PositiveInt = 1
    """How many seeds a cell has: 0, 1, …, seeds − 1."""
    root_seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    precision: Literal["float64", "float32"] = "float64"
    max_steps: Annotated[int, Field(ge=1, lt=2**31 - 1)] | None = None
    """A cap on the descent steps of every member."""
    records: Annotated[int, Field(ge=0, le=100_000)] | tuple[Annotated[int, Field(ge=0)], ...] = 40
    """How many log-spaced steps are recorded (0: none), or the steps themselves."""
    probes: tuple[str, ...] = MEMBER_PROBES
    store_weights: bool = False
    active_threshold: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """A neuron is active when its mass is at least this share of the largest teacher mass."""
    teacher: Teacher
    student: Student
    protocol: dict[str, Any]
    axes: dict[str, Axis] = Field(default_factory=dict)

    # -- making ------------------------------------------------------------------------------------

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """Reads and validates a study file.

        **Raises:** `StudyError` that names the file, the field's path, the value received and what would be
        right. **Warns:** `StudyWarning` for a step size beyond the stability bound.
        """
        path = Path(path)
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StudyError(f"{path}: no such study file; the studies that ship are in studies/") from None
        except (OSError, UnicodeDecodeError) as error:
            raise StudyError(f"{path}: cannot be read: {error}") from None
        except tomllib.TOMLDecodeError as error:
            raise StudyError(f"{path}: is not valid TOML: {error}") from None
        data.setdefault("name", path.stem)
        return cls._validated(data, f"{path}: ")

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The study of a dataset's `study` attribute."""
        return cls._validated(json.loads(text), "study: ", quiet=True)

    @classmethod
    def _validated(cls, data: dict[str, Any], prefix: str, quiet: bool = False) -> Self:
        try:
            study = cls.model_validate(data)
        except ValidationError as error:
            raise StudyError("\n".join(prefix + line for line in _messages(error))) from None
        if not quiet:
            study.warn()
        return study

    def replace(self, **changes: Any) -> Self:
        """This study with fields replaced, validated anew.

        `axes={"weight_decay": [0.0, 0.05]}` replaces the whole grid; a name that is an axis of this study
        keeps its fields, units and long name, and another name must be the name of one field. Where an
        axis is dropped, its fields keep the values of the tables. `only` restricts axes and keeps the others.
        `protocol` may be a `Protocol`, `teacher` and `student` parts or tables.

        **Raises:** `StudyError`.
        """
        unknown = set(changes) - set(type(self).model_fields)
        if unknown:
            name = sorted(unknown)[0]
            raise StudyError(f"{name}: unknown field{_suggestion(name, list(type(self).model_fields))}")
        data = self.model_dump(mode="json", exclude_none=True)
        if "axes" in changes:
            changes["axes"] = {name: self._axis(name, axis) for name, axis in dict(changes["axes"]).items()}
        for name, value in changes.items():
            data[name] = _as_table(value)
        return self._validated({k: v for k, v in data.items() if v is not None}, "")

    def only(self, **values: Sequence[Scalar]) -> Self:
        """This study at some values of some axes; the other axes stay whole.

        **Raises:** `StudyError` for an axis or a value that the study does not have.
        """
        axes = dict(self.axes)
        for name, kept in values.items():
            if name not in axes:
                raise StudyError(f"axes.{name}: no such axis; this study's axes are {', '.join(axes) or 'none'}")
            axes[name] = axes[name].restrict(tuple(kept), name)
        return self.replace(axes=axes)

    def _axis(self, name: str, axis: Any) -> Any:
        if isinstance(axis, (Axis, dict)) or name not in self.axes:
            return axis
        known = self.axes[name]
        values = tuple(np.asarray(axis).tolist())
        if known.fields is not None:
            return known.restrict(values, name)
        return known.model_copy(update={"values": values})

    # -- what it says ------------------------------------------------------------------------------

    @property
    def members(self) -> int:
        return self.seeds * math.prod(len(axis.values) for axis in self.axes.values())

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """Every grid point in the order of members."""
        return tuple(self._points())

    def _points(self) -> Iterator[Point]:
        base = self.model_dump(mode="json", include={"teacher", "student", "protocol"}, exclude_none=True)
        sizes = [range(len(axis.values)) for axis in self.axes.values()]
        for index in itertools.product(*sizes):
            labels = {name: axis.values[i] for (name, axis), i in zip(self.axes.items(), index, strict=True)}
            table = json.loads(json.dumps(base))
            for axis, i in zip(self.axes.values(), index, strict=True):
                for path, value in axis.settings(i).items():
                    _set(table, path, value)
            try:
                cell = Cell.model_validate(table)
            except ValidationError as error:
                at = ", ".join(f"{name} = {label}" for name, label in labels.items())
                lines = [f"{line} (at {at})" if at else line for line in _messages(error)]
                raise StudyError("\n".join(lines)) from None
            yield Point(index, labels, cell)

    def member_cap(self, cell: Cell) -> int:
        """The most descent steps that a member of this cell can take."""
        return min(cell.stages.steps, self.max_steps or cell.stages.steps)

    @cached_property
    def record_steps(self) -> tuple[int, ...]:
        """The steps at which probes are recorded, increasing; log-spaced from 1, with 0 and the last step."""
        if isinstance(self.records, tuple):
            return tuple(sorted(set(self.records)))
        last = max(self.member_cap(point.cell) for point in self.points)
        if self.records == 0:
            return ()
        # As many log-spaced steps as give `records` different integers: early ones coincide.
        count = self.records
        while True:
            steps = sorted({0, last, *np.geomspace(1, last, count).round().astype(int).tolist()})
            if len(steps) >= min(self.records, last + 1):
                return tuple(steps)
            count += max(1, self.records - len(steps))

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The names of all cells' stages, in the order in which they run where they occur together."""
        names: list[str] = []
        for point in self.points:
            place = 0
            for stage in point.cell.stages.stages:
                if stage.name in names:
                    place = names.index(stage.name) + 1
                else:
                    names.insert(place, stage.name)
                    place += 1
        return tuple(names)

    def resolved(self) -> dict[str, Any]:
        """The study as a table with every default filled in; `Study.from_json` reads it back."""
        return self.model_dump(mode="json", exclude_none=True)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the resolved study."""
        text = json.dumps(self.resolved(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def warn(self) -> None:
        """Warns of step sizes with which descent cannot stay at the teacher."""
        seen = set()
        for point in self.points:
            for stage in point.cell.stages.stages:
                key = (point.cell.teacher.model_dump_json(), stage.model_dump_json())
                if stage.update != "descent" or stage.steps == 1 or key in seen:
                    continue
                seen.add(key)
                limit = largest_stable_step(point.cell.teacher, stage.layers, stage.weight_decay)
                if limit is not None and stage.step_size > limit:
                    at = ", ".join(f"{n} = {v}" for n, v in point.labels.items())
                    warnings.warn(
                        f"protocol: got step_size = {stage.step_size:g} in stage {stage.name!r}"
                        f"{f' (at {at})' if at else ''}; above {limit:.3g} descent cannot rest at the teacher "
                        "(step size × sharpness > 2): expect oscillation or divergence, or lower it",
                        StudyWarning,
                        stacklevel=4,
                    )
                    return

    # -- validation --------------------------------------------------------------------------------

    @model_validator(mode="before")
    @classmethod
    def _prepare(cls, data: Any):
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if isinstance(data.get("protocol"), Protocol | dict):
            data["protocol"] = _resolved_protocol(_as_table(data["protocol"]))
        if isinstance(data.get("axes"), dict):
            data["axes"] = {name: _axis_table(name, axis, data) for name, axis in data["axes"].items()}
        return data

    @model_validator(mode="after")
    def _check(self):
        for name in self.probes:
            if name not in PROBES:
                raise ValueError(f"probes: got {name!r}{_suggestion(name, list(PROBES))}")
        for name in self.axes:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name in _RESERVED:
                raise ValueError(
                    f"axes.{name}: an axis needs a name of letters, digits and _ that is no dimension or "
                    "variable of the dataset and no argument of xarray's `sel`; rename it and say its `field`"
                )
        for point in self.points:
            if not isinstance(self.records, tuple) and self.member_cap(point.cell) < 1:
                raise ValueError("protocol: got no descent stage; a member needs at least one step")
        return self


# Dimensions and variables of the dataset, and arguments of xarray's own `sel`, which an axis could not be chosen by.
_RESERVED = {
    "method",
    "tolerance",
    "drop",
    "indexers",
    "seed",
    "record",
    "stage",
    "neuron",
    "teacher_neuron",
    "input",
    "step",
    "status",
    *PROBES,
}
_UNITS = {"separation": "rad", "distance": "rad", "max_angle": "rad", "steps": "step", "epoch_steps": "step"}


def _axis_table(name: str, axis: Any, data: dict[str, Any]) -> Any:
    """An axis with its field found by name where it does not say one."""
    table = dict(_as_table(axis)) if isinstance(axis, Axis | dict) else {"values": axis}
    if isinstance(table.get("values"), np.ndarray):
        table["values"] = table["values"].tolist()
    if table.get("field") is None and table.get("fields") is None:
        known = _paths(data)
        matches = [path for path in known if path.split(".")[-1] == name]
        if len(matches) != 1:
            reason = f"fits {' and '.join(matches)}" if matches else "is the name of no field"
            raise ValueError(
                f'axes.{name}: got no field, and {name!r} {reason}; say `field = "…"`, one of {", ".join(known)}'
            )
        table["field"] = matches[0]
    if "units" not in table and table.get("field"):
        table["units"] = _UNITS.get(table["field"].split(".")[-1], "1")
    return table


def _paths(data: dict[str, Any]) -> list[str]:
    """The paths of the fields that an axis can set."""
    found: list[str] = []

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}", inner)
        elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            for i, inner in enumerate(value):
                walk(f"{prefix}.{i}", inner)
        else:
            found.append(prefix)

    def with_fields(table: Any, specs: Any) -> dict[str, Any]:
        """The table with the other fields of its kind: an axis may set a field that the table leaves out."""
        table = {"kind": table} if isinstance(table, str) else dict(_as_table(table))
        known = {
            f: None
            for spec in specs
            if table.get("kind") == spec.model_fields["kind"].default
            for f in spec.model_fields
        }
        return known | table

    student = {name: None for name in Student.model_fields} | dict(_as_table(data.get("student", {})))
    student["start"] = with_fields(student["start"] or {}, AbstractStart.__subclasses__())
    walk("teacher", with_fields(data.get("teacher", {}), TEACHERS))
    walk("student", student)
    walk("protocol", data.get("protocol", {}))
    return found


def _set(table: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    place: Any = table
    for key in parents:
        try:
            place = place[int(key)] if isinstance(place, list) else place[key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise StudyError(f"axes: got the field {path!r}, of which {key!r} does not exist") from None
    if not parents and last not in table:
        raise StudyError(f"axes: got the field {path!r}; it must start with one of {', '.join(table)}")
    if isinstance(place, list):
        place[int(last)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise StudyError(f"axes: got the field {path!r}; {'.'.join(parents)} is a single value")


def _as_table(value: Any) -> Any:
    """Parts of a study as plain tables, inside dicts and sequences too."""
    if isinstance(value, Protocol):
        return {"kind": "stages"} | value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, Spec):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, dict):
        return {k: _as_table(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_as_table(v) for v in value]
    return value


def _resolved_protocol(table: Any) -> dict[str, Any]:
    try:
        return _as_table(protocols.resolve(table)[1])
    except ValidationError as error:
        raise ValueError("\n".join(f"protocol.{line}" for line in _messages(error))) from None
    except ValueError as error:
        raise ValueError(f"protocol.{error}") from None


# -- error messages ----------------------------------------------------------------------------------

_KINDS = {
    "orthonormal",
    "separated_pairs",
    "equiangular",
    "random_separated",
    "given",
    "symmetric",
    "balanced",
}
_KINDS |= {"xavier", "near_teacher", "halving", "optax"}


def _messages(error: ValidationError) -> list[str]:
    """One line an error: the field's path, the value received, what would be right."""
    lines: list[str] = []
    for item in error.errors():
        # The names of union members are no part of the path that a user wrote.
        where = ".".join(str(p) for p in item["loc"] if p not in _KINDS and not str(p).startswith("constrained"))
        if item["type"] == "value_error":
            own = str(item["ctx"]["error"]).split("\n") if "ctx" in item else [item["msg"]]
            lines += [f"{where}.{line}" if where else line for line in own]
            continue
        message = item["msg"][0].lower() + item["msg"][1:]
        if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            lines.append(f"{where}: unknown field{_suggestion(str(item['loc'][-1]), _field_names())}")
        elif item["type"] in ("missing", "missing_keyword_only_argument"):
            lines.append(f"{where}: is missing; this field is required")
        else:
            received = repr(item["input"])
            received = received if len(received) <= 80 else received[:77] + "..."
            lines.append(f"{where}: got {received}; {message}")
    return lines


def _suggestion(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(set(known)))}"


def _field_names() -> list[str]:
    def leaves(spec: type[Spec]) -> Iterator[str]:
        yield from spec.model_fields
        for inner in spec.__subclasses__():
            yield from leaves(inner)

    arguments = (n for f in protocols.PROTOCOLS.values() for n in f.__annotations__ if n != "return")
    return sorted({*leaves(Spec), *arguments})
