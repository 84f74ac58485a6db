"""Penalties: what is added to the risk, of a strength λ that the stage and its schedule give."""

from ...parts import register
from .base import AbstractDifferentiatedPenalty, AbstractPenalty, AbstractProximalPenalty
from .l2 import L2

register(L2)

__all__ = ["L2", "AbstractDifferentiatedPenalty", "AbstractPenalty", "AbstractProximalPenalty"]
