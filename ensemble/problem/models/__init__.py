"""Models: what is trained. Each is an Equinox module whose array leaves are a member's weights."""

from .deep_linear import DeepLinear, SingularMap
from .two_layer import TwoLayer, masses, reduce_pair, row_norms, unit_rows

__all__ = ["DeepLinear", "SingularMap", "TwoLayer", "masses", "reduce_pair", "row_norms", "unit_rows"]
