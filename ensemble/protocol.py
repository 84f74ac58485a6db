"""Protocols: stages that run one after another, each moving some layers by some update.

A descent step is  θ ← θ − η(t) ∇(L + (λ(t)/2)‖θ‖²)  on the layers that the stage moves; `ridge` puts the
output layer at its exact optimum for a fixed first layer, and `balance` rescales every neuron to
|a_i| = ‖w_i‖ without changing the function. Those two take no step of the member's clock.
The classical combinations are in `protocols.py`.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from .schedules import Schedule
from .spec import Spec

Layers = Literal["both", "first", "output"]
Update = Literal["descent", "ridge", "balance"]


class Stage(Spec):
    """One stage: which layers move, by which update, under which step size and weight decay, until when.

    A descent stage ends at the first step at which one of its rules holds, or after `steps`:

    - `grad_norm`: the gradient of R_λ on the moving layers has norm ≤ this (looked at at every step);
    - `loss`: the loss is ≤ this, `max_angle`: the largest active angle (rad) is ≤ this (both looked at at
      every `check_every`-th step of the stage).

    `ridge` solves (K(W,W) + λI) a = K(W,W*) a*, by the minimal-norm solution where that is singular.
    """

    name: Annotated[str, Field(min_length=1)]
    update: Update = "descent"
    layers: Layers = "both"
    step_size: PositiveFloat = 0.1
    step_size_schedule: Schedule | None = None
    weight_decay: NonNegativeFloat = 0.0
    weight_decay_schedule: Schedule | None = None
    steps: Annotated[int, Field(ge=0)] = 0
    grad_norm: PositiveFloat | None = None
    loss: PositiveFloat | None = None
    max_angle: PositiveFloat | None = None
    check_every: PositiveInt = 100

    @property
    def has_rule(self) -> bool:
        return any(rule is not None for rule in (self.grad_norm, self.loss, self.max_angle))


class Protocol(Spec):
    """Stages, in order; their names are the dataset's `stage` coordinate and must differ."""

    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]

    @property
    def steps(self) -> int:
        """The most descent steps that the protocol can take."""
        return sum(stage.steps for stage in self.stages if stage.update == "descent")

    def model_post_init(self, context: Any, /) -> None:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages: got the names {names}; every stage needs a name of its own")
        for stage in self.stages:
            if stage.update == "descent" and stage.steps < 1:
                raise ValueError(f"stages.{stage.name}.steps: got {stage.steps}; a descent stage needs at least 1")
