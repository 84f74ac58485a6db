"""A teacher as arrays."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import model_validator

from ..draws import random_frame
from ..given import Row, check_given
from ..models import TwoLayer
from .base import AbstractTwoLayerTeacher
from .planted import ROTATION


class GivenTeacher(AbstractTwoLayerTeacher):
    """The arrays themselves: `a` of shape (teacher_neuron,), `W` of shape (teacher_neuron, input)."""

    kind: Literal["given"] = "given"
    a: Row
    W: tuple[Row, ...]
    rotation: Literal["axes", "random"] = "axes"
    """The rows as they are, or turned by a uniform rotation of the input, drawn for each seed."""

    def shape(self) -> tuple[int, int]:
        return len(self.a), len(self.W[0])

    def plane(self):
        return min(self.shape())

    def draw(self, key, columns=None):
        W = jnp.asarray(self.W)
        if columns is None and self.rotation == "random":
            W = W @ random_frame(jax.random.fold_in(key, ROTATION), W.shape[1], W.shape[1]).T
        elif columns is not None:
            # W* = Rᵀ Qᵀ: the rows of Rᵀ are the teacher in the orthonormal basis Q of its own plane.
            W = jnp.linalg.qr(W.T, mode="r").T
            W = jnp.pad(W, ((0, 0), (0, columns - W.shape[1])))
        return TwoLayer(jnp.asarray(self.a), W, self.sigma)

    def turned(self, columns: int) -> AbstractTwoLayerTeacher:
        return self.model_copy(update={"rotation": "axes"})

    def known(self):
        W = np.asarray(self.W, float)
        return np.abs(np.asarray(self.a, float)), W @ W.T

    @model_validator(mode="after")
    def _check(self):
        check_given(self.a, self.W)
        if not np.all(np.linalg.norm(np.asarray(self.W), axis=1) > 0):
            raise ValueError("W: a teacher row is zero; a teacher neuron needs a direction")
        return self
