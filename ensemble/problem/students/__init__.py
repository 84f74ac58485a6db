"""Students: what is trained, and on which risk.

two_layer     a `TwoLayer` on the exact population risk of a two-layer teacher
biased        a `BiasedTwoLayer` on the exact population risk of a biased teacher, or on samples
deep_linear   a `DeepLinear` on the exact population risk of a linear map
deep          a `Deep` of any depth and activation on samples of a two-layer teacher
conv          a `Conv` on the exact population risk of a convolutional teacher, or on samples
attention     an `Attention` on samples of an attention teacher
"""

from ...parts import register
from .attention import AttentionStudent
from .base import (
    AbstractComparedStudent,
    AbstractLayeredStudent,
    AbstractNumberedStudent,
    AbstractSizedStudent,
    AbstractStudent,
    NoClosedForm,
    Stored,
)
from .biased import BiasedStudent
from .conv import ConvStudent
from .deep import DeepStudent
from .deep_linear import DeepLinearStudent
from .two_layer import TwoLayerStudent

register(TwoLayerStudent)
register(DeepLinearStudent)
register(DeepStudent)
register(ConvStudent)
register(AttentionStudent)
register(BiasedStudent)

__all__ = [
    "AbstractComparedStudent",
    "AbstractLayeredStudent",
    "AbstractNumberedStudent",
    "AbstractSizedStudent",
    "AbstractStudent",
    "AttentionStudent",
    "BiasedStudent",
    "ConvStudent",
    "DeepLinearStudent",
    "DeepStudent",
    "NoClosedForm",
    "Stored",
    "TwoLayerStudent",
]
