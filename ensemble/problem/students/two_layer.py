"""The two-layer student of a two-layer teacher."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import model_validator

from ...parts import chosen, is_lenient
from ...spec import Count, Whole
from ..activations import largest_norm
from ..draws import Space, full_space
from ..models import reduce_pair
from ..risks import PopulationRisk
from ..starts import AbstractStart, Balanced, GivenStart
from ..teachers import AbstractTeacher, AbstractTwoLayerTeacher
from .base import AbstractComparedStudent, AbstractSizedStudent, Stored


class TwoLayerStudent(AbstractComparedStudent, AbstractSizedStudent):
    """A `TwoLayer`, `neurons` + `extra_neurons` wide, from `start`, on the exact population risk.

    `inputs` may be left out: it is the teacher's.
    """

    learns: ClassVar[type[AbstractTeacher]] = AbstractTwoLayerTeacher
    from_samples: ClassVar[bool] = True
    stored: ClassVar[Mapping[str, Stored]] = {
        "a": Stored("model.a", ("neuron",), "final output weights"),
        "W": Stored("model.W", ("neuron", "input"), "final first-layer weights"),
        "teacher_a": Stored("risk.teacher.a", ("teacher_neuron",), "teacher output weights"),
        "teacher_W": Stored("risk.teacher.W", ("teacher_neuron", "input"), "teacher first-layer weights"),
    }

    kind: Literal["two_layer"] = "two_layer"
    neurons: Count
    extra_neurons: Whole = 0
    inputs: Count | None = None
    start: chosen(AbstractStart) = Balanced()  # pyright: ignore[reportInvalidTypeForm]

    @property
    def width(self) -> int:
        return self.neurons + self.extra_neurons

    @model_validator(mode="after")
    def _check(self):
        if not is_lenient():
            self.start.check_width(self.width)
        return self

    def check(self, teacher):
        _, inputs = teacher.shape()
        own = len(self.start.W[0]) if isinstance(self.start, GivenStart) else self.inputs
        if own is not None and own != inputs:
            raise ValueError(
                f"student.inputs: got {own}, but teacher.inputs = {inputs}; student and teacher see the same x, so "
                "leave student.inputs out or make it equal"
            )
        refuse_long_rows(teacher, self.start)

    def space(self, teacher, reduces):
        _, inputs = teacher.shape()
        plane = teacher.plane()
        columns = plane + self.start.independent_rows(self.width)
        if not reduces or inputs <= columns:
            return full_space(inputs)
        return Space(columns=columns, plane=plane, inputs=inputs, reduced=True)

    def sizes(self, teacher, space):
        return {"neuron": self.width, "teacher_neuron": teacher.shape()[0], "input": space.columns}

    def described(self, teacher, space):
        return {
            "student_neurons": (self.width, "student neurons m of the cell; neurons beyond are stored as 0"),
            "teacher_neurons": (teacher.shape()[0], "teacher neurons m* of the cell; neurons beyond are stored as 0"),
            "inputs": (teacher.shape()[1], "dimension d of the input x"),
            "coordinates": (space.columns, "coordinates that rows of W are written in: d, or at most m + r of a basis"),
        }

    def structures(self, teacher, space):
        of_teacher = teacher.structure()
        if space.reduced and not isinstance(self.start, GivenStart):
            # In reduced coordinates the number of inputs is an argument of the program.
            of_teacher = of_teacher.turned(space.columns)
        student = self.structure().model_copy(update={"neurons": self.width, "extra_neurons": 0, "inputs": None})
        return of_teacher, student

    def draw(self, teacher, keys, space):
        given = isinstance(self.start, GivenStart)
        # Given rows have all d coordinates, and so must the teacher that they are reduced together with.
        planted = teacher.draw(keys.teacher, space.columns if space.reduced and not given else None)
        model = self.start.draw(keys.start, planted, self.width, space)
        if space.reduced and given:
            model, planted = reduce_pair(model, planted, space.columns)
        return model, self.posed(model, PopulationRisk.of(planted), planted)


def refuse_other_rows(teacher: AbstractTwoLayerTeacher, start: AbstractStart, field: str) -> None:
    """Refuses a given start whose rows are not those of the teacher that stands in `field`."""
    inputs = teacher.shape()[1]
    if isinstance(start, GivenStart) and len(start.W[0]) != inputs:
        raise ValueError(
            f"student.start.W: got rows of {len(start.W[0])} inputs, but those of {field} have {inputs}; make them "
            "equal"
        )


def refuse_long_rows(teacher: AbstractTwoLayerTeacher, start: AbstractStart) -> None:
    """Refuses rows that are known to be longer than the activation's series serves."""
    most = largest_norm(teacher.sigma)
    known = teacher.known()
    rows = {"the teacher": 1.0 if known is None else float(np.sqrt(np.diagonal(known[1]).max()))}
    if isinstance(start, GivenStart):
        rows["the given start"] = float(np.linalg.norm(np.asarray(start.W), axis=1).max())
    for whose, norm in rows.items():
        if norm > most * (1.0 + 1e-9):
            raise ValueError(
                f"teacher.activation: got {teacher.sigma.name}, whose kernel is a series for norms up to {most:g}, and "
                f"a row of {whose} has norm {norm:.4g}; say activation = "
                f'{{kind = "{teacher.sigma.name}", largest_norm = …}} with a larger one'
            )
