"""The compiled program of a stage in XLA: any update, penalty, risk and model, on every device.

Every lane takes its own steps: another step size, decay or end than its neighbour's is a number in its row. A lane
rests when its stage ends, a rule is met, it diverges, or its snapshot slots are full; the tile returns when every lane
rests or the step budget is spent. A lane's arithmetic depends on its own row alone, so a member's bits do not depend
on its neighbours, on when it rests, or on the budget.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...dynamics.schedules import halving_factor
from ...dynamics.updates import Clock, Objective
from ...probes import PROBES, Measured, Moment
from ..devices import Compiled, Device, kept, places, side_by_side
from ..lanes import ACTIVE, DIVERGED, RULE_MET, Fixed, Lanes, Moving, Snapshots, StageRow, put, take, zeros
from ..program import TRACES, Pool, Program, divergence_limit
from .base import AbstractKernel, lane_count


class Xla(AbstractKernel):
    """Tiles of one compiled program, side by side on cores or accelerators; lanes are changed in place."""

    name = "xla"
    limits = "everything"

    def __init__(self, pool: Pool, members: int):
        self.devices = self.parallel = len(places())
        self.tile = pool.program.tile
        self.count = lane_count(pool, members, self.devices * self.tile)
        self.run = advance_program(pool.program, advance_tiles)
        # One tile on CPU, so that the program does not depend on the number of lanes; all of a device's on others.
        self.lanes_a_call = self.tile if jax.default_backend() == "cpu" else self.count // self.devices

    @staticmethod
    def serves(pool: Pool) -> bool:
        return True

    def advance(self, lanes, record_steps, budget):
        return advance_in_calls(self, lanes, record_steps, budget)


def advance_in_calls(kernel: Any, lanes: Lanes, record_steps: np.ndarray, budget: int):
    """Advances all lanes by calls of `kernel.run` on `kernel.lanes_a_call` of them, side by side."""
    size = kernel.lanes_a_call
    parts = [slice(begin, min(begin + size, kernel.count)) for begin in range(0, kernel.count, size)]
    step = functools.partial(_advance_part, kernel, lanes, record_steps, budget)
    snapshots, executed = jax.tree.map(lambda *xs: np.concatenate(xs), *side_by_side(step, parts))
    return snapshots, executed


def _advance_part(kernel: Any, lanes: Lanes, record_steps: np.ndarray, budget: int, rows: slice, device: Device):
    try:
        moving, snapshots, executed = kernel.run(device, take(lanes, rows), record_steps, np.int32(budget))
        put(lanes.moving, rows, moving)
        return jax.tree.map(np.asarray, (snapshots, executed))
    except jax.errors.JaxRuntimeError as error:
        tiles = (rows.stop - rows.start) // kernel.tile
        if "RESOURCE_EXHAUSTED" not in str(error) or tiles == 1:
            raise
    # These lanes are as they were: the same steps again, on half of them at a time, here and from now on.
    middle = rows.start + tiles // 2 * kernel.tile
    kernel.lanes_a_call = min(kernel.lanes_a_call, max(middle - rows.start, rows.stop - middle))
    halves = slice(rows.start, middle), slice(middle, rows.stop)
    done = [_advance_part(kernel, lanes, record_steps, budget, half, device) for half in halves]
    return jax.tree.map(lambda *xs: np.concatenate(xs), *done)


# -- the program ---------------------------------------------------------------------------------------


def advance_tiles(program: Program, lanes: Lanes, record_steps: jax.Array, budget: jax.Array):
    """(moving, snapshots, executed) of the lanes of one device after at most `budget` steps, one tile after another.

    `executed` counts the steps that each tile's loop ran.
    """
    tiles = jax.tree.map(lambda x: x.reshape(-1, program.tile, *x.shape[1:]), lanes)
    moving, snapshots, executed = jax.lax.map(lambda tile: _advance_tile(program, tile, record_steps, budget), tiles)
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (moving, snapshots))
    return *flat, executed


@kept
def advance_program(program: Program, advance: Callable) -> Compiled:
    """The compiled `(lanes, record_steps, budget) -> (moving, snapshots, executed)` of one device."""

    def run(lanes, record_steps, budget):
        TRACES.append(program)
        return advance(program, lanes, record_steps, budget)

    return Compiled(run)


def _advance_tile(program: Program, lanes: Lanes, record_steps: jax.Array, budget: jax.Array):
    slots, stage, fixed = program.slots, lanes.stage, lanes.fixed
    count = lanes.moving.step.shape[0]
    of_lane = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), lanes.moving)
    snapshots = Snapshots(
        model=zeros(of_lane.model, count, slots, of=jnp.zeros),
        decay=jnp.zeros((count, slots), of_lane.decay.dtype),
        step_size=jnp.zeros((count, slots), of_lane.step_size.dtype),
        count=jnp.zeros(count, jnp.int32),
    )

    def awake(moving: Moving, snapshots: Snapshots):
        due = moving.step == record_steps[moving.record]
        running = (moving.code == ACTIVE) & (moving.step < stage.end_step)
        return running & ~(due & (snapshots.count == slots)), due

    def unfinished(carry):
        i, moving, snapshots = carry
        return (i < budget) & jnp.any(awake(moving, snapshots)[0])

    def one_step(carry):
        i, moving, snapshots = carry
        goes, due = awake(moving, snapshots)
        due = due & goes
        step_size, decay = _stage_values(program, moving, stage)
        moving = moving._replace(
            decay=jnp.where(goes, decay, moving.decay),
            step_size=jnp.where(goes, step_size, moving.step_size),
            record=moving.record + due.astype(jnp.int32),
        )
        snapshots = jax.lax.cond(jnp.any(due), _put_aside, lambda _moving, s, _due: s, moving, snapshots, due)
        moving = _step(program, Lanes(moving, stage, fixed), goes, step_size, decay)
        return i + 1, moving, snapshots

    begin = jnp.zeros((), jnp.int32), lanes.moving, snapshots
    executed, moving, snapshots = jax.lax.while_loop(unfinished, one_step, begin)
    return moving, snapshots, executed


def _put_aside(moving: Moving, snapshots: Snapshots, due: jax.Array) -> Snapshots:
    slots = jnp.arange(snapshots.decay.shape[1], dtype=jnp.int32)
    slot = (slots[None, :] == snapshots.count[:, None]) & due[:, None]

    def aside(now: jax.Array, kept: jax.Array) -> jax.Array:
        return jnp.where(_beside(slot, kept), now[:, None], kept)

    return Snapshots(
        model=jax.tree.map(aside, moving.model, snapshots.model),
        decay=aside(moving.decay, snapshots.decay),
        step_size=aside(moving.step_size, snapshots.step_size),
        count=snapshots.count + due.astype(jnp.int32),
    )


def _beside(mask: jax.Array, values: jax.Array) -> jax.Array:
    """A mask with as many axes as values have."""
    return mask.reshape(*mask.shape, *[1] * (values.ndim - mask.ndim))


def _stage_values(program: Program, moving: Moving, stage: StageRow) -> tuple[jax.Array, jax.Array]:
    """(η, λ) of every lane at its step."""
    time = moving.step - stage.start_step
    step_size = stage.step_size * halving_factor(time, stage.step_size_every, stage.step_size.dtype)
    decay = stage.decay * halving_factor(time, stage.decay_every, stage.decay.dtype)
    for index, schedule in enumerate(program.schedules, start=1):
        factor = schedule(time).astype(decay.dtype)
        step_size = jnp.where(stage.step_size_shape == index, step_size * factor, step_size)
        decay = jnp.where(stage.decay_shape == index, decay * factor, decay)
    return step_size, decay


def _step(program: Program, lanes: Lanes, goes: jax.Array, step_size: jax.Array, decay: jax.Array) -> Moving:
    """One step of the lanes that go; those that meet a rule or diverge stay where they are."""
    moving, stage = lanes.moving, lanes.stage

    def of_lane(moving: Moving, stage: StageRow, fixed: Fixed, step_size, decay):
        update = program.update.with_numbers(stage.numbers["update"])
        penalty = program.penalty.with_numbers(stage.numbers["penalty"])
        objective = Objective(_risk(program, stage, fixed), penalty, decay, step_size, stage.moves, program.decoupled)
        clock = Clock(moving.step, moving.step - stage.start_step)
        return update.step(moving.model, moving.state, objective, clock)

    model, state, info = jax.vmap(of_lane)(moving, stage, lanes.fixed, step_size, decay)
    norm = info.gradient_norm
    met = norm <= stage.grad_norm
    if info.begins is not None:
        met &= info.begins
    if program.rules:
        checked = goes & (True if info.begins is None else info.begins)
        checked &= (moving.step - stage.start_step) % stage.check_every == 0
        checked &= functools.reduce(jnp.logical_or, [getattr(stage, rule) >= 0.0 for rule in program.rules])
        met |= checked & jax.lax.cond(
            jnp.any(checked),
            functools.partial(_slow_rules, program),
            lambda lanes: jnp.zeros_like(checked),
            lanes,
        )
    finite = norm < divergence_limit(np.dtype(program.dtype))  # False for NaN as well
    met &= finite
    code = jnp.where(goes & met, RULE_MET, jnp.where(goes & ~finite, DIVERGED, moving.code))
    moves = goes & finite & ~met

    over = moves if info.ends is None else moves & info.ends

    def where_moved(moved: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(_beside(_beside(moves, moved) & moved, old), new, old)

    return moving._replace(
        model=jax.tree.map(where_moved, stage.moves, model, moving.model),
        state=jax.tree.map(lambda new, old: jnp.where(_beside(moves, old), new, old), state, moving.state),
        step=moving.step + over.astype(jnp.int32),
        code=code.astype(jnp.int32),
    )


def _risk(program: Program, stage: StageRow, fixed: Fixed) -> Any:
    """What the stage of a lane fits."""
    return fixed.risk.of_target(stage.target) if program.targeted else fixed.risk


def _slow_rules(program: Program, lanes: Lanes) -> jax.Array:
    """Whether a quantity that costs a measurement is within its tolerance, for each lane."""

    def of_lane(moving: Moving, stage: StageRow, fixed: Fixed):
        moment = Moment(
            moving.model, fixed.risk, {}, moving.decay, moving.step_size, stage.moves, fixed.active_threshold
        )
        at = Measured(moment, program.penalty.with_numbers(stage.numbers["penalty"]))
        met = jnp.zeros((), bool)
        for rule in program.rules:
            # The loss alone needs no gradient.
            value = _risk(program, stage, fixed).value(moving.model) if rule == "loss" else PROBES[rule](at)
            met |= (getattr(stage, rule) >= 0.0) & (value <= getattr(stage, rule))
        return met

    return jax.vmap(of_lane)(*lanes)
