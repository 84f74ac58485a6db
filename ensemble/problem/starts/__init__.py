"""Starts: the student's weights at step 0.

    symmetric      w_i = w_{i+m/2}, a_i = −a_{i+m/2}: f = 0; |a_i| = ‖w_i‖ = scale/√m (Zhou & Ge 2024)
    balanced       independent signs and uniform directions, |a_i| = ‖w_i‖ = scale/√m
    xavier         w_i ~ N(0, I/d), a_i = 1 (Safran & Shamir 2018, arXiv 1712.08968)
    near_teacher   every teacher neuron's copies at a stated angle from it, with its mass shared among them
    given          arrays as they are

and of a deep linear student:

    aligned_balanced   every layer an equal share of every mode, between the teacher's singular vectors
    lambda_balanced    two layers whose shares differ by a stated imbalance
    near_factors       the teacher, shared equally among the layers, with noise beside it
    gaussian orthogonal identity   independent of the teacher, with a gain: of deep students, too

and of a deep student alone:

    near_layers        the teacher's layers, where both have one shape, with noise beside them

`scale` leads from the feature-learning (small) to the lazy regime (large); with `symmetric` the large
scale is the lazy regime proper, since f = 0 at the start (Chizat, Oyallon & Bach 2019).
"""

from ...parts import register
from .balanced import Balanced, Symmetric
from .base import AbstractFreeStart, AbstractStart
from .given import GivenStart
from .linear import (
    AbstractDeepStart,
    AbstractFreeLayersStart,
    AbstractLinearStart,
    AlignedBalanced,
    Gaussian,
    Identity,
    LambdaBalanced,
    NearFactors,
    NearLayers,
    Orthogonal,
)
from .near_teacher import NearTeacher
from .xavier import Xavier

for _part in (Symmetric, Balanced, Xavier, NearTeacher, GivenStart):
    register(_part)
for _part in (AlignedBalanced, LambdaBalanced, NearFactors, Gaussian, Orthogonal, Identity, NearLayers):
    register(_part)

__all__ = [
    "AbstractDeepStart",
    "AbstractFreeLayersStart",
    "AbstractFreeStart",
    "AbstractLinearStart",
    "AbstractStart",
    "AlignedBalanced",
    "Balanced",
    "Gaussian",
    "GivenStart",
    "Identity",
    "LambdaBalanced",
    "NearFactors",
    "NearLayers",
    "NearTeacher",
    "Orthogonal",
    "Symmetric",
    "Xavier",
]
