"""Pairs of teacher neurons at one angle, in orthogonal planes."""

import math
from typing import Literal

import jax.numpy as jnp
import numpy as np
from pydantic import model_validator

from .planted import AbstractPlantedTeacher, Angle, refuse_rank, refuse_wide


class SeparatedPairs(AbstractPlantedTeacher):
    """Rows 2p and 2p+1 at angle Δ = `separation` in the plane of inputs 2p and 2p+1; m* even."""

    kind: Literal["separated_pairs"] = "separated_pairs"
    separation: Angle

    def plane(self):
        return self.neurons

    def rows(self, key):
        half = 0.5 * self.separation
        pair = jnp.stack([jnp.stack([jnp.cos(half), jnp.sin(half)]), jnp.stack([jnp.cos(half), -jnp.sin(half)])])
        return jnp.kron(jnp.eye(self.neurons // 2), pair)

    def gram(self):
        cosine = math.cos(self.separation)
        return np.kron(np.eye(self.neurons // 2), [[1.0, cosine], [cosine, 1.0]])

    @model_validator(mode="after")
    def _check(self):
        if self.neurons % 2:
            raise ValueError(f"neurons: got {self.neurons}; separated pairs need an even number of neurons")
        refuse_rank(self.neurons, self.inputs, "paired")
        refuse_wide(self.separation, self.sigma)
        return self
