"""Penalties: what is added to the risk, of a strength λ that the stage and its schedule give.

l2            ½‖θ‖²
path_norm     Σ|a_i|‖w_i‖: the same minima as l2
group_lasso   Σ√(a_i² + ‖w_i‖²): neurons become exactly 0
l1            Σ|θ|: weights become exactly 0
bottleneck    what the hidden layer says of the input
elastic       ½‖θ − θ₁‖²: a spring to the weights with which the stage began
sum           several, with a strength each: a list in a study
"""

from ...parts import register
from .base import AbstractDifferentiatedPenalty, AbstractPenalty, AbstractProximalPenalty, Layers
from .bottleneck import Bottleneck
from .elastic import Elastic, anchored, needs_anchor
from .group_lasso import GroupLasso
from .l1 import L1
from .l2 import L2
from .path_norm import PathNorm
from .weighted import Penalty, Term, WeightedSum, has_prox

for _part in (L2, L1, GroupLasso, PathNorm, Bottleneck, Elastic, WeightedSum):
    register(_part)

__all__ = [
    "L1",
    "L2",
    "AbstractDifferentiatedPenalty",
    "AbstractPenalty",
    "AbstractProximalPenalty",
    "Bottleneck",
    "Elastic",
    "GroupLasso",
    "Layers",
    "PathNorm",
    "Penalty",
    "Term",
    "WeightedSum",
    "anchored",
    "has_prox",
    "needs_anchor",
]
