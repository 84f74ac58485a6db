"""Risks: what a model is trained on. Exact population risks, and a user's own."""

from .base import AbstractDifferentiatedRisk, AbstractRisk
from .linear import LinearRisk
from .population import PopulationRisk, kernel, population_gradient, population_loss
from .unit_rows import UnitRowsRisk, from_unit_rows

__all__ = [
    "AbstractDifferentiatedRisk",
    "AbstractRisk",
    "LinearRisk",
    "PopulationRisk",
    "UnitRowsRisk",
    "from_unit_rows",
    "kernel",
    "population_gradient",
    "population_loss",
]
