"""Lanes: what a compiled program knows of a member while the member occupies one of its slots.

Arrays have a leading lane axis. They live on the host between two calls of the program, so that
harvesting a member and refilling its lane is assignment to a row.
"""

from typing import NamedTuple

import jax
import numpy as np

# Lane codes: what the advance program says of a lane.
IDLE, ACTIVE, RULE_MET, DIVERGED = range(4)

NEVER = np.iinfo(np.int32).max
"""A step that no member reaches."""


class Rules(NamedTuple):
    """A descent stage as numbers: every lane its own."""

    step_size: jax.Array
    step_size_every: jax.Array
    """Steps after which the step size halves; 0: never."""
    step_size_shape: jax.Array
    """Index + 1 into the program's optax schedules; 0: constant."""
    decay: jax.Array
    decay_every: jax.Array
    decay_shape: jax.Array
    moves_output: jax.Array
    moves_first: jax.Array
    grad_norm: jax.Array
    """Tolerances: the stage ends when the quantity is ≤ this; negative: no such rule."""
    loss: jax.Array
    max_angle: jax.Array
    check_every: jax.Array


class Lanes(NamedTuple):
    """Every lane's member: position, clock, teacher, and the stage that it is in."""

    # What a step changes.
    a: jax.Array
    W: jax.Array
    step: jax.Array
    code: jax.Array
    record: jax.Array
    """Index of the next record."""
    decay_used: jax.Array
    """λ of the last step looked at."""
    # What a stage changes.
    start_step: jax.Array
    end_step: jax.Array
    rules: Rules
    # What stays for the member's life.
    teacher_a: jax.Array
    teacher_W: jax.Array
    active_threshold: jax.Array


class Snapshots(NamedTuple):
    """Weights put aside at record steps, `slot` of them a lane, to be measured between two calls."""

    a: jax.Array
    W: jax.Array
    decay: jax.Array
    count: jax.Array
    """How many slots are filled."""


def empty_lanes(count: int, width: int, teacher_neurons: int, inputs: int, dtype: np.dtype) -> Lanes:
    """Idle lanes as writable host arrays."""

    def reals(*shape):
        return np.zeros((count, *shape), dtype)

    def integers(value=0):
        return np.full(count, value, np.int32)

    rules = Rules(
        step_size=reals(),
        step_size_every=integers(),
        step_size_shape=integers(),
        decay=reals(),
        decay_every=integers(),
        decay_shape=integers(),
        moves_output=np.zeros(count, bool),
        moves_first=np.zeros(count, bool),
        grad_norm=reals(),
        loss=reals(),
        max_angle=reals(),
        check_every=integers(1),
    )
    return Lanes(
        a=reals(width),
        W=reals(width, inputs),
        step=integers(),
        code=integers(IDLE),
        record=integers(),
        decay_used=reals(),
        start_step=integers(),
        end_step=integers(),
        rules=rules,
        teacher_a=reals(teacher_neurons),
        teacher_W=reals(teacher_neurons, inputs),
        active_threshold=reals(),
    )
