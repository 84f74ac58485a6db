"""Lanes: what a compiled program knows of a member while the member occupies one of its slots.

Arrays have a leading lane axis. They live on the host between two calls of the program, so that
harvesting a member and refilling its lane is assignment to a row. Models, risks and states of updates are pytrees
of whatever structure they have: nothing here or between here and a file lists their fields.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

Leaf = Any
"""A NumPy array on the host, a JAX array inside a program."""
Tree = Any
"""A pytree of leaves."""

# Lane codes: what the advance program says of a lane.
IDLE, ACTIVE, RULE_MET, DIVERGED = range(4)

NEVER = np.iinfo(np.int32).max
"""A step that no member reaches."""


class Moving(NamedTuple):
    """What a step changes."""

    model: Tree
    state: Tree
    """What the update remembers."""
    step: Leaf
    code: Leaf
    record: Leaf
    """Index of the next record."""
    decay: Leaf
    """λ of the last step looked at."""
    step_size: Leaf
    """η of the last step looked at."""
    anchor: Tree = ()
    """The model as the stage began, where its penalty or the zeros that it keeps are of it; else ()."""


class StageRow(NamedTuple):
    """What a stage changes: numbers, every lane its own."""

    start_step: Leaf
    end_step: Leaf
    step_size: Leaf
    step_size_every: Leaf
    """Steps after which the step size halves; 0: never."""
    step_size_shape: Leaf
    """Index + 1 into the program's optax schedules; 0: constant."""
    decay: Leaf
    decay_every: Leaf
    decay_shape: Leaf
    moves: Tree
    """What of the model moves: booleans in its structure, one a leaf, or one a neuron."""
    numbers: dict[str, Tree]
    """Those of the update and of the penalty."""
    grad_norm: Leaf
    """Tolerances: the stage ends when the quantity is ≤ this; negative: no such rule."""
    loss: Leaf
    max_angle: Leaf
    check_every: Leaf
    target: Tree = ()
    """A share for each teacher neuron, 0 where it is no target; () where no stage of the member has a target."""


class Fixed(NamedTuple):
    """What stays for the member's life."""

    risk: Tree
    aids: Tree
    """What probes prepared of the risk."""
    active_threshold: Leaf


class Lanes(NamedTuple):
    """Every lane's member: position, stage, problem."""

    moving: Moving
    stage: StageRow
    fixed: Fixed


class Snapshots(NamedTuple):
    """Models put aside at record steps, `slot` of them a lane, to be measured between two calls."""

    model: Tree
    decay: Leaf
    step_size: Leaf
    count: Leaf
    """How many slots are filled."""


def zeros(like: Tree, *leading: int, of: Callable[..., Any] = np.zeros) -> Tree:
    """Zeros of the shapes of `like` behind leading axes."""
    return jax.tree.map(lambda x: of((*leading, *x.shape), x.dtype), like)


def beside(mask: Leaf, values: Leaf) -> Leaf:
    """A mask with as many axes as values have."""
    return mask.reshape(*mask.shape, *[1] * (values.ndim - mask.ndim))


def moving_entries(moves: Tree, anchor: Tree, keeps_zeros: bool) -> Tree:
    """What of the models of lanes moves: `moves`, without the weights that are 0 in `anchor` where these are kept."""
    if not keeps_zeros:
        return moves
    return jax.tree.map(lambda moved, x: beside(moved, x) & (x != 0.0), moves, anchor)


def row_like(values: Tree) -> Tree:
    """The shapes and types of one row."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), values)


def take(values: Tree, rows: np.ndarray | slice) -> Tree:
    """Copies of some rows."""
    return jax.tree.map(lambda x: x[rows], values)


def put(target: Tree, rows: np.ndarray | slice, values: Tree) -> None:
    """Assigns rows in place."""
    jax.tree.map(lambda x, v: x.__setitem__(rows, v), target, values)


def joined(parts: list[Tree]) -> Tree:
    """Rows of several trees of one structure, one after another."""
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *xs: np.concatenate(xs), *parts)


def empty_lanes(count: int, like: Lanes) -> Lanes:
    """Idle lanes as writable host arrays, for rows like `like`."""
    lanes = zeros(like, count)
    lanes.moving.code[:] = IDLE
    lanes.stage.check_every[:] = 1
    return lanes
