"""Students: what is trained, and on which risk.

two_layer     a `TwoLayer` on the exact population risk of a two-layer teacher
deep_linear   a `DeepLinear` on the exact population risk of a linear map
"""

from ...parts import register
from .base import AbstractComparedStudent, AbstractSizedStudent, AbstractStudent, Stored
from .deep_linear import DeepLinearStudent
from .two_layer import TwoLayerStudent

register(TwoLayerStudent)
register(DeepLinearStudent)

__all__ = [
    "AbstractComparedStudent",
    "AbstractSizedStudent",
    "AbstractStudent",
    "DeepLinearStudent",
    "Stored",
    "TwoLayerStudent",
]
