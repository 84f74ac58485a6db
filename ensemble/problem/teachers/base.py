"""What a teacher is: a recipe for what a member is to learn."""

import abc
from typing import Annotated, Any, ClassVar

import numpy as np
from jaxtyping import PRNGKeyArray
from pydantic import BeforeValidator, PlainSerializer

from ...parts import Part
from ..activations import AbstractActivation, activation, chosen_activation, said
from ..models import TwoLayer

Activation = Annotated[Any, BeforeValidator(chosen_activation), PlainSerializer(said)]


class AbstractTeacher(Part):
    """A recipe for what is to be learned: `draw(key)` gives one member's, from its own key for this purpose."""

    role: ClassVar[str] = "teacher"
    exact: ClassVar[bool] = True
    """Whether students of its own kind have their population risk under N(0, I) in closed form."""

    has_biases: ClassVar[bool] = False
    """Whether its network has biases: a closed form of one without them is not its own, and what there is serves
    N(0, I) alone."""

    @abc.abstractmethod
    def draw(self, key: PRNGKeyArray) -> Any:
        """What one member learns: a pytree of arrays."""


class AbstractComposedTeacher(AbstractTeacher):
    """A teacher whose neurons are those of a two-layer one."""

    @property
    @abc.abstractmethod
    def two_layer(self) -> "AbstractTwoLayerTeacher":
        """The teacher that draws them."""

    @property
    def activation(self) -> Any:
        """That of its neurons."""
        return self.two_layer.activation

    @property
    def sigma(self) -> AbstractActivation:
        """σ."""
        return self.two_layer.sigma


class AbstractTwoLayerTeacher(AbstractTeacher):
    """A recipe for planted two-layer networks."""

    activation: Activation
    """A name, or a table with a `kind` and numbers; all are structure: an axis over one compiles programs."""

    @property
    def sigma(self) -> AbstractActivation:
        return activation(self.activation)

    @abc.abstractmethod
    def shape(self) -> tuple[int, int]:
        """(teacher neurons m*, inputs d)."""

    @abc.abstractmethod
    def plane(self) -> int:
        """How many coordinates hold the teacher's rows: an upper bound of the rank r."""

    @abc.abstractmethod
    def draw(self, key: PRNGKeyArray, columns: int | None = None) -> TwoLayer:
        """The teacher of one member; `key` is its own for this purpose.

        Its rows have d coordinates, or, with `columns`, those of its own plane followed by zeros.
        """

    @abc.abstractmethod
    def turned(self, columns: int) -> "AbstractTwoLayerTeacher":
        """This teacher as it is in `columns` coordinates of its own plane, where d and rotations are out of sight."""

    @abc.abstractmethod
    def known(self) -> tuple[np.ndarray, np.ndarray] | None:
        """(|a*|, Gram matrix W* W*ᵀ) where every seed has the same; None where seeds differ."""
