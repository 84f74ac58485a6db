"""The convolutional student of a convolutional teacher."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import model_validator

from ...parts import chosen, is_lenient
from ...spec import Count
from ..draws import full_space
from ..risks import SharedRisk
from ..starts import AbstractStart, Balanced
from ..teachers import AbstractTeacher, ConvTeacher
from .base import AbstractComparedStudent, AbstractTwoLayeredStudent, NoClosedForm, Stored
from .two_layer import refuse_long_rows, refuse_other_rows


class ConvStudent(AbstractComparedStudent, AbstractTwoLayeredStudent):
    """`width` filters on the teacher's patches, under its pool, with its activation; from a `start` of two layers.

    With mean pooling it is trained on the exact population risk, with max pooling on samples.
    """

    learns: ClassVar[type[AbstractTeacher]] = ConvTeacher
    from_samples: ClassVar[bool] = True
    stored: ClassVar[Mapping[str, Stored]] = {
        "read_out": Stored("model.a", ("neuron",), "final output weights of filters"),
        "filters": Stored("model.W", ("neuron", "patch_input"), "final filters"),
        "teacher_read_out": Stored("risk.teacher.a", ("teacher_neuron",), "teacher output weights of filters"),
        "teacher_filters": Stored("risk.teacher.W", ("teacher_neuron", "patch_input"), "teacher filters"),
    }

    kind: Literal["conv"] = "conv"
    width: Count
    start: chosen(AbstractStart) = Balanced()  # pyright: ignore[reportInvalidTypeForm]

    def draw(self, teacher, keys, space):
        planted = teacher.draw(keys.teacher)
        on_patch = self.start.draw(keys.start, planted.on_patch, self.width, full_space(planted.W.shape[-1]))
        model = planted.with_filters(on_patch)
        if teacher.exact:
            return model, self.posed(model, SharedRisk.of(planted), planted)
        return model, NoClosedForm(planted, self.view_of(model))

    def check(self, teacher):
        refuse_other_rows(teacher.filters, self.start, "teacher.filters")
        if teacher.exact:
            refuse_long_rows(teacher.filters, self.start)

    @model_validator(mode="after")
    def _check(self):
        if not is_lenient():
            self.start.check_width(self.width)
        return self
