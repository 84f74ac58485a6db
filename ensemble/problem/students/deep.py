"""The deep student: a fully connected network of any depth, on samples."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import jax.numpy as jnp
from pydantic import Field, PositiveInt, model_validator

from ...parts import chosen, is_lenient
from ..activations import AbsCentred, AbstractActivation, ReLUEven, activation
from ..models import Deep, Multipliers, Residual
from ..starts import AbstractFreeLayersStart, Gaussian
from ..teachers import AbstractTeacher, AbstractTwoLayerTeacher, Activation
from .base import AbstractComparedStudent, AbstractLayeredStudent, NoClosedForm, Stored
from .parametrisation import Parametrisation, multipliers, start_shares


class DeepStudent(AbstractComparedStudent, AbstractLayeredStudent):
    """`depth` layers of weights with σ = `activation` between them (the teacher's where none is said), on samples.

    `width` hidden units in each hidden layer, or a list of them; `bias`: of every layer, 0 at the start; `residual`:
    h + s·σ(…) in hidden layers beyond the first, of one width, with s = 1, 1/√L or 1/L; `norm`: layer norm without
    gain before σ; `parametrisation`: how multipliers and starts of layers go with the width. A
    teacher of two layers has one output, of others as many as it has.
    """

    learns: ClassVar[type[AbstractTeacher]] = AbstractTwoLayerTeacher
    exact: ClassVar[bool] = False
    from_samples: ClassVar[bool] = True
    stored: ClassVar[Mapping[str, Stored]] = {
        "layer_weights": Stored(
            "model.stacked", ("layer", "layer_output", "layer_input"), "final weights of every layer"
        ),
        "layer_biases": Stored("model.stacked_biases", ("layer", "layer_output"), "final biases of every layer"),
        "teacher_a": Stored("risk.teacher.a", ("teacher_neuron",), "teacher output weights"),
        "teacher_W": Stored("risk.teacher.W", ("teacher_neuron", "input"), "teacher first-layer weights"),
    }

    kind: Literal["deep"] = "deep"
    depth: Annotated[int, Field(ge=2, le=64)] = 3
    width: PositiveInt | Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    activation: Activation = None
    bias: bool = False
    residual: Residual = "none"
    norm: bool = False
    parametrisation: Parametrisation | None = None
    """How layers go with the width; "standard" where nothing is said."""
    start: chosen(AbstractFreeLayersStart) = Gaussian()  # pyright: ignore[reportInvalidTypeForm]

    def draw(self, teacher, keys, space):
        planted = teacher.draw(keys.teacher)
        sizes = self.sizes_of(teacher)
        kind = self.parametrisation or "standard"
        weights = self.start.draw(keys.start, planted, sizes)
        if kind != "standard":
            weights = [c * W for c, W in zip(start_shares(kind, sizes), weights, strict=True)]
        biases = [jnp.zeros(rows) for rows in sizes[1:]] if self.bias else None
        factors = self.multipliers_of(teacher)
        model = Deep(weights, self.sigma(teacher), biases, self.residual, self.norm, factors)
        return model, NoClosedForm(planted, self.view_of(model))

    def sigma(self, teacher: AbstractTwoLayerTeacher) -> AbstractActivation:
        """σ: its own, or the teacher's."""
        return activation(teacher.activation if self.activation is None else self.activation)

    def multipliers_of(self, teacher: AbstractTwoLayerTeacher) -> Multipliers | None:
        """Those of its parametrisation; None: 1."""
        return multipliers(self.parametrisation or "standard", self.sizes_of(teacher))

    def sizes_of(self, teacher: AbstractTwoLayerTeacher) -> tuple[int, ...]:
        """Inputs, every hidden width, outputs."""
        widths = self.width if isinstance(self.width, tuple) else (self.width,) * (self.depth - 1)
        return (teacher.shape()[1], *widths, 1)

    def check(self, teacher):
        sigma = self.sigma(teacher)
        if isinstance(sigma, AbsCentred | ReLUEven):
            raise ValueError(
                f"student.activation: got {sigma.name!r}, from which Hermite degrees of a normal preactivation are "
                'removed; those of a deep network are not normal: say student.activation, "relu" or "abs"'
            )

    @model_validator(mode="after")
    def _check(self):
        if is_lenient():
            return self
        if isinstance(self.width, tuple) and len(self.width) != self.depth - 1:
            raise ValueError(
                f"width: got {len(self.width)} of them for depth = {self.depth}; give one number for all hidden "
                f"layers, or {self.depth - 1}"
            )
        if self.residual != "none" and isinstance(self.width, tuple) and len(set(self.width)) > 1:
            raise ValueError(
                f"residual: got {self.residual!r} between hidden layers of the widths {list(self.width)}; a residual "
                "connection needs equal ones: make them equal, or leave residual out"
            )
        if self.parametrisation == "mean_field" and self.depth != 2:
            raise ValueError(
                f"parametrisation: got 'mean_field' with depth = {self.depth}, in which features of a drawn start "
                "vanish as the width grows; take 'mup', which is 'mean_field' at depth = 2"
            )
        self.start.check_depth(self.depth)
        return self
