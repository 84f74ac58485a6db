"""What a penalty is: a function of all weights of a model."""

import abc
from typing import Any, ClassVar, Literal, TypeVar

import jax
from jaxtyping import Array, Float

from ...parts import Part

Model = TypeVar("Model")
Layers = Literal["both", "first", "output"]
"""Those of a two-layer network: all its weights, W, a."""


class AbstractPenalty(Part):
    """P(θ) ≥ 0; the objective is L + λ P with the λ of the stage, its `weight_decay` times its schedule."""

    role: ClassVar[str] = "penalty"
    rotation_invariant: ClassVar[bool] = False
    """Whether rotating the rows of a first layer changes nothing: reduced coordinates are exact only then."""
    of_neurons: ClassVar[bool] = False
    """Whether it is defined by the neurons of a two-layer network, and of no other model."""
    smooth: ClassVar[bool] = True
    """Whether it is differentiable everywhere: a gradient flow slides along the zeros of one that is not."""
    needs_homogeneous: ClassVar[bool] = False
    """Whether it says something of the function only where σ is 1-homogeneous."""
    total_variation: ClassVar[bool] = False
    """Whether its minima are those of the total variation of a measure, which the certificate serves (theory.md §4)."""
    over_measures: ClassVar[str] = "is not known to be a convex function of the measure"
    """Why the certificate does not serve it."""

    @abc.abstractmethod
    def value(self, model: Any) -> Float[Array, ""]:
        """P of a model, a scalar."""

    @abc.abstractmethod
    def gradient(self, model: Model) -> Model:
        """∇P, or a subgradient that is 0 where a weight is 0; in the model's structure."""


class AbstractProximalPenalty(AbstractPenalty):
    """A penalty with a proximal map, which the updates `proximal` and `fista` need."""

    separable: ClassVar[bool] = False
    """Whether the map acts on every leaf alone: only then is it that of a stage that moves some layers."""
    place: ClassVar[int | None] = None
    """Where its map stands in that of a sum of penalties, which is then the maps one after another; None: in no sum."""

    @abc.abstractmethod
    def prox(self, model: Model, amount: Float[Array, ""]) -> Model:
        """argmin over φ of ½‖φ − θ‖² + amount · P(φ), in the model's structure."""


class AbstractDifferentiatedPenalty(AbstractPenalty):
    """A penalty whose gradient is that of automatic differentiation: a subclass gives `value` alone."""

    def gradient(self, model):
        return jax.grad(self.value)(model)


def penalised(model: Any, layers: Layers | None) -> Any:
    """Which leaves of a model belong to some layers: Python's booleans in its structure."""
    of_layers = {"first": ("W",), "output": ("a",)}

    def chosen(path: tuple, _: Any) -> bool:
        return layers in (None, "both") or getattr(path[-1], "name", "") in of_layers[layers]

    return jax.tree_util.tree_map_with_path(chosen, model)
