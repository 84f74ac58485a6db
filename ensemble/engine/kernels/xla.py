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

from .. import devices
from ..devices import Compiled, Device, kept, places, side_by_side
from ..lanes import ACTIVE, Lanes, Moving, Snapshots, beside, put, row_like, take, zeros
from ..program import TRACES, Pool, Program
from .base import AbstractKernel, lane_count
from .resident import Resident
from .steps import stage_values, take_step
from .together import advance_together, lanes_a_call


class Xla(AbstractKernel):
    """Tiles of one compiled program, side by side on cores or accelerators; lanes are changed in place."""

    name = "xla"
    limits = "everything"

    def __init__(self, pool: Pool, members: int):
        self.devices = self.parallel = len(places())
        # A fixed number of lanes a call, so that the program does not depend on how many there are.
        self.lanes_a_call = self.tile = (
            lanes_a_call(pool, devices.memory()) if devices.accelerated() else pool.program.tile
        )
        self.count = lane_count(pool, members, self.devices * self.tile)
        if devices.accelerated():
            self.run = advance_program(pool.program, advance_together)
            self.resident = Resident(pool, self.run, self.count, self.tile, self.tile)
        else:
            self.run = advance_program(pool.program, advance_tiles)

    @staticmethod
    def serves(pool: Pool) -> bool:
        return True

    def advance(self, lanes, record_steps, budget):
        if self.resident is not None:
            return self.resident.advance(lanes, record_steps, budget)
        return advance_in_calls(self, lanes, record_steps, budget)


def advance_in_calls(kernel: Any, lanes: Lanes, record_steps: np.ndarray, budget: int):
    """Advances all lanes by calls of `kernel.run` on `kernel.lanes_a_call` of them, side by side; none is made for
    lanes that all rest."""
    size = kernel.lanes_a_call
    # No step asks for what probes prepared: it is not copied, and a program does not know of it.
    lanes = lanes._replace(fixed=lanes.fixed._replace(aids={}))
    parts = [slice(begin, min(begin + size, kernel.count)) for begin in range(0, kernel.count, size)]
    goes = (lanes.moving.code == ACTIVE) & (lanes.moving.step < lanes.stage.end_step)
    parts = [rows for rows in parts if goes[rows].any()] or parts[:1]
    done = side_by_side(functools.partial(_advance_part, kernel, lanes, record_steps, budget), parts)
    # What nobody fills is never touched, and so takes no memory.
    snapshots = zeros(row_like(done[0][0]), kernel.count)
    executed = np.zeros(kernel.count // kernel.tile, np.int32)
    for rows, (aside, steps) in zip(parts, done, strict=True):
        executed[rows.start // kernel.tile : rows.stop // kernel.tile] = steps
        filled = np.flatnonzero(aside.count)
        put(snapshots, rows.start + filled, take(aside, filled))
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

    return Compiled(run, devices.OPTIONS_GPU if jax.default_backend() == "gpu" else None)


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
        step_size, decay = stage_values(program, moving, stage)
        moving = moving._replace(
            decay=jnp.where(goes, decay, moving.decay),
            step_size=jnp.where(goes, step_size, moving.step_size),
            record=moving.record + due.astype(jnp.int32),
        )
        snapshots = jax.lax.cond(jnp.any(due), _put_aside, lambda _moving, s, _due: s, moving, snapshots, due)
        moving = take_step(program, Lanes(moving, stage, fixed), goes, step_size, decay)
        return i + 1, moving, snapshots

    begin = jnp.zeros((), jnp.int32), lanes.moving, snapshots
    executed, moving, snapshots = jax.lax.while_loop(unfinished, one_step, begin)
    return moving, snapshots, executed


def _put_aside(moving: Moving, snapshots: Snapshots, due: jax.Array) -> Snapshots:
    slots = jnp.arange(snapshots.decay.shape[1], dtype=jnp.int32)
    slot = (slots[None, :] == snapshots.count[:, None]) & due[:, None]

    def aside(now: jax.Array, kept: jax.Array) -> jax.Array:
        return jnp.where(beside(slot, kept), now[:, None], kept)

    return Snapshots(
        model=jax.tree.map(aside, moving.model, snapshots.model),
        decay=aside(moving.decay, snapshots.decay),
        step_size=aside(moving.step_size, snapshots.step_size),
        count=snapshots.count + due.astype(jnp.int32),
    )
