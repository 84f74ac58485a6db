"""The attention student of an attention teacher."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import jax

from ...parts import chosen
from ...spec import Count
from ..models import Attention
from ..starts import AbstractFreeLayersStart, Gaussian
from ..teachers import AbstractTeacher, AttentionTeacher
from .base import AbstractComparedStudent, AbstractNumberedStudent, NoClosedForm, Stored

_PROJECTION = ("head", "head_unit", "token_input")
_OF_TEACHER = ("teacher_head", "teacher_head_unit", "token_input")


class AttentionStudent(AbstractComparedStudent, AbstractNumberedStudent):
    """`heads` heads of `head_size` units on the teacher's tokens, every projection from `start`; trained on samples.

    Layers are numbered 0 query, 1 key, 2 value, 3 output.
    """

    learns: ClassVar[type[AbstractTeacher]] = AttentionTeacher
    exact: ClassVar[bool] = False
    from_samples: ClassVar[bool] = True
    depth: ClassVar[int] = 4  # pyright: ignore[reportIncompatibleVariableOverride] (of this student a constant)
    stored: ClassVar[Mapping[str, Stored]] = {
        "query_weights": Stored("model.query", _PROJECTION, "final query weights of every head"),
        "key_weights": Stored("model.key", _PROJECTION, "final key weights of every head"),
        "value_weights": Stored("model.value", _PROJECTION, "final value weights of every head"),
        "output_weights": Stored("model.output", ("head", "head_unit"), "final output weights of every head"),
        "teacher_query_weights": Stored("risk.teacher.query", _OF_TEACHER, "teacher query weights"),
        "teacher_key_weights": Stored("risk.teacher.key", _OF_TEACHER, "teacher key weights"),
        "teacher_value_weights": Stored("risk.teacher.value", _OF_TEACHER, "teacher value weights"),
        "teacher_output_weights": Stored("risk.teacher.output", _OF_TEACHER[:2], "teacher output weights"),
    }

    kind: Literal["attention"] = "attention"
    heads: Count
    head_size: Count | None = None
    """k; the teacher's where it is not said."""
    start: chosen(AbstractFreeLayersStart) = Gaussian()  # pyright: ignore[reportInvalidTypeForm]

    def draw(self, teacher, keys, space):
        planted = teacher.draw(keys.teacher)
        units, e = self.units(teacher), teacher.token_inputs
        rows = self.heads * units
        sizes = ((e, rows), (e, rows), (e, rows), (rows, 1))
        # Every projection is the first layer of a draw of its own: a larger block begins with the smaller one's heads.
        drawn = [
            self.start.draw(jax.random.fold_in(keys.start, place), planted, size)[0] for place, size in enumerate(sizes)
        ]
        query, key, value = (W.reshape(self.heads, units, e) for W in drawn[:3])
        model = Attention(query, key, value, drawn[3].reshape(self.heads, units), tokens=teacher.tokens)
        return model, NoClosedForm(planted, self.view_of(model))

    def units(self, teacher: AttentionTeacher) -> int:
        """k: its own, or the teacher's."""
        return teacher.head_size if self.head_size is None else self.head_size

    def check(self, teacher):
        return
