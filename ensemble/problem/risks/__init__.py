"""Risks: what a model is trained on. So far the exact population risk, and a user's own."""

from .base import AbstractDifferentiatedRisk, AbstractRisk
from .population import PopulationRisk, kernel, population_gradient, population_loss
from .unit_rows import UnitRowsRisk

__all__ = [
    "AbstractDifferentiatedRisk",
    "AbstractRisk",
    "PopulationRisk",
    "UnitRowsRisk",
    "kernel",
    "population_gradient",
    "population_loss",
]
