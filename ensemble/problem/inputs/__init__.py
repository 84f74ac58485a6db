"""Inputs: the distributions that x is drawn from (theory.md §9).

gaussian    N(0, I)
"""

from ...parts import register
from .base import AbstractInputs, InputLaw
from .gaussian import Gaussian

register(Gaussian)

__all__ = ["AbstractInputs", "Gaussian", "InputLaw"]
