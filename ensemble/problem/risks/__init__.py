"""Risks: what a model is trained on. Exact population risks, samples, and a user's own."""

from .adversary import AdversarialRisk
from .base import AbstractDifferentiatedRisk, AbstractRisk, AbstractScoredRisk, AbstractStochasticRisk, scored
from .biased import BiasedRisk, biased_kernel, biased_mean
from .linear import LinearRisk
from .mixture import MixtureLinearRisk, MixtureRisk
from .other_inputs import AnisotropicRisk, QuarticRisk, SphereRisk
from .population import PopulationRisk, kernel, population_gradient, population_loss
from .sample import BatchRisk, HeldOutRisk, OnlineRisk, SampleRisk
from .shared import SharedRisk, converted
from .two_samples import TwoSamplesRisk, task_share, whole_sample
from .unit_rows import UnitRowsRisk, from_unit_rows

__all__ = [
    "AbstractDifferentiatedRisk",
    "AbstractRisk",
    "AbstractScoredRisk",
    "AbstractStochasticRisk",
    "AdversarialRisk",
    "AnisotropicRisk",
    "BatchRisk",
    "BiasedRisk",
    "HeldOutRisk",
    "LinearRisk",
    "MixtureLinearRisk",
    "MixtureRisk",
    "OnlineRisk",
    "PopulationRisk",
    "QuarticRisk",
    "SampleRisk",
    "SharedRisk",
    "SphereRisk",
    "TwoSamplesRisk",
    "UnitRowsRisk",
    "biased_kernel",
    "biased_mean",
    "converted",
    "from_unit_rows",
    "kernel",
    "population_gradient",
    "population_loss",
    "scored",
    "task_share",
    "whole_sample",
]
