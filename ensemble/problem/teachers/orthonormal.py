"""Orthonormal teacher neurons."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from pydantic import model_validator

from .planted import AbstractPlantedTeacher, refuse_rank


class Orthonormal(AbstractPlantedTeacher):
    """w*_j = e_j."""

    kind: Literal["orthonormal"] = "orthonormal"

    def plane(self):
        return self.neurons

    def rows(self, key):
        return jnp.eye(self.neurons)

    def gram(self):
        return np.eye(self.neurons)

    @model_validator(mode="after")
    def _check(self):
        refuse_rank(self.neurons, self.inputs, "orthonormal")
        return self
