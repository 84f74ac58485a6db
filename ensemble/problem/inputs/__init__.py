"""Inputs: the distributions that x is drawn from (theory.md §9).

gaussian        N(0, I)
sphere          uniform on the sphere of radius √d
rademacher, uniform, student_t      independent coordinates of variance 1
anisotropic     N(0, Σ) with a power law or a list of eigenvalues
mixture         Gaussian clusters
features        rows of a file
"""

from ...parts import register
from .anisotropic import Anisotropic
from .base import AbstractInputs, InputLaw
from .features import Features
from .gaussian import Gaussian
from .independent import AbstractIndependent, Rademacher, StudentT, Uniform
from .mixture import Mixture
from .sphere import Sphere

for _part in (Gaussian, Sphere, Rademacher, Uniform, StudentT, Anisotropic, Mixture, Features):
    register(_part)

__all__ = [
    "AbstractIndependent",
    "AbstractInputs",
    "Anisotropic",
    "Features",
    "Gaussian",
    "InputLaw",
    "Mixture",
    "Rademacher",
    "Sphere",
    "StudentT",
    "Uniform",
]
