"""Cells: the points of a study's grid, each resolved to its parts."""

from functools import cached_property
from typing import Any, NamedTuple

from pydantic import ValidationError, model_validator

from ..dynamics.protocols import resolve
from ..dynamics.stages import Protocol
from ..dynamics.updates import AbstractInstantUpdate
from ..parts import REGISTRY, Spec, chosen, is_lenient
from ..probes import PROBES
from ..problem.students import AbstractSizedStudent, AbstractStudent
from ..problem.teachers import AbstractTeacher
from .axes import DEFAULT_STUDENT, Scalar, as_table
from .errors import messages

Teacher = chosen(AbstractTeacher)
Student = chosen(AbstractStudent, DEFAULT_STUDENT)


class Cell(Spec):
    """One grid point, resolved: what all its members share."""

    teacher: Teacher  # pyright: ignore[reportInvalidTypeForm]
    student: Student  # pyright: ignore[reportInvalidTypeForm]
    protocol: dict[str, Any]

    @cached_property
    def stages(self) -> Protocol:
        return resolve(self.protocol)[0]

    @model_validator(mode="before")
    @classmethod
    def _resolve_protocol(cls, data: Any):
        if isinstance(data, dict) and "protocol" in data:
            data = data | {"protocol": resolved_protocol(data["protocol"])}
        return data

    @model_validator(mode="after")
    def _check(self):
        if is_lenient():  # it was checked when it was made, with all its parts
            return self
        if not isinstance(self.teacher, self.student.learns):
            known = [name for name, part in REGISTRY["teacher"].items() if issubclass(part, self.student.learns)]
            raise ValueError(
                f"teacher.kind: got {self.teacher.kind!r}, which a {self.student.kind} student cannot learn from; it "
                f"learns from {', '.join(known)}: take one of these, or a student of another kind"
            )
        if isinstance(self.student, AbstractSizedStudent):
            self.student.check(self.teacher)
        for stage in self.stages.stages:
            if isinstance(stage.update, AbstractInstantUpdate):
                stage.update.check(self.student, self.teacher)
            for rule in stage.slow_rules:
                if not isinstance(self.student, PROBES[rule].of):
                    raise ValueError(
                        f"protocol.{rule}: got a rule in the stage {stage.name!r} that a {self.student.kind} student "
                        "cannot meet; end it by grad_norm, loss or steps"
                    )
            if stage.layers != "both" and not isinstance(self.student, AbstractSizedStudent):
                raise ValueError(
                    f"protocol.layers: got {stage.layers!r} in the stage {stage.name!r} for a {self.student.kind} "
                    "student, all of whose "
                    "weights move; leave layers out"
                )
        return self


class Point(NamedTuple):
    """A cell and where it lies on the grid."""

    place: tuple[int, ...]
    labels: dict[str, Scalar]
    cell: Cell


def resolved_protocol(table: Any) -> dict[str, Any]:
    """A protocol's table with every default filled in.

    **Raises:** `ValueError` with a line an error.
    """
    try:
        return as_table(resolve(table)[1])
    except ValidationError as error:
        raise ValueError("\n".join(f"protocol.{line}" for line in messages(error))) from None
    except ValueError as error:
        raise ValueError(f"protocol.{error}") from None
