"""A block of attention with planted heads."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from pydantic import PositiveFloat, model_validator

from ...spec import Count
from ..draws import random_frame
from ..models import Attention
from .base import AbstractTeacher


class AttentionTeacher(AbstractTeacher):
    """`heads` heads over `tokens` tokens of `token_inputs` inputs: A_j = β Σ_i q_ji k_jiᵀ and v_j, all orthonormal.

    β = `sharpness`, and i goes over `head_size` directions. The queries q of all heads are orthonormal to one another,
    so are the keys k and so are the passed directions v.
    """

    exact: ClassVar[bool] = False

    kind: Literal["attention"] = "attention"
    heads: Count
    tokens: Count
    token_inputs: Count
    head_size: Count = 1
    sharpness: PositiveFloat = 3.0
    """β: the larger, the more a token looks at a single other one."""
    rotation: Literal["axes", "random"] = "axes"
    """q, k, v on coordinate axes, those of k one and those of v two after those of q; or three uniform frames, drawn
    for each seed."""

    @property
    def inputs(self) -> int:
        """d = tokens · token_inputs."""
        return self.tokens * self.token_inputs

    def draw(self, key):
        count, units, e = self.heads, self.head_size, self.token_inputs
        rows = count * units
        if self.rotation == "axes":
            query, keys, passed = (jnp.roll(jnp.eye(e), shift, axis=1) for shift in range(3))
        else:
            query, keys, passed = (random_frame(one, e, rows).T for one in jax.random.split(key, 3))
        size = jnp.sqrt(jnp.asarray(self.sharpness) * units**0.5)
        first = jnp.eye(units)[0]
        return Attention(
            size * query[:rows].reshape(count, units, e),
            size * keys[:rows].reshape(count, units, e),
            first[None, :, None] * passed[:count][:, None, :],
            jnp.tile(first, (count, 1)),
            tokens=self.tokens,
        )

    @model_validator(mode="after")
    def _check(self):
        if self.heads * self.head_size > self.token_inputs:
            raise ValueError(
                f"heads: got {self.heads} of head_size = {self.head_size}, whose directions are orthonormal, for "
                f"tokens of {self.token_inputs} inputs; take fewer, or token_inputs = {self.heads * self.head_size}"
            )
        if self.tokens < 2:
            raise ValueError("tokens: got 1, which looks at nothing but itself; take 2 or more")
        return self
