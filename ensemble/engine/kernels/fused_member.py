"""The program of one member on an accelerator, in the operations of Pallas: many steps, the member on chip.

A member's weights stay in registers over steps, and so do pairs of neurons; products go through the card's units for
matrices, and threads exchange what enters them in the shared memory where Triton lays operands out. A large student is
paired with a block of neurons at a time, the teacher's last: its threads exchange rows, with their norms and weights,
in arrays of a member's size, which the caches hold. (Pallas gives this kernel no shared memory of its own to cut a
block from.) One loop over all blocks, because a second one beside it had registers spill into memory at d = 64. A
teacher that fits into the padding of its student is more of its neurons, with negative weights, that do not move: no
pairs beside the student's own. Everything is summed in one order that the shape alone decides, so that a member's bits
depend on nothing but the member.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...dynamics.schedules import halving_factor
from ...problem.activations import AbstractActivation, AbstractHomogeneous
from ..lanes import ACTIVE, DIVERGED, RULE_MET
from ..program import divergence_limit
from .arithmetic import Arithmetic
from .pairs import kappa_slopes

SIDE = 16
"""Of the smallest matrix that a card's units for products of float64 numbers take."""
_MOST = 32
"""Neurons and inputs of a student that is paired with all its neurons at once, from registers."""


def in_blocks(neurons: int, inputs: int) -> bool:
    """Whether a student is paired with a block of neurons at a time."""
    return max(neurons, inputs) > _MOST


def block_size(neurons: int) -> int:
    """Neurons of a block: as many as leave each of `fused.warps` a part of all pairs of its own. With 16 beside 32, two
    would compute the same ones."""
    return _MOST if neurons == _MOST else SIDE


class Shape(NamedTuple):
    """What the kernel is compiled for."""

    slots: int
    dtype: str
    activation: AbstractActivation
    arithmetic: Arithmetic
    neurons: int
    packed: bool
    """Whether the teacher's neurons come after so many of the student's, in the same arrays."""


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
    """a; and of a large student, where threads meet: weights in the residual, and norms, the teacher's after them."""
    tiles: Any
    """W; and of a large student, where threads meet: the rows that enter the products, the teacher's after them."""
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
    own = slice(given.a.shape[1])
    if in_blocks(*given.W.shape[1:]) and not shape.packed:
        _store(out, slice(own.stop, None), _teacher(given, slice(None)))
    clock, out.vectors[0, _A, own], out.tiles[0, _W, own] = jax.lax.while_loop(
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
    fma = shape.arithmetic.fma
    slope_a, slope_W = fma(decay, a, slope_a), fma(decay, W, slope_W)
    if shape.packed:
        own = jax.lax.broadcasted_iota(jnp.int32, (len(a),), 0) < shape.neurons
        slope_a, slope_W = jnp.where(own, slope_a, 0.0), jnp.where(own[:, None], slope_W, 0.0)
    output = jnp.where(moves_output, jnp.sum(slope_a * slope_a), 0.0)
    first = jnp.where(moves_first, jnp.sum(slope_W * slope_W), 0.0)
    norm = jnp.sqrt(output + first)
    finite = norm < divergence_limit(np.dtype(shape.dtype))  # False for NaN as well
    moves = finite & ~(norm <= real("grad_norm"))
    W = jnp.where(moves & moves_first, fma(-step_size, slope_W, W), W)
    return moves, finite, jnp.where(moves & moves_output, fma(-step_size, slope_a, a), a), W


class _Side(NamedTuple):
    """Some neurons v_j of the residual f − f*."""

    rows: jax.Array
    """Those that enter the products: a row a neuron."""
    weights: jax.Array
    norms: jax.Array


class _Sums(NamedTuple):
    """What neurons of the residual pull with; of every pair of a block where a sum over them is still due."""

    radial: jax.Array
    dual: jax.Array
    pull: jax.Array


def _gradient(shape: Shape, a: jax.Array, W: jax.Array, given: Inputs, out: Outputs, meet: Any):
    """∇L as `UnitRowsRisk.value_and_gradient`, or, for activations that are not homogeneous, as `PopulationRisk`'s."""
    from jax.experimental import pallas as pl

    norm, inverse = _norms(shape, W)
    unit = isinstance(shape.activation, AbstractHomogeneous)
    student = _Side(W * inverse[:, None] if unit else W, a * norm if unit else a, norm)
    radial, value, pull = jnp.zeros_like(norm), jnp.zeros_like(norm), jnp.zeros_like(W)

    def add_blocks(block_of: Callable[[Any], _Side], count: int, size: int, sums):
        def add(block, sums):
            return _add_block(shape, block_of(pl.ds(block * size, size)), student, sums)

        radial, value, pull = sums
        pairs = jnp.zeros((len(a), size), W.dtype)
        sums = _Sums(pairs, pairs, pull)
        sums = add(0, sums) if size == count else jax.lax.fori_loop(0, count // size, add, sums)
        return radial + jnp.sum(sums.radial, axis=1), value + jnp.sum(sums.dual, axis=1), sums.pull

    sums, teachers = (radial, value, pull), 0 if shape.packed else given.teacher.shape[2]
    if in_blocks(*W.shape):
        _store(out, slice(len(a)), student)
        meet()
        sums = add_blocks(lambda some: _exchanged(out, some), len(a) + teachers, block_size(len(a)), sums)
        # Nobody may write the rows of the next step before all have read these.
        meet()
    else:
        if teachers:
            sums = add_blocks(lambda some: _teacher(given, some), teachers, min(teachers, _MOST), sums)
        sums = add_blocks(lambda _all: student, len(a), len(a), sums)
    radial, value, pull = sums
    radial = radial * inverse if unit else radial
    pull = shape.arithmetic.fma(radial[:, None], W, pull)
    slope_a = jnp.sum(W * pull, axis=1) if shape.activation.homogeneous else value
    return slope_a, a[:, None] * pull


def _teacher(given: Inputs, some: Any) -> _Side:
    return _Side(given.teacher_rows[0, some], given.teacher[0, 0, some], given.teacher[0, 1, some])


def _exchanged(out: Outputs, some: Any) -> _Side:
    return _Side(out.tiles[0, _ROWS, some], out.vectors[0, _WEIGHTS, some], out.vectors[0, _NORMS, some])


def _store(out: Outputs, some: Any, side: _Side) -> None:
    """Writes neurons where `_exchanged` finds them."""
    out.tiles[0, _ROWS, some], out.vectors[0, _WEIGHTS, some], out.vectors[0, _NORMS, some] = side


def _norms(shape: Shape, W: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Norms of rows and their inverses: a row whose square is no normal number has no direction, and counts as zero."""
    square = jnp.sum(W * W, axis=1)
    lasts = square >= float(np.finfo(shape.dtype).tiny)
    inverse = jnp.where(lasts, shape.arithmetic.inverse_root(jnp.where(lasts, square, 1.0)), 0.0)
    # Of a square that is infinite or no number it is no number: such a member has diverged.
    return square * inverse, inverse


def _add_block(shape: Shape, others: _Side, student: _Side, sums: _Sums) -> _Sums:
    """Adds what some neurons pull on every neuron."""
    sigma, fma, weights = shape.activation, shape.arithmetic.fma, others.weights[None, :]
    gram = _product(student.rows, others.rows.T)
    if isinstance(sigma, AbstractHomogeneous):
        radial, along = kappa_slopes(shape.arithmetic, sigma, gram)
    else:
        radial, along = sigma.dual_slopes(gram, student.norms[:, None], others.norms[None, :])
    dual = sums.dual
    if not sigma.homogeneous:
        dual = fma(sigma.dual(gram, student.norms[:, None], others.norms[None, :]), weights, dual)
    return _Sums(fma(radial, weights, sums.radial), dual, sums.pull + _product(along * weights, others.rows))


def _product(x: jax.Array, y: jax.Array) -> jax.Array:
    """Of matrices, in full precision, by the card's units for products."""
    return jnp.dot(x, y, precision=jax.lax.Precision.HIGHEST)
