"""Activations with exact dual kernels, by name.

`ACTIVATIONS` maps each name to its instance; `activation(name)` looks a name up and says which ones there are when it
is unknown. Those with numbers of their own (`leaky_relu`, `polynomial`, the largest norm of a series) are chosen by a
table: `{kind = "leaky_relu", slope = 0.1}`. A user's own one joins them by `ensemble.register`.

    homogeneous.py   positively 1-homogeneous ones, by κ(ρ)
    smooth.py        erf, square, sin, gelu: closed kernels
    polynomial.py    polynomials and Hermite polynomials: closed kernels by their Hermite coefficients
    analytic.py      tanh, sigmoid, softplus, silu: Hermite series (series.py), as for a user's own smooth σ
"""

from ...parts import REGISTRY, register
from .analytic import Sigmoid, SiLU, Softplus, Tanh
from .base import AbstractActivation
from .choice import activation, checked, chosen_activation, largest_norm, said
from .homogeneous import Abs, AbsCentred, AbstractHomogeneous, LeakyReLU, Linear, ReLU, ReLUEven
from .polynomial import AbstractPolynomial, HermiteThree, HermiteTwo, Polynomial
from .series import AbstractSeries
from .smooth import GELU, Erf, Sine, Square

for _part in (ReLU, Abs, ReLUEven, AbsCentred, Linear, Erf, Square, LeakyReLU, Sine, GELU, HermiteTwo, HermiteThree):
    register(_part)
register(Polynomial((0.0, 1.0)))  # known by its kind; a study gives coefficients
for _part in (Tanh, Sigmoid, Softplus, SiLU):
    register(_part)

ACTIVATIONS: dict[str, AbstractActivation] = REGISTRY["activation"]

__all__ = [
    "ACTIVATIONS",
    "GELU",
    "Abs",
    "AbsCentred",
    "AbstractActivation",
    "AbstractHomogeneous",
    "AbstractPolynomial",
    "AbstractSeries",
    "Erf",
    "HermiteThree",
    "HermiteTwo",
    "LeakyReLU",
    "Linear",
    "Polynomial",
    "ReLU",
    "ReLUEven",
    "SiLU",
    "Sigmoid",
    "Sine",
    "Softplus",
    "Square",
    "Tanh",
    "activation",
    "checked",
    "chosen_activation",
    "largest_norm",
    "said",
]
