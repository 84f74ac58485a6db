"""What teachers that are given by their sizes and, maybe, an angle have in common."""

import abc
import math
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from pydantic import Field, model_validator

from ...spec import RADIANS, Count
from ..activations import AbstractActivation
from ..draws import random_frame, random_signs
from ..given import Row
from ..models import TwoLayer
from .base import AbstractTwoLayerTeacher

Angle = Annotated[float, Field(gt=0.0), RADIANS]

ROTATION = 2
"""What the teacher's key is folded with for its rotation."""


class AbstractPlantedTeacher(AbstractTwoLayerTeacher):
    """A teacher given by its sizes and, maybe, an angle."""

    neurons: Count
    inputs: Count
    """d."""
    output_weights: Literal["positive", "alternating", "random"] | Row = "positive"
    """a*_j: all 1; 1, −1, 1, …; fair signs, drawn for each seed; or the values themselves."""
    rotation: Literal["axes", "random"] = "axes"
    """Rows on the coordinate axes, or turned by a uniform rotation of the input, drawn for each seed."""

    def shape(self) -> tuple[int, int]:
        return self.neurons, self.inputs

    @abc.abstractmethod
    def rows(self, key: PRNGKeyArray) -> Float[Array, "teacher_neuron rank"]:
        """Unit rows in the coordinates of the first `rank` inputs."""

    def draw(self, key: PRNGKeyArray, columns: int | None = None) -> TwoLayer:
        key_rows, key_signs = jax.random.split(key)
        rows = self.rows(key_rows)
        if columns is None and self.rotation == "random":
            W = rows @ random_frame(jax.random.fold_in(key, ROTATION), self.inputs, rows.shape[1]).T
        else:
            W = jnp.pad(rows, ((0, 0), (0, (columns or self.inputs) - rows.shape[1])))
        return TwoLayer(self._signs(key_signs), W, self.sigma)

    def turned(self, columns: int) -> AbstractTwoLayerTeacher:
        """This teacher as it is in `columns` coordinates of its own plane, where d and rotations are out of sight."""
        return self.model_copy(update={"inputs": columns, "rotation": "axes"})

    def _signs(self, key: PRNGKeyArray) -> Float[Array, " teacher_neuron"]:
        if not isinstance(self.output_weights, str):
            return jnp.asarray(self.output_weights)
        match self.output_weights:
            case "positive":
                return jnp.ones(self.neurons)
            case "alternating":
                return jnp.where(jnp.arange(self.neurons) % 2 == 0, 1.0, -1.0)
            case "random":
                return random_signs(key, self.neurons)

    @abc.abstractmethod
    def gram(self) -> np.ndarray | None:
        """W* W*ᵀ where every seed has the same; None where seeds differ."""

    def known(self) -> tuple[np.ndarray, np.ndarray] | None:
        gram = self.gram()
        sizes = np.abs(self.output_weights) if isinstance(self.output_weights, tuple) else np.ones(self.neurons)
        return None if gram is None else (sizes, gram)

    @model_validator(mode="after")
    def _check_sizes(self):
        if isinstance(self.output_weights, tuple) and len(self.output_weights) != self.neurons:
            raise ValueError(
                f"output_weights: got {len(self.output_weights)} values for neurons = {self.neurons}; give "
                "one a teacher neuron"
            )
        return self


def refuse_rank(neurons: int, inputs: int, what: str) -> None:
    if neurons > inputs:
        raise ValueError(f"neurons: got {neurons} {what} rows in inputs = {inputs} dimensions; at most {inputs} fit")


def widest(sigma: AbstractActivation) -> tuple[float, str]:
    """The largest angle there is between two neurons, and what the angle is between."""
    lines = sigma.symmetry == "line"
    return (math.pi / 2, "lines (even activation)") if lines else (math.pi, "rays")


def refuse_wide(separation: float, sigma: AbstractActivation) -> None:
    limit, between = widest(sigma)
    if separation > limit * (1 + 1e-12):
        raise ValueError(
            f"separation: got {separation:g} rad between {between} of {sigma.name}; the angle is at most "
            f"{limit:.6g} rad"
        )
