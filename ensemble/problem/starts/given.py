"""A start as arrays."""

from typing import Literal

import jax.numpy as jnp
from pydantic import model_validator

from ..given import Row, check_given
from ..models import TwoLayer
from .base import AbstractStart


class GivenStart(AbstractStart):
    """The arrays themselves: `a` of shape (neuron,), `W` of shape (neuron, input)."""

    kind: Literal["given"] = "given"
    a: Row
    W: tuple[Row, ...]

    def independent_rows(self, width):
        return width

    def draw(self, key, teacher, width, space):
        return TwoLayer(jnp.asarray(self.a), jnp.asarray(self.W), teacher.activation)

    @model_validator(mode="after")
    def _check(self):
        check_given(self.a, self.W)
        return self

    def check_width(self, width):
        if width != len(self.a):
            raise ValueError(f"start: got {len(self.a)} given neurons for a width of {width}; make them equal")
