"""The two-layer student with biases in both layers."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import NonNegativeFloat, model_validator

from ...parts import chosen, is_lenient
from ...spec import Count, Whole
from ..activations import AbsCentred, ReLUEven
from ..draws import full_space
from ..given import Row
from ..models import BiasedTwoLayer
from ..risks import BiasedRisk
from ..starts import AbstractStart, Balanced, NearTeacher
from ..teachers import AbstractTeacher, BiasedTeacher
from ..teachers.biased import check_biases, drawn_biases
from .base import AbstractTwoLayeredStudent, NoClosedForm, Stored
from .two_layer import refuse_other_rows


class BiasedStudent(AbstractTwoLayeredStudent):
    """f(x) = Σ_i a_i σ(w_iᵀx + b_i) + c: `neurons` + `extra_neurons` of them, with a and W from `start`.

    It is trained on the exact population risk where that has a closed form (`activations.biased`), and otherwise on
    samples. Biases move, and are penalised, with their layer.

    **Arguments:** `biases`: b at step 0, the values themselves or the standard deviation of normal ones; `output_bias`:
    c at step 0.
    """

    learns: ClassVar[type[AbstractTeacher]] = BiasedTeacher
    from_samples: ClassVar[bool] = True
    stored: ClassVar[Mapping[str, Stored]] = {
        "outer_weights": Stored("model.a", ("neuron",), "final output weights"),
        "inner_weights": Stored("model.W", ("neuron", "input"), "final first-layer weights"),
        "inner_biases": Stored("model.biases", ("neuron",), "final biases of neurons"),
        "outer_bias": Stored("model.output_bias", (), "final bias of the output"),
        "teacher_outer_weights": Stored("risk.teacher.a", ("teacher_neuron",), "teacher output weights"),
        "teacher_inner_weights": Stored("risk.teacher.W", ("teacher_neuron", "input"), "teacher first-layer weights"),
        "teacher_inner_biases": Stored("risk.teacher.biases", ("teacher_neuron",), "teacher biases of neurons"),
        "teacher_outer_bias": Stored("risk.teacher.output_bias", (), "teacher bias of the output"),
    }

    kind: Literal["biased"] = "biased"
    neurons: Count
    extra_neurons: Whole = 0
    start: chosen(AbstractStart) = Balanced()  # pyright: ignore[reportInvalidTypeForm]
    biases: NonNegativeFloat | Row = 0.0
    output_bias: float = 0.0

    @property
    def width(self) -> int:
        """m."""
        return self.neurons + self.extra_neurons

    def draw(self, teacher, keys, space):
        planted = teacher.draw(keys.teacher)
        # A start knows the rows of a teacher alone.
        rows = teacher.network.draw(keys.teacher)
        model = self.start.draw(keys.start, rows, self.width, full_space(planted.W.shape[-1]))
        biases = drawn_biases(self.biases, keys.start, self.width)
        risk = BiasedRisk.of(planted) if teacher.exact else NoClosedForm(planted)
        return BiasedTwoLayer(model.a, model.W, biases, self.output_bias, model.activation), risk

    def check(self, teacher):
        if isinstance(self.start, NearTeacher):
            raise ValueError(
                "student.start: got 'near_teacher' for a biased student, whose biases it does not copy; take another "
                "start, such as 'balanced', or 'given' with biases as a list"
            )
        refuse_other_rows(teacher.network, self.start, "teacher.network")
        if isinstance(teacher.sigma, AbsCentred | ReLUEven):
            raise ValueError(
                f"teacher.network.activation: got {teacher.sigma.name!r}, from which Hermite degrees of a neuron "
                'without a bias are removed; take "relu" or "abs"'
            )

    @model_validator(mode="after")
    def _check(self):
        if not is_lenient():
            self.start.check_width(self.width)
        check_biases(self.biases, self.width)
        return self
