"""Risks: what a model is trained on. Exact population risks, samples, and a user's own."""

from .base import AbstractDifferentiatedRisk, AbstractRisk, AbstractScoredRisk, AbstractStochasticRisk, scored
from .linear import LinearRisk
from .population import PopulationRisk, kernel, population_gradient, population_loss
from .sample import BatchRisk, HeldOutRisk, OnlineRisk, SampleRisk
from .unit_rows import UnitRowsRisk, from_unit_rows

__all__ = [
    "AbstractDifferentiatedRisk",
    "AbstractRisk",
    "AbstractScoredRisk",
    "AbstractStochasticRisk",
    "BatchRisk",
    "HeldOutRisk",
    "LinearRisk",
    "OnlineRisk",
    "PopulationRisk",
    "SampleRisk",
    "UnitRowsRisk",
    "from_unit_rows",
    "kernel",
    "population_gradient",
    "population_loss",
    "scored",
]
