"""The deep linear student of a linear teacher."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ...parts import chosen
from ...spec import Count
from ..models import DeepLinear
from ..risks import LinearRisk
from ..starts import AbstractLinearStart, AlignedBalanced
from ..teachers import AbstractTeacher, DeepLinearTeacher
from .base import AbstractComparedStudent, AbstractLayeredStudent, Stored


class DeepLinearStudent(AbstractComparedStudent, AbstractLayeredStudent):
    """`depth` layers, `width` hidden units in each but the last, from `start`, on the exact population risk."""

    learns: ClassVar[type[AbstractTeacher]] = DeepLinearTeacher
    from_samples: ClassVar[bool] = True
    stored: ClassVar[Mapping[str, Stored]] = {
        "layer_weights": Stored(
            "model.stacked", ("layer", "layer_output", "layer_input"), "final weights of every layer"
        ),
        "teacher_matrix": Stored("risk.teacher.matrix", ("output", "input"), "teacher's matrix T"),
    }

    kind: Literal["deep_linear"] = "deep_linear"
    depth: Annotated[int, Field(ge=2, le=64)] = 2
    width: Count
    start: chosen(AbstractLinearStart) = AlignedBalanced()  # pyright: ignore[reportInvalidTypeForm]

    def draw(self, teacher, keys, space):
        planted = teacher.draw(keys.teacher)
        model = DeepLinear(self.start.draw(keys.start, planted, self.sizes_of(teacher)))
        return model, self.posed(model, LinearRisk(planted), planted)

    def check(self, teacher):
        return

    def sizes_of(self, teacher: DeepLinearTeacher) -> tuple[int, ...]:
        """Inputs, every hidden width, outputs."""
        return (teacher.inputs, *(self.width,) * (self.depth - 1), teacher.outputs)

    @model_validator(mode="after")
    def _check(self):
        self.start.check_depth(self.depth)
        return self
