"""The compiled program of a stage on an accelerator: all lanes of a call take their steps at once.

On a CPU a tile is as many lanes as stay in cache (`xla.py`); an accelerator wants thousands of lanes in every
operation, and every operation costs a few microseconds. So steps are taken several at a time between two looks at
whether any lane still runs. What is due is put aside at a look, for all lanes in one
scatter; a lane that comes to its next record between two looks rests until the next one. Resting changes no bit (see
`xla.py`).
"""

import jax
import jax.numpy as jnp
import numpy as np

from ...problem.models import TwoLayer
from ...problem.risks import from_unit_rows
from ..lanes import ACTIVE, Lanes, Moving, Snapshots, StageRow
from ..program import Pool, Program, samples_a_step, step_numbers
from .steps import stage_values, take_step

STEPS_A_LOOK = 8
"""Steps between two looks at the loop's condition."""
_NUMBERS_A_CALL = 2**21
"""Numbers (pairs of neurons, or weights) that all lanes of a call have together: so many that eight times as many are
hardly faster (docs/performance.md), and so few that a study of a few thousand members does not leave most lanes
empty."""
_FEWEST, _MOST = 2**10, 2**18


def lanes_a_call(pool: Pool, memory: int) -> int:
    """Lanes of a call: a power of two from the shapes of a lane and the device's memory in bytes."""
    like = pool.like
    teacher = getattr(like.fixed.risk, "teacher", None)
    neurons = teacher.a.shape[-1] if isinstance(teacher, TwoLayer) else 0
    numbers = step_numbers(like.moving.model, neurons, samples_a_step(like.fixed.risk))
    wanted = 2 ** int(np.ceil(np.log2(_NUMBERS_A_CALL / numbers)))

    def size(tree) -> int:
        return sum(x.dtype.itemsize * int(np.prod(x.shape)) for x in jax.tree.leaves(tree))

    # The lanes before and after, what is put aside, and a handful of arrays of a step.
    real = np.dtype(pool.program.dtype).itemsize
    a_lane = 2 * size(like) + (2 + 2 * pool.program.slots) * size(like.moving.model) + 12 * real * numbers
    fitting = 2 ** int(np.log2(max(1, memory // 2 // a_lane)))
    return max(1, min(max(_FEWEST, min(_MOST, wanted)), fitting))


def advance_together(
    program: Program, lanes: Lanes, record_steps: jax.Array, budget: jax.Array, steps_a_look: int = STEPS_A_LOOK
):
    """(moving, snapshots, executed) of the lanes of one device after at most `budget` steps, all of them at once.

    `executed` counts the steps of the one loop.
    """
    _, stage, fixed = lanes
    count, slots = lanes.moving.step.shape[0], program.slots
    aside, put_aside, unpacked = _slots(lanes.moving, slots)

    def due(moving: Moving) -> jax.Array:
        return moving.step == record_steps[moving.record]

    def running(moving: Moving) -> jax.Array:
        return (moving.code == ACTIVE) & (moving.step < stage.end_step)

    def unfinished(carry):
        executed, moving, _, filled = carry
        full = due(moving) & (filled == slots)
        return (executed < budget) & jnp.any(running(moving) & ~full)

    def look(carry):
        executed, moving, aside, filled = carry
        full = due(moving) & (filled == slots)
        taken = running(moving) & due(moving) & ~full
        values = stage_values(program, moving, stage)
        aside = put_aside(aside, taken, filled, (moving.model, values))
        taken = taken.astype(jnp.int32)
        moving, filled = moving._replace(record=moving.record + taken), filled + taken

        def one_step(at, carry):
            now, (step_size, decay) = carry
            # A lane that is due rests: what it is now is put aside at the next look.
            goes = running(now) & ~due(now) & (executed + at < budget)
            at_work = Lanes(now._replace(decay=decay, step_size=step_size), stage, fixed)
            then = take_step(program, at_work, goes, step_size, decay, from_unit_rows)
            # Those of the next step are computed here, where the rest of a lane's numbers are: one operation less.
            return then._replace(decay=now.decay, step_size=now.step_size), stage_values(program, then, stage)

        # Written out: as a loop it would cost a counter a round, and arrays copied from round to round.
        then = moving, values
        for at in range(steps_a_look):
            then = one_step(at, then)
        after, _ = then
        moving = _with_last_values(program, stage, moving, after)
        return jnp.minimum(executed + steps_a_look, budget), moving, aside, filled

    begin = jnp.zeros((), jnp.int32), lanes.moving, aside, jnp.zeros(count, jnp.int32)
    executed, moving, aside, filled = jax.lax.while_loop(unfinished, look, begin)
    model, (step_size, decay) = unpacked(aside)
    return moving, Snapshots(model, decay, step_size, filled), executed[None]


def _with_last_values(program: Program, stage: StageRow, before: Moving, after: Moving) -> Moving:
    """`after` with λ and η of the last step that each lane looked at since `before`.

    They are functions of that step alone: the one before a lane's step where it moved on, its step where it met its
    end.
    """
    went = (after.step != before.step) | (after.code != before.code)
    last = after.step - (after.code == ACTIVE).astype(jnp.int32)
    step_size, decay = stage_values(program, after._replace(step=last), stage)
    return after._replace(
        decay=jnp.where(went, decay, before.decay), step_size=jnp.where(went, step_size, before.step_size)
    )


def _slots(moving: Moving, slots: int):
    """(empty slots of all lanes, how lanes are put aside in them, how they are read): one array, so one scatter."""
    leaves, structure = jax.tree.flatten((moving.model, (moving.step_size, moving.decay)))
    count, sizes = leaves[0].shape[0], [int(np.prod(x.shape[1:])) for x in leaves]

    def put_aside(aside: jax.Array, taken: jax.Array, filled: jax.Array, now) -> jax.Array:
        lane = jnp.arange(count, dtype=jnp.int32)
        # A place beyond the array is dropped, and read by nobody.
        place = jnp.where(taken, lane * slots + filled, count * slots + lane)
        row = jnp.concatenate([x.reshape(count, -1) for x in jax.tree.leaves(now)], axis=1)
        return aside.at[place].set(row, mode="drop", unique_indices=True)

    def unpacked(aside: jax.Array):
        parts = jnp.split(aside, np.cumsum(sizes)[:-1].tolist(), axis=1)
        shaped = [x.reshape(count, slots, *like.shape[1:]) for x, like in zip(parts, leaves, strict=True)]
        return jax.tree.unflatten(structure, shaped)

    return jnp.zeros((count * slots, sum(sizes)), leaves[-1].dtype), put_aside, unpacked
