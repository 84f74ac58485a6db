"""Students: what is trained, and on which risk.

two_layer   a `TwoLayer` on the exact population risk of a two-layer teacher
"""

from ...parts import register
from .base import AbstractSizedStudent, AbstractStudent, Stored
from .two_layer import TwoLayerStudent

register(TwoLayerStudent)

__all__ = ["AbstractSizedStudent", "AbstractStudent", "Stored", "TwoLayerStudent"]
