"""Cells: the points of a study's grid, each resolved to its parts."""

import math
from functools import cached_property
from typing import Any, NamedTuple

from pydantic import ValidationError, model_validator

from ..dynamics.protocols import argument, resolve
from ..dynamics.stages import Protocol, Stage
from ..dynamics.updates import AbstractInstantUpdate
from ..parts import REGISTRY, chosen, is_lenient
from ..probes import PROBES
from ..problem.activations import largest_norm
from ..problem.data import Data
from ..problem.students import AbstractNumberedStudent, AbstractSizedStudent, AbstractStudent, TwoLayerStudent
from ..problem.teachers import AbstractTeacher, AbstractTwoLayerTeacher
from ..spec import Spec
from .axes import Scalar, as_table
from .errors import an, messages
from .sampled import data_refusal
from .units import DEFAULT_STUDENT

Teacher = chosen(AbstractTeacher)
Student = chosen(AbstractStudent, DEFAULT_STUDENT)


class Cell(Spec):
    """One grid point, resolved: what all its members share."""

    teacher: Teacher  # pyright: ignore[reportInvalidTypeForm]
    student: Student  # pyright: ignore[reportInvalidTypeForm]
    protocol: dict[str, Any]
    data: Data | None = None

    @property
    def is_sampled(self) -> bool:
        """Whether its members are trained on samples."""
        return self.data is not None and self.data.is_sampled

    @property
    def is_isotropic(self) -> bool:
        """Whether rotations of x change nothing of what its members are trained on."""
        return self.data is None or (self.data.inputs.isotropic and not self.data.is_sampled)

    @property
    def inputs(self) -> int | None:
        """The dimension d of x; None where the teacher does not say it."""
        if isinstance(self.teacher, AbstractTwoLayerTeacher):
            return self.teacher.shape()[1]
        return getattr(self.teacher, "inputs", None)

    @property
    def is_closed(self) -> bool:
        """Whether the population loss of its members has a closed form under N(0, I)."""
        return getattr(self.student, "exact", True) and getattr(self.teacher, "exact", True)

    @property
    def is_exact(self) -> bool:
        """Whether the population loss of its members has a closed form."""
        if not self.is_closed:
            return False
        refusal = None if self.data is None else getattr(self.data.inputs, "exact_refusal", None)
        return refusal is None or refusal(self.student, self.teacher) is None

    @property
    def outgrows_kernel(self) -> bool:
        """Whether its members can train on where their exact loss is not known any more: rows longer than a series
        serves, of students that are trained on samples."""
        sigma = getattr(self.teacher, "sigma", None)
        return self.is_sampled and self.is_exact and sigma is not None and largest_norm(sigma) < math.inf

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
            those = [name for name, part in REGISTRY["student"].items() if isinstance(self.teacher, part.learns)]
            others = f"a {' or '.join(those)} student" if those else "a student of another kind"
            raise ValueError(
                f"teacher.kind: got {self.teacher.kind!r}, which {an(self.student.kind)} student cannot learn from; it "
                f"learns from {', '.join(known)}: take one of these, or {others}"
            )
        if isinstance(self.student, AbstractSizedStudent | AbstractNumberedStudent):
            self.student.check(self.teacher)
        if refusal := data_refusal(self):
            raise ValueError(refusal)
        for stage in self.stages.stages:
            if isinstance(stage.update, AbstractInstantUpdate):
                stage.update.check(self.student, self.teacher)
            if refusal := _penalty_refusal(stage, self.student, self.teacher):
                raise ValueError(refusal)
            if refusal := _choice_refusal(self, stage):
                raise ValueError(refusal)
            for rule in stage.slow_rules:
                if not isinstance(self.student, PROBES[rule].of):
                    raise ValueError(
                        f"protocol.{rule}: got a rule in the stage {stage.name!r} that {an(self.student.kind)} student "
                        "cannot meet; end it by grad_norm, loss or steps"
                    )
            for name in ("layers", "fresh"):
                if refusal := _layers_refusal(stage, name, self.student):
                    raise ValueError(refusal)
        return self


def _layers_refusal(stage: Stage, name: str, student: AbstractStudent) -> str | None:
    """Why a stage's layers, or fresh ones, are none of a student."""
    layers = getattr(stage, name)
    if layers is None:
        return None
    said = f"protocol.{name}: got {list(layers) if isinstance(layers, tuple) else layers!r} in the "
    said += f"stage {stage.name!r} for {an(student.kind)} student"
    if name == "fresh" and not getattr(student, "is_plain", True):
        return (
            f"{said} with output_scale, recentred or linearised, whose function is one of its start; leave it out, or "
            "these"
        )
    if layers == "both" or isinstance(student, AbstractSizedStudent):
        return f'{said}; take "first", "output" or "both"' if isinstance(layers, tuple) else None
    if not isinstance(student, AbstractNumberedStudent):
        which = "all of whose weights move" if name == "layers" else "whose weights are of no layers"
        return f"{said}, {which}; " + ("leave layers out" if name == "layers" else 'take "both", or leave it out')
    beyond = [n for n in layers if n >= student.depth] if isinstance(layers, tuple) else []
    if beyond:
        return f"{said}, which has no layer {beyond[0]}: there are {student.depth}, from 0 to {student.depth - 1}"
    return None


def _penalty_refusal(stage: Stage, student: AbstractStudent, teacher: AbstractTeacher) -> str | None:
    """Why a stage's penalty means nothing for a student."""
    penalty = stage.penalty
    two_layers = isinstance(student, TwoLayerStudent)
    if not two_layers and (penalty.of_neurons or getattr(penalty, "layers", None) is not None):
        return (
            f"protocol.penalty: got {penalty.kind!r} in the stage {stage.name!r} for {an(student.kind)} student, which "
            "has no neurons of two layers; take l2, or l1 without layers"
        )
    sigma = getattr(teacher, "sigma", None)
    if two_layers and penalty.needs_homogeneous and sigma is not None and not sigma.homogeneous:
        return (
            f"protocol.penalty: got {penalty.kind!r} in the stage {stage.name!r} with activation {sigma.name}, which "
            "is not 1-homogeneous: there |a|‖w‖ is no size of the neuron's function; take l2, l1 or group_lasso"
        )
    return None


def _choice_refusal(cell: Cell, stage: Stage) -> str | None:
    """Why a stage's neurons or target are none of a cell's student or teacher."""
    student, teacher = cell.student, cell.teacher
    for name, is_chosen in (("neurons", stage.by_neuron), ("target", stage.targeted)):
        chosen_ones = getattr(stage, name)
        if not is_chosen:
            continue
        field = argument(cell.protocol["kind"], name)
        if not isinstance(student, TwoLayerStudent) or not isinstance(teacher, AbstractTwoLayerTeacher):
            return (
                f"{field}: got {chosen_ones!r} in the stage {stage.name!r} for {an(student.kind)} student, "
                "which has no neurons of two layers; leave it out"
            )
        if name == "target" and not student.is_plain:
            return (
                f"{field}: got {chosen_ones!r} in the stage {stage.name!r} for a student with output_scale, "
                "recentred or linearised; leave it out"
            )
        count, whose = (student.width, "student") if name == "neurons" else (teacher.shape()[0], "teacher")
        beyond = [n for n in chosen_ones if n >= count] if isinstance(chosen_ones, tuple) else []
        if beyond:
            return (
                f"{field}: got {beyond[0]} in the stage {stage.name!r}, which is no {whose} neuron: there are "
                f"{count}, from 0 to {count - 1}"
            )
    return None


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
