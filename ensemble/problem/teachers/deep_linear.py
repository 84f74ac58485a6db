"""A linear map with given singular values."""

from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray
from pydantic import Field, NonNegativeFloat, model_validator

from ...spec import Count
from ..draws import random_frame
from ..models import SingularMap
from .base import AbstractTeacher


class DeepLinearTeacher(AbstractTeacher):
    """T = U diag(s) Vᵀ, of shape (output, input), one mode a singular value (Saxe et al. 2014, arXiv 1312.6120)."""

    kind: Literal["deep_linear"] = "deep_linear"
    singular_values: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)]
    """s_k of every mode, in the order in which datasets number the modes."""
    inputs: Count
    outputs: Count
    rotation: Literal["axes", "random"] = "axes"
    """Singular vectors on the coordinate axes, or uniformly drawn for each seed."""

    def draw(self, key: PRNGKeyArray) -> SingularMap:
        s = jnp.asarray(self.singular_values)
        if self.rotation == "axes":
            return SingularMap(jnp.eye(self.outputs, len(s)), s, jnp.eye(self.inputs, len(s)))
        left, right = jax.random.split(key)
        return SingularMap(random_frame(left, self.outputs, len(s)), s, random_frame(right, self.inputs, len(s)))

    @model_validator(mode="after")
    def _check(self):
        fits = min(self.inputs, self.outputs)
        if len(self.singular_values) > fits:
            raise ValueError(
                f"singular_values: got {len(self.singular_values)} for inputs = {self.inputs} and outputs = "
                f"{self.outputs}; at most {fits} fit"
            )
        return self
