"""What a risk is: the data-fitting part of the objective, as a function of the member's model."""

import abc
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int

Model = TypeVar("Model")


class AbstractRisk(eqx.Module):
    """The data-fitting part of the objective, without any penalty. Its leaves (a teacher, samples) are a member's own.

    Conventions include the factor ½ where the risk is a mean square.
    """

    isotropic: ClassVar[bool] = False
    """Whether rotating the model's inputs and the risk's own leaves together changes nothing."""

    @abc.abstractmethod
    def value(self, model: Any) -> Float[Array, ""]:
        """The risk of a model, a scalar."""

    @abc.abstractmethod
    def value_and_gradient(self, model: Model) -> tuple[Float[Array, ""], Model]:
        """Both in one evaluation; the gradient in the model's own structure."""


class AbstractDifferentiatedRisk(AbstractRisk):
    """A risk whose gradient is that of automatic differentiation: a subclass gives `value` alone."""

    def value_and_gradient(self, model):
        return jax.value_and_grad(self.value)(model)


class AbstractScoredRisk(AbstractRisk):
    """A risk beside the population risk that its models are scored by."""

    @property
    @abc.abstractmethod
    def scoring(self) -> Any:
        """The exact population risk, or its estimate on a test sample."""

    @property
    def teacher(self) -> Any:
        """f*."""
        return self.scoring.teacher


class AbstractStochasticRisk(AbstractScoredRisk):
    """A risk of which every step sees a batch: `value` is what the batches' risks are in expectation."""

    @abc.abstractmethod
    def of_step(self, step: Int[Array, ""]) -> AbstractRisk:
        """The risk of a step's batch, a function of the member's data key and of the step alone."""


def scored(risk: Any) -> Any:
    """The risk that models are scored by: the population's, or the risk itself where there is no other."""
    return risk.scoring if isinstance(risk, AbstractScoredRisk) else risk
