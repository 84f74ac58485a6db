"""The program of one member on an accelerator, in the operations of Pallas: many steps, the member on chip.

A member's weights stay in registers over steps, and so do pairs of neurons, a block of them at a time; products go
through the card's units for matrices. What threads exchange in memory are the rows that enter the products, with their
norms and weights: arrays of a member's size, which the caches hold. (Pallas gives this kernel no shared memory of its
own; Triton lays operands out there.) Everything is summed in one order that the shape alone decides, so that a member's
bits depend on nothing but the member.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...dynamics.schedules import halving_factor
from ...numerics import safe_divide
from ...problem.activations import AbstractActivation, AbstractHomogeneous
from ..lanes import ACTIVE, DIVERGED, RULE_MET
from ..program import divergence_limit

SIDE = 16
"""Of the smallest matrix that a card's units for products of float64 numbers take; as many neurons are paired with
all others at a time, in registers."""


class Shape(NamedTuple):
    """What the kernel is compiled for."""

    slots: int
    dtype: str
    activation: AbstractActivation


WHOLE = (
    "step",
    "code",
    "record",
    "start_step",
    "end_step",
    "step_size_every",
    "decay_every",
    "moves_output",
    "moves_first",
)
REAL = ("step_size", "decay", "grad_norm", "step_size_used", "decay_used")
"""Numbers of a member, each a place in one array: every array costs each thread the registers of its address."""


class Inputs(NamedTuple):
    """The kernel's arguments: two that all members share, then a row a member (names as in `Moving` and `StageRow`)."""

    records: Any
    budget: Any
    whole: Any
    real: Any
    a: Any
    W: Any
    teacher: Any
    """Weights in the residual, and norms."""
    teacher_rows: Any


class Outputs(NamedTuple):
    """The kernel's results, a row a member."""

    whole: Any
    """Step, code, record, slots taken, steps executed."""
    used: Any
    """η and λ of the last step looked at."""
    vectors: Any
    """a; and where threads meet: weights in the residual, and norms."""
    tiles: Any
    """W; and where threads meet: the rows that enter the products."""
    taken_a: Any
    taken_W: Any
    taken_values: Any
    """η and λ of what was put aside."""


class _Clock(NamedTuple):
    """What changes from step to step beside the weights."""

    executed: jax.Array
    step: jax.Array
    code: jax.Array
    record: jax.Array
    taken: jax.Array


def descend(shape: Shape, interpret: bool, *refs) -> None:
    """Steps of one member until it rests: the kernel's body."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    given, out = Inputs(*refs[: len(Inputs._fields)]), Outputs(*refs[len(Inputs._fields) :])
    meet = (lambda: None) if interpret else triton.debug_barrier

    def whole(name: str) -> jax.Array:
        # Read where it is needed: a register for each would be held by every thread.
        return given.whole[0, WHOLE.index(name)]

    def real(name: str) -> jax.Array:
        return given.real[0, REAL.index(name)]

    def unfinished(carry):
        clock, _, _ = carry
        full = (clock.step == given.records[clock.record]) & (clock.taken == shape.slots)
        return (clock.executed < given.budget[0]) & (clock.code == ACTIVE) & (clock.step < whole("end_step")) & ~full

    def one_step(carry):
        clock, a, W = carry
        time, dtype = clock.step - whole("start_step"), a.dtype
        step_size = real("step_size") * halving_factor(time, whole("step_size_every"), dtype)
        decay = real("decay") * halving_factor(time, whole("decay_every"), dtype)
        due = clock.step == given.records[clock.record]
        out.used[0, 0], out.used[0, 1] = step_size, decay

        @pl.when(due)
        def _put_aside():
            out.taken_a[0, clock.taken, :] = a
            out.taken_W[0, clock.taken, :, :] = W
            out.taken_values[0, clock.taken, 0], out.taken_values[0, clock.taken, 1] = step_size, decay

        moves, finite, a, W = _move(shape, a, W, step_size, decay, (whole, real), given, out, meet)
        clock = _Clock(
            executed=clock.executed + 1,
            step=clock.step + moves.astype(jnp.int32),
            code=jnp.where(moves, ACTIVE, jnp.where(finite, RULE_MET, DIVERGED)).astype(jnp.int32),
            record=clock.record + due.astype(jnp.int32),
            taken=clock.taken + due.astype(jnp.int32),
        )
        return clock, a, W

    zero = jnp.zeros((), jnp.int32)
    out.used[0, 0], out.used[0, 1] = real("step_size_used"), real("decay_used")
    begin = _Clock(zero, whole("step"), whole("code"), whole("record"), zero)
    clock, out.vectors[0, _A], out.tiles[0, _W] = jax.lax.while_loop(
        unfinished, one_step, (begin, given.a[0], given.W[0])
    )
    for place, value in enumerate((clock.step, clock.code, clock.record, clock.taken, clock.executed)):
        out.whole[0, place] = value


_A, _WEIGHTS, _NORMS = range(3)
_W, _ROWS = range(2)


def _move(shape: Shape, a, W, step_size, decay, numbers, given: Inputs, out: Outputs, meet: Any):
    """(whether the member moves, whether its gradient is finite, its a, its W)."""
    whole, real = numbers
    moves_output, moves_first = whole("moves_output") > 0, whole("moves_first") > 0
    slope_a, slope_W = _gradient(shape, a, W, given, out, meet)
    slope_a, slope_W = slope_a + decay * a, slope_W + decay * W
    output = jnp.where(moves_output, jnp.sum(slope_a * slope_a), 0.0)
    first = jnp.where(moves_first, jnp.sum(slope_W * slope_W), 0.0)
    norm = jnp.sqrt(output + first)
    finite = norm < divergence_limit(np.dtype(shape.dtype))  # False for NaN as well
    moves = finite & ~(norm <= real("grad_norm"))
    W = jnp.where(moves & moves_first, W - step_size * slope_W, W)
    return moves, finite, jnp.where(moves & moves_output, a - step_size * slope_a, a), W


class _Side(NamedTuple):
    """Some neurons v_j of the residual f − f*: its student's, or its teacher's."""

    rows: Any
    """A reference to those that enter the products: a row a neuron."""
    weights: jax.Array
    norms: jax.Array


def _gradient(shape: Shape, a: jax.Array, W: jax.Array, given: Inputs, out: Outputs, meet: Any):
    """∇L as `UnitRowsRisk.value_and_gradient`, or, for activations that are not homogeneous, as `PopulationRisk`'s."""
    from jax.experimental import pallas as pl

    norm = jnp.sqrt(jnp.sum(W * W, axis=1))
    inverse = safe_divide(jnp.ones_like(norm), norm)
    unit = isinstance(shape.activation, AbstractHomogeneous)
    rows = W * inverse[:, None] if unit else W
    out.tiles[0, _ROWS] = rows
    out.vectors[0, _NORMS] = norm
    out.vectors[0, _WEIGHTS] = a * norm if unit else a
    meet()

    def teachers(some) -> _Side:
        return _Side(given.teacher_rows.at[0, some], given.teacher[0, 0, some], given.teacher[0, 1, some])

    def students(some) -> _Side:
        return _Side(out.tiles.at[0, _ROWS, some], out.vectors[0, _WEIGHTS, some], out.vectors[0, _NORMS, some])

    sums = jnp.zeros_like(norm), jnp.zeros_like(norm), jnp.zeros_like(W)
    for side, count in ((teachers, given.teacher.shape[2]), (students, len(a))):
        size = min(count, SIDE)

        def add(block, sums, side=side, size=size):
            return _add_block(shape, side(pl.ds(block * size, size)), rows, norm, sums)

        sums = add(0, sums) if size == count else jax.lax.fori_loop(0, count // size, add, sums)
    # Nobody may write the rows of the next step before all have read these.
    meet()
    radial, value, pull = sums
    radial = radial * inverse if unit else radial
    pull = radial[:, None] * W + pull
    slope_a = jnp.sum(W * pull, axis=1) if shape.activation.homogeneous else value
    return slope_a, a[:, None] * pull


def _add_block(shape: Shape, side: _Side, rows: jax.Array, norm: jax.Array, sums: Any):
    """Adds what some neurons pull on every neuron to the sums of (radial, dual, pull) over neurons."""
    sigma, (radial_sum, dual_sum, pull) = shape.activation, sums
    others = side.rows[...]
    gram = _product(rows, others.T)
    if isinstance(sigma, AbstractHomogeneous):
        radial, along = sigma.kappa_slopes(jnp.clip(gram, -1.0, 1.0))
    else:
        radial, along = sigma.dual_slopes(gram, norm[:, None], side.norms[None, :])
    if not sigma.homogeneous:
        dual_sum += _weighted(sigma.dual(gram, norm[:, None], side.norms[None, :]), side.weights)
    radial_sum += _weighted(radial, side.weights)
    pull += _product(along * side.weights[None, :], others)
    return radial_sum, dual_sum, pull


def _product(x: jax.Array, y: jax.Array) -> jax.Array:
    """Of matrices, in full precision: by the card's units for products where they take matrices so small."""
    if min(*x.shape, *y.shape) < SIDE:
        return jnp.sum(x[:, :, None] * y[None, :, :], axis=1)
    return jnp.dot(x, y, precision=jax.lax.Precision.HIGHEST)


def _weighted(pairs: jax.Array, weights: jax.Array) -> jax.Array:
    return jnp.sum(pairs * weights[None, :], axis=1)
