"""Teachers: the planted two-layer networks, and linear maps.

Two-layer networks with unit rows w*_j and output weights a*_j.

    orthonormal         m* orthonormal rows
    separated_pairs     two rows at angle Δ in each of m*/2 orthogonal planes
    equiangular         every two rows at angle Δ
    random_separated    uniform rows of an r-dimensional subspace, every two at an angle ≥ Δ
    given               arrays as they are
    two_tasks           m orthonormal rows, and the same turned by an angle: a task after another
    biased              one of these with biases in both layers

and of linear maps:

    deep_linear         a matrix with given singular values

and networks of other architectures:

    conv                a two-layer teacher on every patch of the input, and a pool over patches
    attention           a block of self-attention over tokens

Angles are between *lines* for even activations and between *rays* for the others. All but
`random_separated` lie on the coordinate axes: the population problem is invariant under rotations of the
input, and the starts are isotropic.
`rotation = "random"` turns the rows of a member by a uniform rotation of the input: for updates that know the axes.
"""

from ...parts import register
from .attention import AttentionTeacher
from .base import AbstractTeacher, AbstractTwoLayerTeacher, Activation, Row, check_given
from .biased import BiasedTeacher
from .conv import ConvTeacher
from .deep_linear import DeepLinearTeacher
from .equiangular import Equiangular
from .given import GivenTeacher
from .orthonormal import Orthonormal
from .random_separated import RandomSeparated
from .separated_pairs import SeparatedPairs
from .two_tasks import TwoTasks

for _part in (Orthonormal, SeparatedPairs, Equiangular, RandomSeparated, GivenTeacher, TwoTasks):
    register(_part)

for _part in (DeepLinearTeacher, ConvTeacher, AttentionTeacher):
    register(_part)
register(BiasedTeacher)

__all__ = [
    "AbstractTeacher",
    "AbstractTwoLayerTeacher",
    "Activation",
    "AttentionTeacher",
    "BiasedTeacher",
    "ConvTeacher",
    "DeepLinearTeacher",
    "Equiangular",
    "GivenTeacher",
    "Orthonormal",
    "RandomSeparated",
    "Row",
    "SeparatedPairs",
    "TwoTasks",
    "check_given",
]
