"""Study: a grid of cells times seeds, read from TOML, validated before any work starts.

A study file has the tables `teacher`, `student`, `protocol` and `axes` beside a few plain fields. Any field
of the three tables can be an axis:

    [axes]
    separation = [0.2, 0.5]                                # the one field of that name
    weight_decay = {field = "protocol.weight_decay", values = [0.0, 0.05], units = "1"}
    k = {values = [6, 7], fields = {"teacher.neurons" = [6, 7], "teacher.inputs" = [6, 7]}}

A cell is one point of the product of all axes; a member is a cell with a seed.
"""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr, ValidationError, model_validator

from ..dynamics.stages import Protocol
from ..parts import is_lenient, lenient
from ..probes import ALWAYS, PROBES
from ..problem.data import Data
from ..problem.draws import Space
from ..problem.students import AbstractSizedStudent
from ..spec import Spec, nearest
from . import checks, identity
from .axes import Axis, Scalar, as_table, axis_table, check_name, set_fields
from .cells import Cell, Point, Student, Teacher, resolved_protocol
from .errors import StudyError, is_told, messages, suggestion, told
from .files import table_of, table_of_text
from .sources import PartSource, load, used

_reading: ContextVar[bool] = ContextVar("reading", default=False)
"""Whether a stored study is read: names that were reserved since then stay axes of it."""
MOST_SEEDS = 2**32
"""A generator takes 32 bits of a seed: beyond them seeds would be drawn twice."""
RecordSteps = Annotated[tuple[Annotated[int, Field(ge=0, lt=checks.NO_STEP)], ...], Field(max_length=100_000)]


class Study(Spec):
    """A grid of cells times seeds, and what is measured and stored of each member.

    Members are numbered cell by cell (the last axis fastest), seeds innermost.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    question: str = ""
    seeds: Annotated[int, Field(gt=0, le=MOST_SEEDS)] = 1
    """How many seeds a cell has: 0, 1, …, seeds − 1."""
    root_seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    precision: Literal["float64", "float32"] = "float64"
    max_steps: Annotated[int, Field(ge=1, lt=2**31 - 1)] | None = None
    """A cap on the descent steps of every member."""
    records: Annotated[int, Field(ge=0, le=100_000)] | RecordSteps = 40
    """How many log-spaced steps are recorded (0: none), or the steps themselves."""
    probes: tuple[str, ...]
    """What is measured; a study that does not say it has the usual probes of its student."""
    record_certificate: Literal[True] | None = None
    """Whether the probes `gap` and `certificate_max` are measured at records, too, and not only at stage ends."""
    store_weights: bool = False
    coordinates: Literal["auto", "full", "reduced"] = "auto"
    """`auto`: where d is larger and no update or penalty knows the axes of the input, rows are written in at most m +
    r coordinates (exact; theory.md §3); `full`: in d; `reduced`: as `auto`, refused where it would not be exact."""
    active_threshold: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """A neuron is active when its mass is at least this share of the largest teacher mass."""
    teacher: Teacher  # pyright: ignore[reportInvalidTypeForm]
    student: Student  # pyright: ignore[reportInvalidTypeForm]
    protocol: dict[str, Any]
    data: Data | None = None
    """Inputs, samples and noise; none: the exact population risk of x ~ N(0, I)."""
    axes: dict[str, Axis] = Field(default_factory=dict)
    _checked: bool = PrivateAttr(default=False)
    _lacks_parts: bool = PrivateAttr(default=False)
    parts: tuple[PartSource, ...] = ()
    """Files of the user's own parts, imported before the study is read; paths from the study file's folder."""

    def __init__(self, /, **fields: Any):
        """**Raises:** `StudyError`, a line an error. **Warns:** `StudyWarning` of what runs and is hardly meant."""
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise StudyError("\n".join(messages(error))) from None
        if not is_told():
            checks.say_doubts(self)

    @classmethod
    def from_toml(cls, path: str | Path, fields: Mapping[str, Any] | None = None) -> Self:
        """Reads and validates a study file, with `fields` (`{"protocol.weight_decay": 0.1}`) in place of the file's.

        **Raises:** `StudyError` that names the file, the field's path, the value received and what would be
        right. **Warns:** `StudyWarning` for a step size beyond the stability bound.
        """
        path = Path(path)
        data = table_of(path, fields or {})
        try:
            data["parts"] = load(data.get("parts", ()), path.parent)
        except StudyError as error:
            raise StudyError(f"{path}: {error}") from error.__cause__
        study = cls._validated(data, f"{path}: ")
        checks.check_free(study, fields or {})
        return study

    @classmethod
    def stored(cls, text: str) -> Self:
        """`from_json` of a study that is to be read and not to be run: parts that cannot be imported stay tables.

        **Raises:** `StudyError` where the text is no study.
        """
        try:
            return cls.from_json(text)
        except StudyError:
            with lenient():
                return cls._of_text(text)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The study of a dataset's `study` attribute, whose text stays what it is.

        The user's own parts that it names are imported. The last few that need no file are kept: every analysis of a
        dataset asks for its study, and one of 10⁴ cells takes seconds to validate.

        **Raises:** `StudyError` where the text is no study, and where a part cannot be imported or has changed since.
        """
        if is_lenient() or checks.reads_files(study := _of_text_alone(cls, text)):
            return cls._of_text(text)
        return study

    @classmethod
    def _of_text(cls, text: str) -> Self:
        table = table_of_text(text)
        if not is_lenient():
            load(table.get("parts", ()), Path())
        token = _reading.set(True)
        try:
            with told():
                study = cls._validated(table, "study: ")
        finally:
            _reading.reset(token)
        object.__setattr__(study, "text", text)  # the cached property's value
        return study

    @classmethod
    def _validated(cls, data: dict[str, Any], prefix: str) -> Self:
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise StudyError("\n".join(prefix + line for line in messages(error))) from None

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
            raise StudyError(f"{name}: unknown field{suggestion(name, list(type(self).model_fields))}")
        data = self.model_dump(mode="json", exclude_none=True)
        if "axes" in changes:
            changes["axes"] = {name: self._axis(name, axis) for name, axis in dict(changes["axes"]).items()}
        for name, value in changes.items():
            data[name] = as_table(value)
        return self._validated({k: v for k, v in data.items() if v is not None}, "")

    def only(self, **values: Sequence[Scalar]) -> Self:
        """This study at some values of some axes; the other axes stay whole.

        **Raises:** `StudyError` for an axis or a value that the study does not have.
        """
        axes = dict(self.axes)
        for name, kept in values.items():
            if name not in axes:
                there = ", ".join(axes) or "none"
                raise StudyError(f"axes.{name}: no such axis; this study's axes are {there}{nearest(name, axes)}")
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

    @property
    def lacks_parts(self) -> bool:
        """Whether it was read without parts that it names: what only these know, its files have to say."""
        return self._lacks_parts

    @property
    def members(self) -> int:
        return self.seeds * math.prod(len(axis.values) for axis in self.axes.values())

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """Every grid point in the order of members."""
        return tuple(self._points())

    def _points(self) -> Iterator[Point]:
        base: dict[str, Any] = {"data": None}  # an axis may say it where the study does not
        base |= self.model_dump(mode="json", include={"teacher", "student", "protocol", "data"}, exclude_none=True)
        sizes = [range(len(axis.values)) for axis in self.axes.values()]
        for index in itertools.product(*sizes):
            labels = {name: axis.values[i] for (name, axis), i in zip(self.axes.items(), index, strict=True)}
            table = json.loads(json.dumps(base))
            set_fields(table, self.axes, index)
            try:
                cell = Cell.model_validate(table)
            except ValidationError as error:
                at = ", ".join(f"{name} = {label}" for name, label in labels.items())
                lines = [f"{line} (at {at})" if at else line for line in messages(error)]
                raise StudyError("\n".join(lines)) from None
            yield Point(index, labels, cell)

    def space(self, cell: Cell) -> Space | None:
        """The coordinates of a cell's rows: reduced where that is exact and fewer than the d inputs.

        None for a student whose weights are no rows of an input, and where parts that would say it are not here.
        """
        if self.lacks_parts or not isinstance(cell.student, AbstractSizedStudent):
            return None
        reduces = self.coordinates != "full" and cell.stages.rotation_equivariant and cell.is_isotropic
        return cell.student.space(cell.teacher, reduces and not any(checks.full_probes(self)))

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
    def recorded_probes(self) -> tuple[str, ...]:
        """The probes that are measured at records."""
        wanted = {"records", "stages"} if self.record_certificate else {"records"}
        return tuple(name for name in self.stored_probes if name in PROBES and PROBES[name].when in wanted)

    @property
    def stored_probes(self) -> tuple[str, ...]:
        """The probes of the dataset: those asked for, and what is always stored."""
        estimated = "loss" in self.probes and not all(point.cell.is_exact for point in self.points)
        always = (*ALWAYS, "loss_error") if estimated else ALWAYS
        return (*self.probes, *(name for name in always if name not in self.probes))

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

    def to_toml(self) -> str:
        """The resolved study as a study file, which `from_toml` reads back as this very study."""
        import tomli_w  # where a study is only run, it need not be installed

        return tomli_w.dumps(self.resolved())

    @cached_property
    def text(self) -> str:
        """The study as JSON: the text that was stored, where it was read from one, else the resolved study."""
        return identity.text_of(self.resolved())

    @cached_property
    def hash(self) -> str:
        """SHA-256 of `text` without the name and the question."""
        return identity.identity(self.text)

    @model_validator(mode="before")
    @classmethod
    def _prepare(cls, data: Any):
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if isinstance(data.get("protocol"), Protocol | dict):
            data["protocol"] = resolved_protocol(as_table(data["protocol"]))
        if data.get("probes") is None:
            data["probes"] = checks.usual_probes(data.get("student"), data.get("data"))
        if isinstance(data.get("axes"), dict):
            for name in data["axes"]:
                check_name(name, _reading.get())
            data["axes"] = {name: axis_table(name, axis, data) for name, axis in data["axes"].items()}
        return data

    @model_validator(mode="after")
    def _check(self):
        if not self._checked:  # pydantic validates what `__init__` has made once more
            self._check_once()
        return self

    def _check_once(self) -> None:
        checks.check_fields(self)
        checks.check_grid(self)
        checks.check_steps(self)
        self._checked = True
        if is_lenient():
            self._lacks_parts = True
            return
        checks.check_probes(self)
        if not _reading.get():
            checks.check_names(self)
            checks.check_schedules(self)
            checks.check_stored(self)
        checks.check_coordinates(self)
        # Frozen fields are set here alone, before anyone can have looked: which own parts a study has is known last.
        own = used(checks.parts_of(self), self.parts)
        object.__setattr__(self, "parts", tuple(own))


@lru_cache(maxsize=4)
def _of_text_alone(cls: type[Study], text: str) -> Any:
    """The study, once for a text; a file that it names may have changed since."""
    return cls._of_text(text)
