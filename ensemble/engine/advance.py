"""The compiled program of the descent: a tile of lanes advances many steps without leaving its core.

Every lane takes its own steps: another stage, step size, decay or end than its neighbour's is a number in
its row. A lane rests when its stage ends, a rule is met, it diverges, or its snapshot slots are full; the
tile returns when every lane rests or the step budget is spent. A lane's arithmetic depends on its own row
alone, so a member's bits do not depend on its neighbours, on when it rests, or on the budget.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..activations import AbstractActivation
from ..network import TwoLayer
from ..probes import gradient_norm, max_angle, risk_gradient
from ..risks import population_loss
from ..schedules import halving_factor
from .devices import Program
from .lanes import ACTIVE, DIVERGED, RULE_MET, Lanes, Snapshots


class ProgramShape(NamedTuple):
    """What is static: each distinct value is traced and compiled once."""

    activation: AbstractActivation
    width: int
    teacher_neurons: int
    inputs: int
    dtype: str
    tile: int
    """Lanes in a tile."""
    slots: int
    """Snapshots a lane can put aside in one call."""
    schedules: tuple[Callable[[jax.Array], jax.Array], ...]
    """Factors that are not numbers of a lane; hashable."""
    has_loss_rule: bool
    has_angle_rule: bool


TRACES: list[ProgramShape] = []
"""One entry for every trace of the advance program: tests count compilations with it."""


def divergence_limit(dtype: np.dtype) -> float:
    """The gradient norm above which a member counts as diverged.

    Far above any gradient of a meaningful start, and low enough that the loss at the weights that gave it
    is still a finite number of this precision.
    """
    return 1e30 if dtype == np.float64 else 1e6


def advance_tiles(shape: ProgramShape, lanes: Lanes, record_steps: jax.Array, budget: jax.Array):
    """(lanes, snapshots, executed) of the lanes of one device after at most `budget` steps, one tile after another.

    `executed` counts the steps that each tile's loop ran.
    """
    tiles = jax.tree.map(lambda x: x.reshape(-1, shape.tile, *x.shape[1:]), lanes)
    lanes, snapshots, executed = jax.lax.map(lambda tile: _advance_tile(shape, tile, record_steps, budget), tiles)
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (lanes, snapshots))
    return *flat, executed


@functools.cache
def advance_program(shape: ProgramShape, advance: Callable = advance_tiles) -> Program:
    """The compiled `(lanes, record_steps, budget) -> (lanes, snapshots, executed)` of one device."""

    def program(lanes, record_steps, budget):
        TRACES.append(shape)
        return advance(shape, lanes, record_steps, budget)

    return Program(program)


def _advance_tile(shape: ProgramShape, lanes: Lanes, record_steps: jax.Array, budget: jax.Array):
    dtype = jnp.dtype(shape.dtype)
    snapshots = Snapshots(
        a=jnp.zeros((shape.tile, shape.slots, shape.width), dtype),
        W=jnp.zeros((shape.tile, shape.slots, shape.width, shape.inputs), dtype),
        decay=jnp.zeros((shape.tile, shape.slots), dtype),
        count=jnp.zeros(shape.tile, jnp.int32),
    )

    def awake(lanes: Lanes, snapshots: Snapshots):
        due = lanes.step == record_steps[lanes.record]
        running = (lanes.code == ACTIVE) & (lanes.step < lanes.end_step)
        return running & ~(due & (snapshots.count == shape.slots)), due

    def unfinished(carry):
        i, lanes, snapshots = carry
        return (i < budget) & jnp.any(awake(lanes, snapshots)[0])

    def one_step(carry):
        i, lanes, snapshots = carry
        moving, due = awake(lanes, snapshots)
        due = due & moving
        step_size, decay = _stage_values(shape, lanes)
        lanes = lanes._replace(
            decay_used=jnp.where(moving, decay, lanes.decay_used), record=lanes.record + due.astype(jnp.int32)
        )
        snapshots = jax.lax.cond(jnp.any(due), _put_aside, lambda _lanes, s, _due: s, lanes, snapshots, due)
        lanes = _descend(shape, lanes, moving, step_size, decay)
        return i + 1, lanes, snapshots

    executed, lanes, snapshots = jax.lax.while_loop(unfinished, one_step, (jnp.zeros((), jnp.int32), lanes, snapshots))
    return lanes, snapshots, executed


def _put_aside(lanes: Lanes, snapshots: Snapshots, due: jax.Array) -> Snapshots:
    slot = (jnp.arange(snapshots.decay.shape[1], dtype=jnp.int32)[None, :] == snapshots.count[:, None]) & due[:, None]
    return Snapshots(
        a=jnp.where(slot[:, :, None], lanes.a[:, None, :], snapshots.a),
        W=jnp.where(slot[:, :, None, None], lanes.W[:, None, :, :], snapshots.W),
        decay=jnp.where(slot, lanes.decay_used[:, None], snapshots.decay),
        count=snapshots.count + due.astype(jnp.int32),
    )


def _stage_values(shape: ProgramShape, lanes: Lanes) -> tuple[jax.Array, jax.Array]:
    """(η, λ) of every lane at its step."""
    time = lanes.step - lanes.start_step
    rules = lanes.rules
    step_size = rules.step_size * halving_factor(time, rules.step_size_every, rules.step_size.dtype)
    decay = rules.decay * halving_factor(time, rules.decay_every, rules.decay.dtype)
    for index, schedule in enumerate(shape.schedules, start=1):
        factor = schedule(time).astype(decay.dtype)
        step_size = jnp.where(rules.step_size_shape == index, step_size * factor, step_size)
        decay = jnp.where(rules.decay_shape == index, decay * factor, decay)
    return step_size, decay


def _descend(shape: ProgramShape, lanes: Lanes, moving: jax.Array, step_size: jax.Array, decay: jax.Array) -> Lanes:
    """One descent step of the lanes that move; those that meet a rule or diverge stay where they are."""
    rules = lanes.rules
    sigma = shape.activation

    def slope_of(a, W, teacher_a, teacher_W, decay):
        return risk_gradient(TwoLayer(a, W, sigma), TwoLayer(teacher_a, teacher_W, sigma), decay)

    slope = jax.vmap(slope_of)(lanes.a, lanes.W, lanes.teacher_a, lanes.teacher_W, decay)
    norm = jax.vmap(gradient_norm)(slope, rules.moves_output, rules.moves_first)
    met = norm <= rules.grad_norm
    if shape.has_loss_rule or shape.has_angle_rule:
        checked = moving & ((lanes.step - lanes.start_step) % rules.check_every == 0)
        checked &= (rules.loss >= 0.0) | (rules.max_angle >= 0.0)
        met |= checked & jax.lax.cond(
            jnp.any(checked),
            functools.partial(_slow_rules, shape),
            lambda lanes: jnp.zeros_like(checked),
            lanes,
        )
    finite = norm < divergence_limit(np.dtype(shape.dtype))  # False for NaN as well
    met &= finite
    code = jnp.where(moving & met, RULE_MET, jnp.where(moving & ~finite, DIVERGED, lanes.code))
    moves = moving & finite & ~met
    output, first = moves & rules.moves_output, moves & rules.moves_first
    return lanes._replace(
        a=jnp.where(output[:, None], lanes.a - step_size[:, None] * slope.a, lanes.a),
        W=jnp.where(first[:, None, None], lanes.W - step_size[:, None, None] * slope.W, lanes.W),
        step=lanes.step + moves.astype(jnp.int32),
        code=code.astype(jnp.int32),
    )


def _slow_rules(shape: ProgramShape, lanes: Lanes) -> jax.Array:
    """Whether the loss or the largest angle of each lane is within its tolerance."""

    def of_lane(a, W, teacher_a, teacher_W, rules, threshold):
        student, teacher = TwoLayer(a, W, shape.activation), TwoLayer(teacher_a, teacher_W, shape.activation)
        met = jnp.zeros((), bool)
        if shape.has_loss_rule:
            met |= (rules.loss >= 0.0) & (population_loss(student, teacher) <= rules.loss)
        if shape.has_angle_rule:
            met |= (rules.max_angle >= 0.0) & (max_angle(student, teacher, threshold) <= rules.max_angle)
        return met

    return jax.vmap(of_lane)(lanes.a, lanes.W, lanes.teacher_a, lanes.teacher_W, lanes.rules, lanes.active_threshold)
