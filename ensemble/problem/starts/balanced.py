"""Balanced starts, independent and symmetric."""

from typing import Literal

import jax
import jax.numpy as jnp
from pydantic import PositiveFloat, model_validator

from ..draws import random_signs, uniform_directions
from ..models import TwoLayer
from .base import AbstractFreeStart, AbstractStart

_LEAST_SCALE = 1e-150


def _check_scale(scale: float) -> None:
    if scale < _LEAST_SCALE:
        raise ValueError(
            f"scale: got {scale:g}; rows so short have no direction, since squares of their norms are 0: take "
            f"{_LEAST_SCALE:g} or more"
        )


class Symmetric(AbstractStart):
    """f = 0 at step 0; an even number of neurons."""

    kind: Literal["symmetric"] = "symmetric"
    scale: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _check(self):
        _check_scale(self.scale)
        return self

    def independent_rows(self, width):
        return width // 2

    def draw(self, key, teacher, width, space):
        half = Balanced.model_construct(scale=self.scale / jnp.sqrt(2.0)).draw(key, teacher, width // 2, space)
        a, W = jnp.concatenate([half.a, -half.a]), jnp.concatenate([half.W, half.W])
        return TwoLayer(a, W, teacher.activation)

    def check_width(self, width):
        if width % 2:
            raise ValueError(f"neurons: got a width of {width}; the symmetric start needs an even width")


class Balanced(AbstractFreeStart):
    """|a_i| = ‖w_i‖ = scale/√m with independent signs and uniform directions."""

    kind: Literal["balanced"] = "balanced"
    scale: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _check(self):
        _check_scale(self.scale)
        return self

    def draw(self, key, teacher, width, space):
        key_signs, key_rows = jax.random.split(key)
        size = self.scale / jnp.sqrt(float(width))
        rows = uniform_directions(key_rows, width, space)
        return TwoLayer(size * random_signs(key_signs, width), size * rows, teacher.activation)
