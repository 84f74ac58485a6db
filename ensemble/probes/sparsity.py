"""Probes of what a penalty does: its value, and how many neurons and weights are left."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from ..numerics import safe_divide
from ..problem.models import masses
from ..problem.students import AbstractStudent
from .alignment import OF_NEURONS, neurons_of, scaled
from .base import AbstractPlainProbe


class PenaltyValue(AbstractPlainProbe):
    """P, without its strength λ."""

    name: ClassVar[str] = "penalty_value"
    long_name: ClassVar[str] = "penalty P of the stage, without λ"

    def __call__(self, at):
        return at.penalty.value(at.moment.model)


class Sparsity(AbstractPlainProbe):
    """Share of weights that are exactly 0; only a proximal update makes them so."""

    name: ClassVar[str] = "sparsity"
    long_name: ClassVar[str] = "share of weights that are exactly 0"

    def __call__(self, at):
        leaves = jax.tree.leaves(at.moment.model)
        zeros = [jnp.sum(leaf == 0.0) for leaf in leaves]
        return sum(zeros[1:], zeros[0]) / sum(leaf.size for leaf in leaves)


class Vanished(AbstractPlainProbe):
    """Number of neurons with a_i = 0 or w_i = 0, exactly: those that no longer enter the function."""

    name: ClassVar[str] = "vanished"
    dtype: ClassVar[Literal["float", "int32"]] = "int32"
    long_name: ClassVar[str] = "number of neurons that are exactly 0: a_i = 0 or w_i = 0"
    of: ClassVar[type[AbstractStudent]] = OF_NEURONS

    def __call__(self, at):
        model = neurons_of(at.moment.model)
        gone = (model.a == 0.0) | jnp.all(model.W == 0.0, axis=-1)
        return jnp.sum(gone).astype(jnp.int32)


class TotalMass(AbstractPlainProbe):
    """Σ|a_i|‖w_i‖: the total variation of the measure of a 1-homogeneous network."""

    name: ClassVar[str] = "total_mass"
    long_name: ClassVar[str] = "total mass Σ|a_i|‖w_i‖"
    of: ClassVar[type[AbstractStudent]] = OF_NEURONS

    def __call__(self, at):
        network = at.view(scaled)
        return jnp.sum(masses(network.a, network.W))


class EffectiveNeurons(AbstractPlainProbe):
    """Participation ratio of masses, (Σm)²/Σm²: m equal neurons count m, a single one 1; 0 without any mass."""

    name: ClassVar[str] = "effective_neurons"
    long_name: ClassVar[str] = "participation ratio of masses (Σm)²/Σm²"
    of: ClassVar[type[AbstractStudent]] = OF_NEURONS

    def __call__(self, at):
        model = neurons_of(at.moment.model)
        mass = masses(model.a, model.W)
        return safe_divide(jnp.sum(mass) ** 2, jnp.sum(mass**2))
