"""A deep network as a teacher."""

from typing import Annotated, ClassVar, Literal

import jax
from pydantic import Field, NonNegativeFloat, model_validator

from ...parts import chosen, is_lenient
from ...spec import Count
from ..activations import AbsCentred, AbstractActivation, ReLUEven, activation
from ..models import Deep, Residual
from ..starts import AbstractFreeLayersStart, Gaussian
from .base import AbstractTeacher, Activation
from .biased import drawn_biases


class DeepTeacher(AbstractTeacher):
    """f*(x) = W*_D h*_{D−1} + b*_D, h*_l = σ(W*_l h*_{l−1} + b*_l): a fully connected network of `depth` D with drawn
    `layers`.

    `width` hidden units in each hidden layer, or a list of them; `biases`: the standard deviation of independent normal
    ones in every layer, drawn for each seed, and without it there are none; `residual` and `norm` as those of a `deep`
    student. A hidden relu layer halves the mean square: layers of gain √2 keep it.
    """

    exact: ClassVar[bool] = False

    kind: Literal["deep"] = "deep"
    inputs: Count
    depth: Annotated[int, Field(ge=2, le=64)] = 3
    width: Count | Annotated[tuple[Count, ...], Field(min_length=1)]
    outputs: Count = 1
    activation: Activation = "relu"
    biases: NonNegativeFloat | None = None
    residual: Residual = "none"
    norm: bool = False
    layers: chosen(AbstractFreeLayersStart) = Gaussian(gain=2.0**0.5)  # pyright: ignore[reportInvalidTypeForm]
    """How W*_1, …, W*_D are drawn, for each seed: gaussian, orthogonal, or the identity."""

    @property
    def sigma(self) -> AbstractActivation:
        """σ."""
        return activation(self.activation)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Inputs, every hidden width, outputs."""
        widths = self.width if isinstance(self.width, tuple) else (self.width,) * (self.depth - 1)
        return (self.inputs, *widths, self.outputs)

    def draw(self, key):
        weights, biases = self.layers.draw(key, None, self.sizes), None
        if self.biases is not None:
            keys = (jax.random.fold_in(key, layer) for layer in range(self.depth))
            biases = [drawn_biases(self.biases, one, rows) for one, rows in zip(keys, self.sizes[1:], strict=True)]
        return Deep(weights, self.sigma, biases, self.residual, self.norm)

    @model_validator(mode="after")
    def _check(self):
        if is_lenient():
            return self
        check_widths(self.width, self.depth, self.residual)
        if isinstance(self.sigma, AbsCentred | ReLUEven):
            raise ValueError(
                f"activation: got {self.sigma.name!r}, from which Hermite degrees of a normal preactivation are "
                'removed; those of a deep network are not normal: take "relu" or "abs"'
            )
        return self


def check_widths(width: int | tuple[int, ...], depth: int, residual: Residual) -> None:
    """**Raises:** `ValueError` for widths that are not one a hidden layer, or not equal where residuals join them."""
    if not isinstance(width, tuple):
        return
    if len(width) != depth - 1:
        raise ValueError(
            f"width: got {len(width)} of them for depth = {depth}; give one number for all hidden layers, or "
            f"{depth - 1}"
        )
    if residual != "none" and len(set(width)) > 1:
        raise ValueError(
            f"residual: got {residual!r} between hidden layers of the widths {list(width)}; a residual connection "
            "needs equal ones: make them equal, or leave residual out"
        )
