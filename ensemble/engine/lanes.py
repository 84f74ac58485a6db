"""Lanes: what a compiled program knows of a member while the member occupies one of its slots.

Arrays have a leading lane axis. They live on the host between two calls of the program, so that
harvesting a member and refilling its lane is assignment to a row.
"""

from typing import Any, NamedTuple

import numpy as np

Leaf = Any
"""A NumPy array on the host, a JAX array inside a program."""

# Lane codes: what the advance program says of a lane.
IDLE, ACTIVE, RULE_MET, DIVERGED = range(4)

NEVER = np.iinfo(np.int32).max
"""A step that no member reaches."""


class Rules(NamedTuple):
    """A descent stage as numbers: every lane its own."""

    step_size: Leaf
    step_size_every: Leaf
    """Steps after which the step size halves; 0: never."""
    step_size_shape: Leaf
    """Index + 1 into the program's optax schedules; 0: constant."""
    decay: Leaf
    decay_every: Leaf
    decay_shape: Leaf
    moves_output: Leaf
    moves_first: Leaf
    grad_norm: Leaf
    """Tolerances: the stage ends when the quantity is ≤ this; negative: no such rule."""
    loss: Leaf
    max_angle: Leaf
    check_every: Leaf


class Lanes(NamedTuple):
    """Every lane's member: position, clock, teacher, and the stage that it is in."""

    # What a step changes.
    a: Leaf
    W: Leaf
    step: Leaf
    code: Leaf
    record: Leaf
    """Index of the next record."""
    decay_used: Leaf
    """λ of the last step looked at."""
    # What a stage changes.
    start_step: Leaf
    end_step: Leaf
    rules: Rules
    # What stays for the member's life.
    teacher_a: Leaf
    teacher_W: Leaf
    active_threshold: Leaf


class Snapshots(NamedTuple):
    """Weights put aside at record steps, `slot` of them a lane, to be measured between two calls."""

    a: Leaf
    W: Leaf
    decay: Leaf
    count: Leaf
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
