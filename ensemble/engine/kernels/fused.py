"""The descent as one Pallas kernel: a program of the accelerator keeps one member on chip over many steps.

XLA's own program walks through the accelerator's memory several times a step; here a member's weights stay in
registers, and what its threads exchange (weights, coefficients) goes through arrays that the first cache holds.
Arrays are padded to powers of two, as Triton wants them: a padded neuron is zero, has no pull and no gradient.

The products are sums of outer products, term by term in the order of the index, so that a member's bits depend on
nothing but the member. Activations enter through their own `dual` and `dual_slopes`.
"""

import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from ...dynamics.schedules import halving_factor
from ...dynamics.updates import Descent
from ...problem.activations import AbstractActivation
from ...problem.models import TwoLayer
from ...problem.penalties import L2
from ...problem.risks import PopulationRisk
from ..devices import places
from ..lanes import ACTIVE, DIVERGED, RULE_MET, Lanes, Snapshots
from ..program import Pool, Program, divergence_limit
from .base import AbstractKernel, lane_count
from .xla import advance_in_calls, advance_program


class Fused(AbstractKernel):
    """One kernel that keeps a member on chip over many steps: a tile is a lane, and lanes rest one by one."""

    name: ClassVar[str] = "fused"
    limits: ClassVar[str] = (
        "plain descent of two-layer students without optax schedules and without loss or angle rules"
    )
    tile = 1

    def __init__(self, pool: Pool, members: int):
        self.devices = self.parallel = len(places())
        self.count = lane_count(pool, members, self.devices)
        self.run = advance_program(pool.program, _interpreted if jax.default_backend() == "cpu" else _compiled)
        self.lanes_a_call = self.count // self.devices

    @staticmethod
    def serves(pool: Pool) -> bool:
        program, like = pool
        return (
            isinstance(program.update, Descent)
            and program.penalty == L2()
            and not (program.decoupled or program.schedules or program.rules)
            and not (program.by_neuron or program.targeted)
            and isinstance(like.moving.model, TwoLayer)
            and type(like.fixed.risk) is PopulationRisk
        )

    def advance(self, lanes, record_steps, budget):
        return advance_in_calls(self, lanes, record_steps, budget)


class _Shape(NamedTuple):
    """What the kernel unrolls over."""

    width: int
    teacher_neurons: int
    inputs: int
    slots: int
    dtype: str
    activation: AbstractActivation


def advance_members(interpret: bool, program: Program, lanes: Lanes, record_steps: jax.Array, budget: jax.Array):
    """(moving, snapshots, executed) of the lanes of one device after at most `budget` steps, a tile a lane.

    `interpret` runs the kernel's operations one by one on any platform, which is slow and meant for tests.
    """
    moving, stage, teacher = lanes.moving, lanes.stage, lanes.fixed.risk.teacher
    (count, m, d), mt, slots = moving.model.W.shape, teacher.W.shape[1], program.slots
    shape = _Shape(m, mt, d, slots, program.dtype, moving.model.activation)
    M, T, D = (pl.next_power_of_2(size) for size in (m, mt, d))
    dtype = jnp.dtype(shape.dtype)
    inputs = _Inputs(
        records=_padded(record_steps, pl.next_power_of_2(len(record_steps))),
        budget=budget[None],
        step=moving.step,
        code=moving.code,
        record=moving.record,
        start_step=stage.start_step,
        end_step=stage.end_step,
        step_size=stage.step_size,
        step_size_every=stage.step_size_every,
        decay=stage.decay,
        decay_every=stage.decay_every,
        decay_used=moving.decay,
        step_size_used=moving.step_size,
        moves_output=stage.moves.a.astype(jnp.int32),
        moves_first=stage.moves.W.astype(jnp.int32),
        grad_norm=stage.grad_norm,
        a=_padded(moving.model.a, M),
        W=_padded(moving.model.W, M, D),
        teacher_a=_padded(teacher.a, T),
        teacher_W=_padded(teacher.W, T, D),
    )

    def array(*size: int, kind=dtype) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((count, *size), kind)

    whole = array(kind=jnp.dtype(jnp.int32))
    outputs = _Outputs(
        step=whole,
        code=whole,
        record=whole,
        taken=whole,
        executed=whole,
        decay_used=array(),
        step_size_used=array(),
        a=array(M),
        W=array(M, D),
        coefficients=array(M, M + T),
        taken_a=array(slots, M),
        taken_W=array(slots, M, D),
        taken_decay=array(slots),
        taken_step_size=array(slots),
    )

    def of_member(x) -> pl.BlockSpec:
        return pl.BlockSpec((1, *x.shape[1:]), lambda lane: (lane, *[0] * (len(x.shape) - 1)))

    shared = [pl.BlockSpec(x.shape, lambda lane: (0,)) for x in inputs[:2]]
    found = pl.pallas_call(
        functools.partial(_kernel, shape, interpret),
        grid=(count,),
        in_specs=[*shared, *map(of_member, inputs[2:])],
        out_specs=[*map(of_member, outputs)],
        out_shape=[*outputs],
        interpret=interpret,
        compiler_params=triton.CompilerParams(num_warps=max(1, min(8, M * max(M, T) // 128))),
    )(*inputs)
    out = _Outputs(*found)
    after = moving._replace(
        model=_with_leaves(moving.model, out.a[:, :m], out.W[:, :m, :d]),
        step=out.step,
        code=out.code,
        record=out.record,
        decay=out.decay_used,
        step_size=out.step_size_used,
    )
    aside = _with_leaves(moving.model, out.taken_a[..., :m], out.taken_W[..., :m, :d])
    return after, Snapshots(aside, out.taken_decay, out.taken_step_size, out.taken), out.executed


def _with_leaves(model: TwoLayer, a: jax.Array, W: jax.Array) -> TwoLayer:
    return jax.tree.unflatten(jax.tree.structure(model), (a, W))


class _Inputs(NamedTuple):
    """The kernel's arguments: two that all members share, then a row a member (names as in `Moving` and `StageRow`)."""

    records: Any
    budget: Any
    step: Any
    code: Any
    record: Any
    start_step: Any
    end_step: Any
    step_size: Any
    step_size_every: Any
    decay: Any
    decay_every: Any
    decay_used: Any
    step_size_used: Any
    moves_output: Any
    moves_first: Any
    grad_norm: Any
    a: Any
    W: Any
    teacher_a: Any
    teacher_W: Any


_FIXED = (
    "start_step",
    "end_step",
    "step_size",
    "step_size_every",
    "decay",
    "decay_every",
    "moves_output",
    "moves_first",
    "grad_norm",
)
"""What a member keeps during a call."""


class _Outputs(NamedTuple):
    """The kernel's results, a row a member; `W` and `coefficients` are also where its threads meet."""

    step: Any
    code: Any
    record: Any
    taken: Any
    executed: Any
    decay_used: Any
    step_size_used: Any
    a: Any
    W: Any
    coefficients: Any
    taken_a: Any
    taken_W: Any
    taken_decay: Any
    taken_step_size: Any


class _Clock(NamedTuple):
    """What changes from step to step beside the weights."""

    executed: jax.Array
    step: jax.Array
    code: jax.Array
    record: jax.Array
    taken: jax.Array
    decay_used: jax.Array
    step_size_used: jax.Array


def _padded(x: jax.Array, *size: int) -> jax.Array:
    """The last axes of x filled up with zeros."""
    last = [(0, n - have) for n, have in zip(size, x.shape[x.ndim - len(size) :], strict=True)]
    return jnp.pad(x, [(0, 0)] * (x.ndim - len(size)) + last)


def _kernel(shape: _Shape, interpret: bool, *refs) -> None:
    given, out = _Inputs(*refs[: len(_Inputs._fields)]), _Outputs(*refs[len(_Inputs._fields) :])
    fixed = {name: getattr(given, name)[0] for name in _FIXED}
    budget, dtype = given.budget[0], jnp.dtype(shape.dtype)
    limit = divergence_limit(np.dtype(shape.dtype))
    meet = (lambda: None) if interpret else triton.debug_barrier

    def unfinished(carry):
        clock, _, _ = carry
        full = (clock.step == given.records[clock.record]) & (clock.taken == shape.slots)
        return (clock.executed < budget) & (clock.code == ACTIVE) & (clock.step < fixed["end_step"]) & ~full

    def one_step(carry):
        clock, a, W = carry
        time = clock.step - fixed["start_step"]
        step_size = fixed["step_size"] * halving_factor(time, fixed["step_size_every"], dtype)
        decay = fixed["decay"] * halving_factor(time, fixed["decay_every"], dtype)
        due = clock.step == given.records[clock.record]

        @pl.when(due)
        def _put_aside():
            out.taken_a[0, clock.taken, :] = a
            out.taken_W[0, clock.taken, :, :] = W
            out.taken_decay[0, clock.taken] = decay
            out.taken_step_size[0, clock.taken] = step_size

        slope_a, slope_W = _gradient(shape, a, W, given, out, meet)
        slope_a, slope_W = slope_a + decay * a, slope_W + decay * W
        output = jnp.where(fixed["moves_output"] > 0, jnp.sum(slope_a * slope_a), 0.0)
        first = jnp.where(fixed["moves_first"] > 0, jnp.sum(slope_W * slope_W), 0.0)
        norm = jnp.sqrt(output + first)
        finite = norm < limit  # False for NaN as well
        moves = finite & ~(norm <= fixed["grad_norm"])
        a = jnp.where(moves & (fixed["moves_output"] > 0), a - step_size * slope_a, a)
        W = jnp.where(moves & (fixed["moves_first"] > 0), W - step_size * slope_W, W)
        meet()  # every thread has read the old weights
        out.W[0] = W
        meet()
        clock = _Clock(
            executed=clock.executed + 1,
            step=clock.step + moves.astype(jnp.int32),
            code=jnp.where(moves, ACTIVE, jnp.where(finite, RULE_MET, DIVERGED)).astype(jnp.int32),
            record=clock.record + due.astype(jnp.int32),
            taken=clock.taken + due.astype(jnp.int32),
            decay_used=decay,
            step_size_used=step_size,
        )
        return clock, a, W

    zero = jnp.zeros((), jnp.int32)
    begin = (given.step[0], given.code[0], given.record[0], zero, given.decay_used[0], given.step_size_used[0])
    clock = _Clock(zero, *begin)
    a, W = given.a[0], given.W[0]
    out.W[0] = W
    meet()
    clock, a, W = jax.lax.while_loop(unfinished, one_step, (clock, a, W))
    out.a[0], out.W[0] = a, W
    out.step[0], out.code[0], out.record[0] = clock.step, clock.code, clock.record
    out.taken[0], out.executed[0] = clock.taken, clock.executed
    out.decay_used[0], out.step_size_used[0] = clock.decay_used, clock.step_size_used


def _gradient(shape: _Shape, a: jax.Array, W: jax.Array, given: _Inputs, out: _Outputs, meet: Any):
    """∇L as `PopulationRisk.gradient`, from sums of outer products; `out.W` holds W."""
    sigma, M = shape.activation, len(a)
    teacher_a, teacher_W = given.teacher_a[0], given.teacher_W[0]

    def gram(k, sums):
        w = out.W[0, :, k]
        return sums[0] + w[:, None] * w[None, :], sums[1] + w[:, None] * given.teacher_W[0, :, k][None, :]

    empty = jnp.zeros((M, M), W.dtype), jnp.zeros((M, len(teacher_a)), W.dtype)
    own, cross = jax.lax.fori_loop(0, shape.inputs, gram, empty)
    norm, teacher_norm = jnp.sqrt(jnp.sum(W * W, axis=1)), jnp.sqrt(jnp.sum(teacher_W * teacher_W, axis=1))
    radial_own, along_own = sigma.dual_slopes(own, norm[:, None], norm[None, :])
    radial_cross, along_cross = sigma.dual_slopes(cross, norm[:, None], teacher_norm[None, :])
    radial = jnp.sum(radial_own * a[None, :], axis=1) - jnp.sum(radial_cross * teacher_a[None, :], axis=1)
    out.coefficients[0, :, pl.ds(0, M)] = along_own * a[None, :]
    out.coefficients[0, :, pl.ds(M, len(teacher_a))] = -along_cross * teacher_a[None, :]
    meet()

    def add_student(j, pull):
        return pull + out.coefficients[0, :, j][:, None] * out.W[0, j, :][None, :]

    def add_teacher(j, pull):
        return pull + out.coefficients[0, :, M + j][:, None] * given.teacher_W[0, j, :][None, :]

    pull = jax.lax.fori_loop(0, shape.width, add_student, radial[:, None] * W)
    pull = jax.lax.fori_loop(0, shape.teacher_neurons, add_teacher, pull)
    if sigma.homogeneous:
        slope_a = jnp.sum(W * pull, axis=1)
    else:
        to_student = sigma.dual(own, norm[:, None], norm[None, :]) * a[None, :]
        to_teacher = sigma.dual(cross, norm[:, None], teacher_norm[None, :]) * teacher_a[None, :]
        slope_a = jnp.sum(to_student, axis=1) - jnp.sum(to_teacher, axis=1)
    return slope_a, a[:, None] * pull


_interpreted = functools.partial(advance_members, True)
_compiled = functools.partial(advance_members, False)
