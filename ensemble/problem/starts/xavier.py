"""Gaussian rows under output weights of 1."""

from typing import Literal

import jax.numpy as jnp

from ..draws import isotropic_rows
from ..models import TwoLayer
from .base import AbstractFreeStart


class Xavier(AbstractFreeStart):
    """w_i ~ N(0, I/d) and a_i = 1."""

    kind: Literal["xavier"] = "xavier"

    def draw(self, key, teacher, width, space):
        rows = isotropic_rows(key, width, space) / jnp.sqrt(jnp.asarray(space.inputs, float))
        return TwoLayer(jnp.ones(width), rows, teacher.activation)
