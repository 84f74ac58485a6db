"""Which closed forms are those of which model."""

from typing import Any

from jaxtyping import Array, Float

from ..models import Conv, DeepLinear, SingularMap, TwoLayer
from .base import AbstractTangent
from .deep_linear import DeepLinearTangent
from .shared import SharedTangent
from .two_layer import TwoLayerTangent

_TANGENTS: dict[type, AbstractTangent] = {
    TwoLayer: TwoLayerTangent(),
    DeepLinear: DeepLinearTangent(),
    SingularMap: DeepLinearTangent(),
    Conv: SharedTangent(),
}
"""By the class of a model or a teacher."""


def tangent_of(model: Any) -> AbstractTangent:
    """The closed forms of a model's class.

    **Raises:** `KeyError` for a model that has none.
    """
    return _TANGENTS[type(model)]


def squared(network: Any) -> Float[Array, ""]:
    """E f², of a model or a teacher."""
    return tangent_of(network).inner(network, network)
