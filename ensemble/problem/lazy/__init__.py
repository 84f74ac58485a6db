"""The lazy comparator: inner products of networks and of their derivatives in closed form, and the risks made of them.

Closed forms over x ~ N(0, I), by what a model is:

    two_layer     of `TwoLayer` networks of one activation
    deep_linear   of `DeepLinear` networks
    shared        of networks that spread to a `TwoLayer` one: convolutions with mean pooling

Risks (`risks.py`): of a network with an output scale, of one less its start, of one that is linearised at its start; on
samples (`views.py`) of any model.
"""

from .base import AbstractTangent, minus, pairing, plus
from .deep_linear import DeepLinearTangent
from .forms import squared, tangent_of
from .risks import AbstractLazyRisk, LinearisedRisk, ScaledRisk
from .shared import SharedTangent
from .two_layer import TwoLayerTangent
from .views import Seen, View

__all__ = [
    "AbstractLazyRisk",
    "AbstractTangent",
    "DeepLinearTangent",
    "LinearisedRisk",
    "ScaledRisk",
    "Seen",
    "SharedTangent",
    "TwoLayerTangent",
    "View",
    "minus",
    "pairing",
    "plus",
    "squared",
    "tangent_of",
]
