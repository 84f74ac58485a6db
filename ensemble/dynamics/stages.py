"""Protocols: stages that run one after another, each moving some layers by some update.

A step lowers L + λ(t) P at step size η(t), by the stage's `update`, on the layers that the stage moves; plain descent
is θ ← θ − η(t) ∇(L + λ(t) P), with P = ½‖θ‖² unless the stage names another penalty. `ridge` puts the output layer at
its exact optimum
for a fixed first layer, and `balance` rescales every neuron to |a_i| = ‖w_i‖ without changing the function. Those two
take no step of the member's clock. The classical combinations are in `protocols.py`.
"""

# pyright: reportInvalidTypeForm=false
# `Update`, `Penalty` and `Schedule` are types that the registry makes.

import math
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveFloat, PrivateAttr

from ..parts import UnknownPart, chosen, is_lenient
from ..problem.penalties import L2, Layers, Penalty, has_prox
from ..spec import RADIANS, STEPS, Spec, Whole, printable
from .schedules import Schedule
from .updates import AbstractProximalUpdate, AbstractSteppedUpdate, AbstractUpdate, Descent, Flow, Newton

Decay = Literal["coupled", "decoupled"]
SLOW_RULES = ("loss", "max_angle")
Update = chosen(AbstractUpdate)
Target = Literal["all"] | tuple[Whole, ...]
"""Teacher neurons."""
Neurons = Literal["all", "first half"] | Annotated[float, Field(gt=0, le=1)] | tuple[Whole, ...]
"""Student neurons: all, the first half, the first share of them (rounded up), or these."""


def steps_beside(steps: int, time: float) -> str:
    """What is said of steps beside a time, of which only one can be meant."""
    return f"steps: got {steps} beside time = {time:g}, which is in place of steps; leave one of them out"


class Stage(Spec):
    """One stage: which layers move, by which update, under which step size and weight decay, until when.

    A descent stage ends at the first step at which one of its rules holds, or after `steps`:

    - `grad_norm`: the gradient of R_λ on the moving layers has norm ≤ this (looked at at every step);
    - `loss`: the loss is ≤ this, `max_angle`: the largest active angle (rad) is ≤ this (both looked at at
      every `check_every`-th step of the stage).

    `decay = "coupled"` lets the update act on ∇(L + λP), `"decoupled"` on ∇L alone, with ηλ∇P subtracted beside it. A
    stage begins with a fresh state of its update unless `keep_state` is true. `layers` are `"first"`, `"output"` (the
    last) or `"both"` (all); of a deep student also a list of numbers from 0. `penalty` is a name, a table, or a list of
    tables with a `strength` each.

    `time` is for gradient flow, in place of `steps`: time / `step_size` steps of the clock.

    `neurons` are the student's neurons that move (all by default): the others stay as they are, and stay part of the
    network. `fresh` are layers that are drawn anew as the stage begins, by the student's start and another key of the
    member: the first such stage of a protocol takes the member's first further start, the second one its second.
    `keep_zeros`: weights that are 0 as the stage begins (pruned ones) stay 0. `target` are the teacher neurons that
    the stage is to fit (all by default): its gradient and its rules `grad_norm` and `loss` are those of the loss
    against these alone. Probes measure against the whole teacher.
    """

    name: Annotated[str, Field(min_length=1), AfterValidator(printable)]
    update: Update = Descent()
    penalty: Penalty = L2()
    decay: Decay = "coupled"
    keep_state: bool = False
    layers: Layers | tuple[Whole, ...] = "both"
    fresh: Layers | tuple[Whole, ...] | None = None
    keep_zeros: bool | None = None
    neurons: Neurons | None = None
    target: Target | None = None
    step_size: PositiveFloat = 0.1
    step_size_schedule: Schedule | None = None
    weight_decay: NonNegativeFloat = 0.0
    weight_decay_schedule: Schedule | None = None
    steps: Annotated[int, Field(ge=0, le=2**62), STEPS] = 0
    time: PositiveFloat | None = None
    grad_norm: PositiveFloat | None = None
    loss: PositiveFloat | None = None
    max_angle: Annotated[PositiveFloat | None, RADIANS] = None
    check_every: Annotated[int, Field(ge=1, lt=2**31)] = 100

    @property
    def has_rule(self) -> bool:
        return any(rule is not None for rule in (self.grad_norm, self.loss, self.max_angle))

    @property
    def slow_rules(self) -> tuple[str, ...]:
        """The rules that are looked at now and then only, by the probe that they watch."""
        return tuple(name for name in SLOW_RULES if getattr(self, name) is not None)

    @property
    def takes_steps(self) -> bool:
        if isinstance(self.update, UnknownPart):
            return self.length > 0  # an update that is done once has no steps
        return isinstance(self.update, AbstractSteppedUpdate)

    @property
    def of_axes(self) -> str | None:
        """What of the stage knows the axes of the input, in words; None where nothing does."""
        if not self.takes_steps:
            return f"the update {self.update.kind!r}" if getattr(self.update, "of_axes", False) else None
        if not getattr(self.update, "rotation_equivariant", False):
            return f"the update {self.update.kind!r}"
        if not getattr(self.penalty, "rotation_invariant", False):
            return f"the penalty {self.penalty.kind!r}"
        return "keep_zeros" if self.keep_zeros else None

    @property
    def length(self) -> int:
        """The most steps of the clock: `steps`, or those that make `time`."""
        return self.steps if self.time is None else round(self.time / self.step_size)

    @property
    def by_neuron(self) -> bool:
        """Whether some neurons of the student may not move."""
        return self.neurons not in (None, "all")

    @property
    def targeted(self) -> bool:
        """Whether some neurons of the teacher may be no target."""
        return self.target not in (None, "all")

    def moving_neurons(self, width: int) -> np.ndarray:
        """Which of so many student neurons move: booleans."""
        if self.neurons in (None, "all"):
            return np.ones(width, bool)
        if isinstance(self.neurons, tuple):
            return np.isin(np.arange(width), self.neurons)
        share = 0.5 if self.neurons == "first half" else float(self.neurons)
        # A share of 1/3 of 6 is 2, though 6 · (1/3) may round to above it.
        return np.arange(width) < math.ceil(share * width - 1e-9)

    @property
    def decoupled(self) -> bool:
        """Whether the penalty's gradient is left beside the update."""
        return self.decay == "decoupled" or getattr(self.update, "always_decoupled", False)

    def model_post_init(self, context: Any, /) -> None:
        for name in ("layers", "fresh"):
            said = getattr(self, name)
            if isinstance(said, tuple) and (not said or len(set(said)) < len(said)):
                raise ValueError(f'{name}: got {list(said)}; name at least one, each once, or "both" for all')
        if self.fresh is not None and self.keep_state:
            raise ValueError(
                "keep_state: got true beside fresh layers, of which the update remembers nothing; leave one out"
            )
        if not self.takes_steps:
            self._check_instant()
        for name in ("neurons", "target"):
            chosen_ones = getattr(self, name)
            if isinstance(chosen_ones, tuple) and (not chosen_ones or len(set(chosen_ones)) < len(chosen_ones)):
                raise ValueError(f'{name}: got {list(chosen_ones)}; name at least one, each once, or "all"')
            if chosen_ones not in (None, "all") and not self.takes_steps:
                raise ValueError(
                    f"{name}: got {chosen_ones!r} under the update {self.update.kind!r}, which takes no step and is of "
                    "the whole network; leave it out"
                )
        if self.time is not None:
            self._check_time(self.time)
        if is_lenient():  # how update and penalty go together was checked when it was made, with all its parts
            return
        if isinstance(self.update, Flow | Newton) and self.decay == "decoupled":
            raise ValueError(
                f"decay: got 'decoupled' under the update {self.update.kind!r}, which is of the whole ∇(L + λP); leave "
                "it out"
            )
        if isinstance(self.update, Flow):
            self._check_flow()
        if isinstance(self.update, AbstractProximalUpdate):
            self._check_proximal()

    def _check_instant(self) -> None:
        if self.keep_zeros:
            raise ValueError(
                f"keep_zeros: got true under the update {self.update.kind!r}, which takes no step; say it in the stage "
                "that trains on"
            )
        if self.keep_state:
            raise ValueError(
                f"keep_state: got true under the update {self.update.kind!r}, which takes no step and has no state; "
                "leave it out"
            )
        if self.steps:
            raise ValueError(
                f"update: got {self.update.kind!r} beside steps = {self.steps}, and it takes no step; take another "
                "update, or a stage of its own without steps"
            )

    def _check_flow(self) -> None:
        if not self.penalty.smooth:
            raise ValueError(
                f"penalty: got {self.penalty.kind!r} under the update 'flow', whose solution slides along zeros, where "
                "this penalty is not differentiable and no solver gets on; take the update 'proximal' of a small step"
            )

    def _check_time(self, time: float) -> None:
        if not isinstance(self.update, Flow | UnknownPart):
            raise ValueError(
                f"time: got {time:g} under the update {self.update.kind!r}, whose time is that of its steps; give "
                "steps, time over step size, or take the update 'flow'"
            )
        if self.steps:
            raise ValueError(steps_beside(self.steps, time))
        if abs(time / self.step_size - self.length) > 1e-9 * self.length or self.step_size_schedule is not None:
            raise ValueError(
                f"time: got {time:g}, which is no whole number of steps of the clock of {self.step_size:g} each; take "
                "a step_size that divides it, and no schedule of it"
            )

    def _check_proximal(self) -> None:
        update, penalty = self.update.kind, self.penalty.kind
        if not has_prox(self.penalty):
            raise ValueError(
                f"penalty: got {penalty!r} under the update {update!r}, which needs a penalty with a proximal map; "
                "take another penalty, or another update"
            )
        if self.decay == "decoupled":
            raise ValueError(f"decay: got 'decoupled' under the update {update!r}, which has no gradient to act on")
        if self.layers != "both" and not getattr(self.penalty, "separable", False):
            raise ValueError(
                f"layers: got {self.layers!r} under the update {update!r} with the penalty {penalty!r}, whose proximal "
                "map moves both layers together; move both, or take l1 or l2"
            )


class Protocol(Spec):
    """Stages, in order; their names are the dataset's `stage` coordinate and must differ."""

    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    _called: dict[str, Any] | None = PrivateAttr(default=None)

    def called(self, kind: str, arguments: dict[str, Any]) -> Self:
        """This protocol, which remembers how it was asked for: a study that holds it names it so."""
        self._called = {"kind": kind, **arguments}
        return self

    @property
    def table(self) -> dict[str, Any]:
        """How a study names this protocol: as it was asked for, or stage by stage."""
        return self._called or {"kind": "stages", "stages": self.stages}

    @property
    def steps(self) -> int:
        """The most steps that the protocol can take."""
        return sum(stage.length for stage in self.stages if stage.takes_steps)

    @property
    def rotation_equivariant(self) -> bool:
        """Whether no stage knows the axes of the input."""
        return not any(stage.of_axes for stage in self.stages)

    def model_post_init(self, context: Any, /) -> None:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages: got the names {names}; every stage needs a name of its own")
        if self.stages[0].fresh is not None:
            raise ValueError(
                f"stages.{names[0]}.fresh: got {self.stages[0].fresh!r} in the first stage, whose weights are the "
                "start's; leave it out, or say it in a later stage"
            )
        if is_lenient():
            return
        before: Stage | None = None
        for stage in self.stages:
            if not stage.takes_steps:
                continue
            if stage.length < 1:
                raise ValueError(f"stages.{stage.name}.steps: got {stage.steps}; a descent stage needs at least 1")
            if stage.keep_state and (before is None or before.update.structure() != stage.update.structure()):
                raise ValueError(
                    f"stages.{stage.name}.keep_state: got true, but "
                    + (
                        "no stage before it takes steps"
                        if before is None
                        else f"the stage before it is {_in_words(before.update, stage.update)}"
                    )
                    + "; only the state of a stage with the same update "
                    + f"({_in_words(stage.update, before.update if before else None)}) can be kept"
                )
            before = stage


def _in_words(update: Any, other: Any) -> str:
    """The kind of an update, and what another one of this kind differs in beside numbers."""
    if other is None or other.kind != update.kind:
        return update.kind
    mine, theirs = update.structure(), other.structure()
    differs = [name for name in type(mine).model_fields if getattr(mine, name) != getattr(theirs, name, None)]
    said = ", ".join(f"{name} = {getattr(update, name)!r}" for name in differs)
    return f"{update.kind} with {said}" if said else update.kind
