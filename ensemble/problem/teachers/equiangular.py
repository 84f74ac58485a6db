"""Teacher neurons of which every two are at one angle."""

import math
from typing import Literal

import jax.numpy as jnp
import numpy as np
from pydantic import model_validator

from .planted import AbstractPlantedTeacher, Angle, refuse_rank, refuse_wide


class Equiangular(AbstractPlantedTeacher):
    """Every two rows at angle Δ = `separation`: Gram matrix (1 − cos Δ) I + cos Δ 11ᵀ."""

    kind: Literal["equiangular"] = "equiangular"
    separation: Angle

    def plane(self):
        return self.neurons

    def rows(self, key):
        # (s I + t 11ᵀ)² is the Gram matrix for s = √(1−c), t = (√(1−c+mc) − s)/m.
        m, c = self.neurons, jnp.cos(self.separation)
        s = jnp.sqrt(1.0 - c)
        t = (jnp.sqrt(jnp.maximum(1.0 - c + m * c, 0.0)) - s) / m
        return s * jnp.eye(m) + t * jnp.ones((m, m))

    def gram(self):
        return np.where(np.eye(self.neurons) > 0, 1.0, math.cos(self.separation))

    @model_validator(mode="after")
    def _check(self):
        refuse_rank(self.neurons, self.inputs, "equiangular")
        refuse_wide(self.separation, self.sigma)
        if self.neurons > 1 and math.cos(self.separation) < -1.0 / (self.neurons - 1) - 1e-12:
            limit = math.acos(-1.0 / (self.neurons - 1))
            raise ValueError(
                f"separation: got {self.separation:g} rad; {self.neurons} rays are equiangular up to "
                f"arccos(−1/{self.neurons - 1}) = {limit:.6g} rad"
            )
        return self
