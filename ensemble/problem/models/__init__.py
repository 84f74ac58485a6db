"""Models: what is trained. Each is an Equinox module whose array leaves are a member's weights."""

from .attention import Attention
from .biased import BiasedTwoLayer
from .conv import Conv, Pooling
from .deep import Deep, Multipliers, Residual, stacked
from .deep_linear import DeepLinear, SingularMap
from .layers import chosen_layers, layer_numbers
from .two_layer import TwoLayer, masses, reduce_pair, row_norms, unit_rows

__all__ = [
    "Attention",
    "BiasedTwoLayer",
    "Conv",
    "Deep",
    "DeepLinear",
    "Multipliers",
    "Pooling",
    "Residual",
    "SingularMap",
    "TwoLayer",
    "chosen_layers",
    "layer_numbers",
    "masses",
    "reduce_pair",
    "row_norms",
    "stacked",
    "unit_rows",
]
