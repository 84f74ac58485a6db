"""The deep student: a fully connected network of any depth, on samples."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ...parts import chosen, is_lenient
from ...spec import Count
from ..activations import AbsCentred, AbstractActivation, ReLUEven, activation
from ..models import Deep, Multipliers, Residual
from ..starts import AbstractDeepStart, Gaussian, NearLayers
from ..teachers import AbstractTeacher, AbstractTwoLayerTeacher, Activation, DeepTeacher, check_widths
from .base import AbstractComparedStudent, AbstractLayeredStudent, NoClosedForm, Stored
from .parametrisation import Parametrisation, multipliers, start_shares


class DeepStudent(AbstractComparedStudent, AbstractLayeredStudent):
    """`depth` layers of weights with σ = `activation` between them (the teacher's where none is said), on samples.

    `width` hidden units in each hidden layer, or a list of them; `bias`: of every layer, 0 at a free start; `residual`:
    h + s·σ(…) in hidden layers beyond the first, of one width, with s = 1, 1/√L or 1/L; `norm`: layer norm without
    gain before σ; `parametrisation`: how multipliers and starts of layers go with the width. Its teacher has two
    layers, and one output, or is a deep network of its own.
    """

    learns: ClassVar[Any] = AbstractTwoLayerTeacher | DeepTeacher
    exact: ClassVar[bool] = False
    from_samples: ClassVar[bool] = True
    stored: ClassVar[Mapping[str, Stored]] = {
        "layer_weights": Stored(
            "model.stacked", ("layer", "layer_output", "layer_input"), "final weights of every layer"
        ),
        "layer_biases": Stored("model.stacked_biases", ("layer", "layer_output"), "final biases of every layer"),
    }
    stored_of: ClassVar[Mapping[type[AbstractTeacher], Mapping[str, Stored]]] = {
        AbstractTwoLayerTeacher: {
            "teacher_a": Stored("risk.teacher.a", ("teacher_neuron",), "teacher output weights"),
            "teacher_W": Stored("risk.teacher.W", ("teacher_neuron", "input"), "teacher first-layer weights"),
        },
        DeepTeacher: {
            "teacher_layer_weights": Stored(
                "risk.teacher.stacked",
                ("teacher_layer", "teacher_layer_output", "teacher_layer_input"),
                "weights of every layer of the teacher",
            ),
            "teacher_layer_biases": Stored(
                "risk.teacher.stacked_biases",
                ("teacher_layer", "teacher_layer_output"),
                "biases of every layer of the teacher",
            ),
        },
    }

    kind: Literal["deep"] = "deep"
    depth: Annotated[int, Field(ge=2, le=64)] = 3
    width: Count | Annotated[tuple[Count, ...], Field(min_length=1)]
    activation: Activation = None
    bias: bool = False
    residual: Residual = "none"
    norm: bool = False
    parametrisation: Parametrisation | None = None
    """How layers go with the width; "standard" where nothing is said."""
    start: chosen(AbstractDeepStart) = Gaussian()  # pyright: ignore[reportInvalidTypeForm]

    def draw(self, teacher, keys, space):
        planted = teacher.draw(keys.teacher)
        sizes = self.sizes_of(teacher)
        kind = self.parametrisation or "standard"
        weights = self.start.draw(keys.start, planted, sizes)
        if kind != "standard":
            weights = [c * W for c, W in zip(start_shares(kind, sizes), weights, strict=True)]
        biases = self.start.biases(keys.start, planted, sizes) if self.bias else None
        factors = self.multipliers_of(teacher)
        model = Deep(weights, self.sigma(teacher), biases, self.residual, self.norm, factors)
        return model, NoClosedForm(planted, self.view_of(model))

    def sigma(self, teacher: AbstractTwoLayerTeacher | DeepTeacher) -> AbstractActivation:
        """σ: its own, or the teacher's."""
        return activation(teacher.activation if self.activation is None else self.activation)

    def multipliers_of(self, teacher: AbstractTwoLayerTeacher | DeepTeacher) -> Multipliers | None:
        """Those of its parametrisation; None: 1."""
        return multipliers(self.parametrisation or "standard", self.sizes_of(teacher))

    def sizes_of(self, teacher: AbstractTwoLayerTeacher | DeepTeacher) -> tuple[int, ...]:
        """Inputs, every hidden width, outputs."""
        widths = self.width if isinstance(self.width, tuple) else (self.width,) * (self.depth - 1)
        inputs, *_, outputs = _sizes(teacher)
        return (inputs, *widths, outputs)

    def check(self, teacher):
        sigma = self.sigma(teacher)
        if isinstance(sigma, AbsCentred | ReLUEven):
            raise ValueError(
                f"student.activation: got {sigma.name!r}, from which Hermite degrees of a normal preactivation are "
                'removed; those of a deep network are not normal: say student.activation, "relu" or "abs"'
            )
        if not isinstance(self.start, NearLayers):
            return
        own, planted = self.sizes_of(teacher), _sizes(teacher)
        if own != planted:
            raise ValueError(
                f"student.start: got 'near_layers' for layers of the sizes {list(own)} with a teacher of "
                f"{list(planted)}; give both one shape (depth and width), or take another start"
            )
        if isinstance(teacher, DeepTeacher) and teacher.biases is not None and not self.bias:
            raise ValueError(
                "student.start: got 'near_layers' for a student without biases beside a teacher that has them "
                "(teacher.biases); say student.bias = true, or take another start"
            )
        if self.parametrisation not in (None, "standard"):
            raise ValueError(
                f"student.start: got 'near_layers' with parametrisation = {self.parametrisation!r}, which multiplies "
                "layers that the teacher does not; leave one of them out"
            )

    @model_validator(mode="after")
    def _check(self):
        if is_lenient():
            return self
        check_widths(self.width, self.depth, self.residual)
        if self.parametrisation == "mean_field" and self.depth != 2:
            raise ValueError(
                f"parametrisation: got 'mean_field' with depth = {self.depth}, in which features of a drawn start "
                "vanish as the width grows; take 'mup', which is 'mean_field' at depth = 2"
            )
        self.start.check_depth(self.depth)
        return self


def _sizes(teacher: AbstractTwoLayerTeacher | DeepTeacher) -> tuple[int, ...]:
    """Inputs, every hidden width, outputs of a teacher."""
    if isinstance(teacher, DeepTeacher):
        return teacher.sizes
    neurons, inputs = teacher.shape()
    return (inputs, neurons, 1)
