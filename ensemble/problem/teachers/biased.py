"""A planted two-layer network with biases in both layers."""

from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray
from pydantic import NonNegativeFloat, model_validator

from ...parts import chosen, is_lenient
from ..activations.biased import biased_dual
from ..draws import normal_biases
from ..given import Row
from ..models import BiasedTwoLayer
from .base import AbstractComposedTeacher, AbstractTwoLayerTeacher


class BiasedTeacher(AbstractComposedTeacher):
    """f*(x) = Σ_j a*_j σ(w*_jᵀx + b*_j) + c*, with a* and W* of the two-layer teacher `network`.

    **Arguments:** `biases`: b*, the values themselves, one a neuron, or the standard deviation of independent normal
    ones, drawn for each seed; `output_bias`: c*.
    """

    has_biases: ClassVar[bool] = True

    kind: Literal["biased"] = "biased"
    network: chosen(AbstractTwoLayerTeacher)  # pyright: ignore[reportInvalidTypeForm]
    biases: NonNegativeFloat | Row
    output_bias: float = 0.0

    @property
    def exact(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] (its activation decides)
        return biased_dual(self.sigma) is not None

    @property
    def two_layer(self):
        return self.network

    @property
    def inputs(self) -> int:
        """d."""
        return self.network.shape()[1]

    def draw(self, key):
        planted = self.network.draw(key)
        biases = drawn_biases(self.biases, key, len(planted.a))
        return BiasedTwoLayer(planted.a, planted.W, biases, self.output_bias, planted.activation)

    @model_validator(mode="after")
    def _check(self):
        if not is_lenient():
            check_biases(self.biases, self.network.shape()[0])
        return self


def drawn_biases(said: Any, key: PRNGKeyArray, count: int) -> Float[Array, " neuron"]:
    """Biases of a member: values as they are, or normal numbers of a standard deviation; bias i is that of the key and
    of i alone."""
    values = jnp.asarray(said, float)
    if values.ndim:  # a tuple, or what stands for one where a program is traced
        return values
    return values * normal_biases(key, count)


def check_biases(said: Any, count: int) -> None:
    """**Raises:** `ValueError` where values are not one a neuron."""
    if isinstance(said, tuple) and len(said) != count:
        raise ValueError(
            f"biases: got {len(said)} values for {count} neurons; give one a neuron, or their standard deviation"
        )
