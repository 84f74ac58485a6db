"""What a penalty is: a function of all weights of a model."""

import abc
from typing import Any, ClassVar, TypeVar

import jax
from jaxtyping import Array, Float

from ...parts import Part

Model = TypeVar("Model")


class AbstractPenalty(Part):
    """P(θ) ≥ 0; the objective is L + λ P with the λ of the stage, its `weight_decay` times its schedule."""

    role: ClassVar[str] = "penalty"
    rotation_invariant: ClassVar[bool] = False
    """Whether rotating the rows of a first layer changes nothing: reduced coordinates are exact only then."""

    @abc.abstractmethod
    def value(self, model: Any) -> Float[Array, ""]:
        """P of a model, a scalar."""

    @abc.abstractmethod
    def gradient(self, model: Model) -> Model:
        """∇P, or a subgradient that is 0 where a weight is 0; in the model's structure."""


class AbstractProximalPenalty(AbstractPenalty):
    """A penalty with a proximal map, which the update `proximal` needs."""

    @abc.abstractmethod
    def prox(self, model: Model, amount: Float[Array, ""]) -> Model:
        """argmin over φ of ½‖φ − θ‖² + amount · P(φ), in the model's structure."""


class AbstractDifferentiatedPenalty(AbstractPenalty):
    """A penalty whose gradient is that of automatic differentiation: a subclass gives `value` alone."""

    def gradient(self, model):
        return jax.grad(self.value)(model)
