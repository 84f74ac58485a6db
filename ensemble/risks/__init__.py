"""Risks: what the student is trained on. So far the exact population risk."""

from .base import AbstractRisk
from .population import PopulationRisk, kernel, population_gradient, population_loss

__all__ = ["AbstractRisk", "PopulationRisk", "kernel", "population_gradient", "population_loss"]
