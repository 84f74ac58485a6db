"""Programs: what is static of a stage, and the shapes that its lanes have."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from ..dynamics.updates import AbstractSteppedUpdate
from ..problem.models import TwoLayer
from ..problem.penalties import AbstractPenalty, needs_anchor
from ..problem.risks import AbstractStochasticRisk, SampleRisk, whole_sample
from .lanes import Lanes, Moving, StageRow


class Program(NamedTuple):
    """The structure of a stage: each distinct value, with each structure of lanes, is traced and compiled once."""

    update: AbstractSteppedUpdate
    penalty: AbstractPenalty
    decoupled: bool
    schedules: tuple[Callable[[jax.Array], jax.Array], ...]
    """Factors that are not numbers of a lane; hashable."""
    rules: tuple[str, ...]
    """Rules beside the gradient's norm, which cost a measurement."""
    dtype: str
    tile: int
    """Lanes in a tile on a CPU."""
    slots: int
    """Snapshots a lane can put aside in one call."""
    by_neuron: bool = False
    """Whether what moves is said neuron by neuron, and not leaf by leaf."""
    targeted: bool = False
    """Whether stages have teacher neurons of their own as their target."""
    keeps_zeros: bool = False
    """Whether weights that are 0 as a stage begins stay 0."""

    @property
    def anchored(self) -> bool:
        """Whether a lane holds the model as its stage began."""
        return self.keeps_zeros or needs_anchor(self.penalty)


class Pool(NamedTuple):
    """A program and the rows of its lanes."""

    program: Program
    like: Lanes
    """Shapes and types of one row."""


TRACES: list[Program] = []
"""One entry for every trace of an advance program: tests count compilations with it."""


def divergence_limit(dtype: np.dtype) -> float:
    """The gradient norm above which a member counts as diverged.

    Far above any gradient of a meaningful start, and low enough that the loss at the weights that gave it
    is still a finite number of this precision.
    """
    return 1e30 if dtype == np.float64 else 1e6


def samples_a_step(risk: Any) -> int:
    """The samples that a step sees of a lane's risk; 0 of a population risk."""
    if isinstance(risk, AbstractStochasticRisk):
        return getattr(risk, "batch", 1)
    held = jax.eval_shape(whole_sample, risk)
    return held.x.shape[-2] if isinstance(held, SampleRisk) else 0


def step_numbers(model: Any, teacher_neurons: int, samples: int = 0) -> int:
    """What a step computes of a lane: pairs of neurons of a two-layer network, weights of any other model; of samples,
    their values in all layers."""
    if samples:
        return max(1, samples * sum(sum(x.shape[-2:]) for x in jax.tree.leaves(model)))
    if isinstance(model, TwoLayer):
        width = model.a.shape[-1]
        return max(1, width * (width + teacher_neurons))
    return max(1, sum(int(np.prod(x.shape)) for x in jax.tree.leaves(model)))


def tile_size(model: Any, teacher_neurons: int, samples: int = 0) -> int:
    """Lanes in a tile, from the static shape alone: few enough for what a step computes of them to stay in cache."""
    return max(8, min(32, 2 ** int(np.log2(max(1, 40_000 // step_numbers(model, teacher_neurons, samples))))))


def moving_like(model: Any, state: Any, dtype: str, anchor: Any = ()) -> Moving:
    """Shapes and types of one row of what moves."""
    integer, real = jax.ShapeDtypeStruct((), np.dtype(np.int32)), jax.ShapeDtypeStruct((), np.dtype(dtype))
    return Moving(model, state, integer, integer, integer, real, real, anchor)


def end_step(row: StageRow, steps: np.ndarray, max_steps: np.ndarray) -> np.ndarray:
    """The step at which stages of so many steps end, that began at `row.start_step`."""
    return np.minimum(row.start_step.astype(np.int64) + steps, max_steps)
