"""What an update is: how a stage moves a member's weights."""

import abc
from typing import Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ...parts import Part
from ...problem.penalties import AbstractPenalty
from ...problem.risks import AbstractRisk

Model = TypeVar("Model")
State = Any


class Clock(NamedTuple):
    """Where a member is in time."""

    step: Int[Array, ""]
    """Steps that it has taken."""
    stage_step: Int[Array, ""]
    """Those of the stage that it is in."""


class Info(NamedTuple):
    """What a step says of the point that it began at."""

    gradient_norm: Float[Array, ""]
    """‖∇(L + λP)‖ on the layers that move."""
    begins: Any = None
    """Whether that point is at a whole step of the clock, where rules are looked at; None: always."""
    ends: Any = None
    """Whether a step of the clock is over; None: always."""


class Objective(NamedTuple):
    """What a step is to lower: L + λP, at its own λ and step size."""

    risk: AbstractRisk
    penalty: AbstractPenalty
    strength: Float[Array, ""]
    """λ of the step."""
    step_size: Float[Array, ""]
    """η of the step."""
    moves: Any
    """What the stage moves: booleans in the model's structure, one a leaf, or as many as broadcast with it."""
    decoupled: bool
    """Whether the update acts on ∇L alone, and the penalty's gradient is subtracted beside it."""

    def gradients(self, model: Model) -> tuple[Model, Model, Model]:
        """(∇L, λ∇P, their sum)."""
        _, fit = self.risk.value_and_gradient(model)
        shrink = jax.tree.map(lambda slope: self.strength * slope, self.penalty.gradient(model))
        return fit, shrink, jax.tree.map(jnp.add, fit, shrink)

    def on_what_moves(self, gradient: Model) -> Model:
        """The gradient, 0 on what the stage does not move."""
        return jax.tree.map(lambda moved, g: jnp.where(moved, g, 0.0), self.moves, gradient)


def gradient_norm(gradient: Any, moves: Any) -> Float[Array, ""]:
    """The norm of a gradient on what moves: a boolean a leaf, or as many as broadcast with it."""

    def square(moved: Bool[Array, "..."], leaf: Array) -> Array:
        if moved.ndim:
            return jnp.sum(jnp.where(moved, leaf * leaf, 0.0))
        return jnp.where(moved, jnp.sum(leaf * leaf), 0.0)

    first, *others = map(square, jax.tree.leaves(moves), jax.tree.leaves(gradient))
    return jnp.sqrt(sum(others, first))


def drift(before: Any, after: Any) -> str | None:
    """How the arrays that a step takes differ from those that it gives, in words; None where the next can take these.

    **Arguments:** two pytrees of arrays, or of their shapes and types.
    """
    if jax.tree.structure(before) != jax.tree.structure(after):
        return f"{jax.tree.structure(before)} becomes {jax.tree.structure(after)}"
    for (path, old), new in zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            return f"{f'{name}, ' if name else ''}{_of(old)}, becomes {_of(new)}"
    return None


def _of(array: Any) -> str:
    return f"{array.dtype} of shape {array.shape}"


class AbstractUpdate(Part):
    """How a stage moves weights."""

    role: ClassVar[str] = "update"
    rotation_equivariant: ClassVar[bool] = False
    """Whether rotating the rows of a first layer before or after a step is the same: reduced coordinates are exact
    only then."""


class AbstractInstantUpdate(AbstractUpdate):
    """An update that is done once and takes no step of the member's clock."""

    of_axes: ClassVar[bool] = False
    """Whether it knows the axes of the input: reduced coordinates are then another problem."""

    @abc.abstractmethod
    def apply(self, model: Model, risk: AbstractRisk, strength: Float[Array, ""]) -> Model:
        """The model afterwards; `strength` is the stage's λ."""

    @abc.abstractmethod
    def check(self, student: Any, teacher: Any) -> None:
        """**Raises:** `ValueError` for students and teachers that it means nothing for."""


class AbstractSteppedUpdate(AbstractUpdate):
    """An update that takes steps until its stage ends."""

    always_decoupled: ClassVar[bool] = False
    """Whether it leaves the penalty beside the gradient whatever the stage says."""

    attempts: ClassVar[bool] = False
    """Whether a step of the clock can take several calls of `step`."""

    @abc.abstractmethod
    def limit(self) -> float | None:
        """The largest η × curvature at which it can rest at a minimum; None where curvature alone does not say it."""

    @abc.abstractmethod
    def init(self, model: Any) -> State:
        """The state before the first step of a stage: a pytree of arrays, `()` for none."""

    @abc.abstractmethod
    def step(self, model: Model, state: State, objective: Objective, clock: Clock) -> tuple[Model, State, Info]:
        """One step: (model, state, what it saw at the point where it began).

        Leaves that the stage does not move may be anything: they are kept as they were.
        """


class AbstractGradientUpdate(AbstractSteppedUpdate):
    """θ ← θ − amount(g), with g = ∇L + λ∇P, or, decoupled, θ ← θ − amount(∇L) − ηλ∇P."""

    @abc.abstractmethod
    def amount(self, gradient: Model, state: State, model: Model, step_size: Float[Array, ""]) -> tuple[Model, State]:
        """(what is subtracted from the model, state) for a gradient that is 0 on leaves that do not move."""

    def step(self, model, state, objective, clock):
        fit, shrink, whole = objective.gradients(model)
        acts_on = objective.on_what_moves(fit if objective.decoupled else whole)
        amount, state = self.amount(acts_on, state, model, objective.step_size)
        if objective.decoupled:
            amount = jax.tree.map(lambda u, slope: u + objective.step_size * slope, amount, shrink)
        return jax.tree.map(jnp.subtract, model, amount), state, Info(gradient_norm(whole, objective.moves))
