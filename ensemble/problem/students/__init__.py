"""Students: what is trained, and on which risk.

two_layer     a `TwoLayer` on the exact population risk of a two-layer teacher
deep_linear   a `DeepLinear` on the exact population risk of a linear map
deep          a `Deep` of any depth and activation on samples of a two-layer teacher
conv          a `Conv` on the exact population risk of a convolutional teacher, or on samples
"""

from ...parts import register
from .base import (
    AbstractComparedStudent,
    AbstractLayeredStudent,
    AbstractNumberedStudent,
    AbstractSizedStudent,
    AbstractStudent,
    NoClosedForm,
    Stored,
)
from .conv import ConvStudent
from .deep import DeepStudent
from .deep_linear import DeepLinearStudent
from .two_layer import TwoLayerStudent

register(TwoLayerStudent)
register(DeepLinearStudent)
register(DeepStudent)
register(ConvStudent)

__all__ = [
    "AbstractComparedStudent",
    "AbstractLayeredStudent",
    "AbstractNumberedStudent",
    "AbstractSizedStudent",
    "AbstractStudent",
    "ConvStudent",
    "DeepLinearStudent",
    "DeepStudent",
    "NoClosedForm",
    "Stored",
    "TwoLayerStudent",
]
