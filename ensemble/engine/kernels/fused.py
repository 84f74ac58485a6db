"""The descent as one Pallas kernel: a program of the accelerator keeps one member on chip over many steps.

XLA's own program walks through the accelerator's memory several times a step; here a member stays in the registers and
caches of one multiprocessor (`fused_member.py`). Arrays are padded to powers of two, as Triton wants them: a padded
neuron is zero, has no pull and no gradient. Each function that needs Pallas imports it: no CPU's study does.
"""

import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ...dynamics.updates import Descent
from ...numerics import safe_divide
from ...problem.activations import AbstractActivation, AbstractHomogeneous, AbstractSeries
from ...problem.models import TwoLayer, row_norms
from ...problem.penalties import L2
from ...problem.risks import PopulationRisk
from .. import devices
from ..accelerator import slow_float64
from ..devices import places
from ..lanes import Lanes, Snapshots
from ..program import Pool, Program
from .arithmetic import Card, Plain
from .base import AbstractKernel, lane_count
from .fused_member import REAL, SIDE, WHOLE, Inputs, Outputs, Shape, block_size, descend, in_blocks
from .resident import Resident
from .xla import advance_in_calls, advance_program


class Fused(AbstractKernel):
    """One kernel that keeps a member on chip over many steps: a tile is a lane, and lanes rest one by one."""

    name: ClassVar[str] = "fused"
    limits: ClassVar[str] = (
        "plain descent of two-layer students on the exact population risk without optax schedules and without loss or "
        "angle rules, of activations with a closed kernel and σ(0) = 0"
    )
    tile = 1

    def __init__(self, pool: Pool, members: int):
        self.devices = self.parallel = len(places())
        self.count = lane_count(pool, members, self.devices)
        self.run = advance_program(pool.program, _interpreted if jax.default_backend() == "cpu" else _compiled)
        self.lanes_a_call = self.count // self.devices
        if devices.accelerated():
            self.resident = Resident(pool, self.run, self.count, self.lanes_a_call, self.tile)

    @staticmethod
    def serves(pool: Pool) -> bool:
        program, like = pool
        return (
            isinstance(program.update, Descent)
            and program.penalty == L2()
            and not (program.decoupled or program.schedules or program.rules)
            and not (program.by_neuron or program.targeted or program.keeps_zeros)
            and isinstance(like.moving.model, TwoLayer)
            and type(like.fixed.risk) is PopulationRisk
            and _serves(like.moving.model.activation)
        )

    @staticmethod
    def pays(pool: Pool) -> bool:
        """Whether it was measured to be faster than `xla` (docs/performance.md): 1-homogeneous activations in float64,
        at most 32 neurons and inputs, cards with units for float64."""
        like = pool.like.moving.model
        if not (jax.default_backend() == "gpu" and Fused.serves(pool) and pool.program.dtype == "float64"):
            return False
        small = max(like.W.shape) <= 32 and isinstance(like.activation, AbstractHomogeneous)
        return small and slow_float64("float64") is None

    def advance(self, lanes, record_steps, budget):
        if self.resident is not None:
            return self.resident.advance(lanes, record_steps, budget)
        return advance_in_calls(self, lanes, record_steps, budget)


def _serves(sigma: AbstractActivation) -> bool:
    """Whether its kernel is in closed form, and 0 for a neuron of zeros, which a padded one is: it would move else."""
    zero = jnp.zeros(())
    return not isinstance(sigma, AbstractSeries) and float(sigma.dual(zero, zero, zero)) == 0.0


def advance_members(
    interpret: bool,
    program: Program,
    lanes: Lanes,
    record_steps: jax.Array,
    budget: jax.Array,
    num_warps: int | None = None,
):
    """(moving, snapshots, executed) of the lanes of one device after at most `budget` steps, a tile a lane.

    `interpret` runs the kernel's operations one by one on any platform, which is slow and meant for tests. `num_warps`
    groups of 32 threads take a member: `warps` where nothing is asked for.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    moving, teacher = lanes.moving, lanes.fixed.risk.teacher
    (count, m, d), slots = moving.model.W.shape, program.slots
    mt = teacher.W.shape[1]
    M, T, D = padded(m, mt, d)
    arithmetic = Plain() if interpret else Card()
    shape = Shape(slots, program.dtype, moving.model.activation, arithmetic, m, packed=_packed(m, mt, M))
    inputs = _given(lanes, record_steps, budget, (M, T, D), shape.packed)
    outputs = _found(count, (M, 0 if shape.packed else T, D), slots, jnp.dtype(program.dtype))

    def of_member(x) -> Any:
        return pl.BlockSpec((1, *x.shape[1:]), lambda lane: (lane, *[0] * (len(x.shape) - 1)))

    shared = [pl.BlockSpec(x.shape, lambda lane: (0,)) for x in inputs[:2]]
    found = pl.pallas_call(
        functools.partial(descend, shape, interpret),
        grid=(count,),
        in_specs=[*shared, *map(of_member, inputs[2:])],
        out_specs=[*map(of_member, outputs)],
        out_shape=[*outputs],
        interpret=interpret,
        compiler_params=triton.CompilerParams(num_warps=num_warps or warps(M, D)),
    )(*inputs)
    out = Outputs(*found)
    step, code, record, taken, executed = out.whole.T
    after = moving._replace(
        model=_with_leaves(moving.model, out.vectors[:, 0, :m], out.tiles[:, 0, :m, :d]),
        step=step,
        code=code,
        record=record,
        step_size=out.used[:, 0],
        decay=out.used[:, 1],
    )
    aside = _with_leaves(moving.model, out.taken_a[..., :m], out.taken_W[..., :m, :d])
    return after, Snapshots(aside, out.taken_values[..., 1], out.taken_values[..., 0], taken), executed


def padded(neurons: int, teacher_neurons: int, inputs: int) -> tuple[int, int, int]:
    """Powers of two, no side under what the units for products take, and whole blocks."""
    from jax.experimental import pallas as pl

    M, T, D = [max(SIDE, pl.next_power_of_2(size)) for size in (neurons, teacher_neurons, inputs)]
    return M, max(T, block_size(M)) if in_blocks(M, D) else T, D


def _packed(neurons: int, teacher_neurons: int, room: int) -> bool:
    """Whether the teacher's neurons are in the padding of the student's."""
    return neurons + teacher_neurons <= room


def blocks(neurons: int, teacher_neurons: int, inputs: int) -> int:
    """Rounds of a step's loop over neurons that a student is paired with."""
    M, T, D = padded(neurons, teacher_neurons, inputs)
    if not in_blocks(M, D):
        return 1
    return (M if _packed(neurons, teacher_neurons, M) else M + T) // block_size(M)


def warps(neurons: int, inputs: int) -> int:
    """Groups of 32 threads for a member: those that were fastest on an H200 (docs/performance.md), more where four
    would not have the registers."""
    return 8 if neurons >= 64 else max(1, min(4, neurons * inputs // 128))


def _given(lanes: Lanes, record_steps: jax.Array, budget: jax.Array, size: tuple, packed: bool) -> Inputs:
    from jax.experimental import pallas as pl

    moving, stage, teacher = lanes.moving, lanes.stage, lanes.fixed.risk.teacher
    (M, T, D), (a, W) = size, (moving.model.a, moving.model.W)
    if packed:
        a, W = jnp.concatenate([a, -teacher.a], axis=1), jnp.concatenate([W, teacher.W], axis=1)
    norms = row_norms(teacher.W)
    unit = isinstance(teacher.activation, AbstractHomogeneous)
    values = {
        **stage._asdict(),
        "step": moving.step,
        "code": moving.code,
        "record": moving.record,
        "step_size_used": moving.step_size,
        "decay_used": moving.decay,
        "moves_output": stage.moves.a.astype(jnp.int32),
        "moves_first": stage.moves.W.astype(jnp.int32),
    }
    weights = -teacher.a * norms if unit else -teacher.a
    rows = safe_divide(teacher.W, norms[..., None]) if unit else teacher.W
    return Inputs(
        records=_padded(record_steps, pl.next_power_of_2(len(record_steps))),
        budget=budget[None],
        whole=jnp.stack([values[name] for name in WHOLE], axis=1),
        real=jnp.stack([values[name] for name in REAL], axis=1),
        a=_padded(a, M),
        W=_padded(W, M, D),
        teacher=_padded(jnp.stack([weights, norms], axis=1), T),
        teacher_rows=_padded(rows, T, D),
    )


def _found(count: int, size: tuple[int, int, int], slots: int, dtype: Any) -> Outputs:
    """The shapes of the kernel's results; `size` is that of the student and of the teacher's neurons beside it."""
    M, T, D = size
    arrays, rows = (2, M + T) if in_blocks(M, D) else (1, M)

    def array(*size: int, kind=dtype) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((count, *size), kind)

    return Outputs(
        whole=array(5, kind=jnp.dtype(jnp.int32)),
        used=array(2),
        vectors=array(2 * arrays - 1, rows),
        tiles=array(arrays, rows, D),
        taken_a=array(slots, M),
        taken_W=array(slots, M, D),
        taken_values=array(slots, 2),
    )


def _with_leaves(model: TwoLayer, a: jax.Array, W: jax.Array) -> TwoLayer:
    return jax.tree.unflatten(jax.tree.structure(model), (a, W))


def _padded(x: jax.Array, *size: int) -> jax.Array:
    """The last axes of x filled up with zeros."""
    last = [(0, n - have) for n, have in zip(size, x.shape[x.ndim - len(size) :], strict=True)]
    return jnp.pad(x, [(0, 0)] * (x.ndim - len(size)) + last)


_interpreted = functools.partial(advance_members, True)
_compiled = functools.partial(advance_members, False)
