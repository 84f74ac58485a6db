"""What a risk is: a loss of a student against a teacher, and its gradient."""

import abc

import equinox as eqx
from jaxtyping import Array, Float

from ..network import TwoLayer


class AbstractRisk(eqx.Module):
    """The data-fitting part of the objective, without any penalty. Conventions include the factor ½."""

    @abc.abstractmethod
    def loss(self, student: TwoLayer, teacher: TwoLayer) -> Float[Array, ""]:
        """The loss, a scalar."""

    @abc.abstractmethod
    def target(self, teacher: TwoLayer) -> Float[Array, ""]:
        """The part of the loss that the teacher alone decides: the loss of a student that is 0."""

    @abc.abstractmethod
    def loss_and_gradient(
        self, student: TwoLayer, teacher: TwoLayer, target: Float[Array, ""]
    ) -> tuple[Float[Array, ""], TwoLayer]:
        """Both in one evaluation, given the teacher's `target`."""

    @abc.abstractmethod
    def gradient(self, student: TwoLayer, teacher: TwoLayer) -> TwoLayer:
        """Its gradient with respect to the student, in the student's shapes."""
