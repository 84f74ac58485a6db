"""Copies of the teacher's neurons, turned a little."""

from typing import Annotated, Literal

import jax.numpy as jnp
from pydantic import NonNegativeFloat

from ...spec import RADIANS
from ..draws import isotropic_rows
from ..models import TwoLayer, row_norms
from .base import AbstractFreeStart


class NearTeacher(AbstractFreeStart):
    """Neuron i is a copy of teacher j = i mod m*, turned by `distance` radians in a uniform direction.

    The copies of a teacher share its mass equally and are balanced, |a_i| = ‖w_i‖, so that at distance 0
    a student of width ≥ m* is the teacher.
    """

    kind: Literal["near_teacher"] = "near_teacher"
    distance: Annotated[NonNegativeFloat, RADIANS]

    def draw(self, key, teacher, width, space):
        count = teacher.a.shape[0]
        owner = jnp.arange(width) % count
        copies = jnp.bincount(owner, length=count).astype(teacher.a.dtype)
        norms = row_norms(teacher.W)
        unit = (teacher.W / norms[:, None])[owner]
        tangent = isotropic_rows(key, width, space)
        tangent = tangent - jnp.sum(tangent * unit, axis=1, keepdims=True) * unit
        length = row_norms(tangent)[:, None]
        tangent = tangent / jnp.where(length > 0.0, length, 1.0)
        mass = (teacher.a * norms / copies)[owner]
        size = jnp.sqrt(jnp.abs(mass))
        rows = jnp.cos(self.distance) * unit + jnp.sin(self.distance) * tangent
        return TwoLayer(jnp.sign(mass) * size, size[:, None] * rows, teacher.activation)
