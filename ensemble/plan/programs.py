"""The programs around the steps: drawing, measuring, states of updates, updates that take no step.

Every one runs on batches of one fixed size, so that a member's bits do not depend on how many there are.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..dynamics.updates import AbstractInstantUpdate, AbstractSteppedUpdate, OptaxUpdate, drift, first_state
from ..engine import (
    Compiled,
    Device,
    Drawn,
    Fixed,
    Lanes,
    Moving,
    Program,
    StageRow,
    devices,
    kept,
    moving_entries,
    moving_like,
    side_by_side,
    step_of_lane,
)
from ..numerics import Keys, member_keys
from ..parts import is_own
from ..probes import PROBES, Measured, Moment, prepared
from ..problem.data import Data
from ..problem.draws import Space
from ..problem.penalties import AbstractPenalty, anchored, needs_anchor
from ..problem.students import AbstractStudent
from ..problem.teachers import AbstractTeacher
from ..study import StudyError

BATCH = 256
"""Members in a batch."""

CACHED = 16
"""Members of a batch whose arrays stay in a core's cache together."""

_BATCH_ACCELERATOR = 4096
"""Members in a batch on an accelerator, which computes them at once."""


FRESH = 0x66726573
"""What a member's key of starts is folded with for those that stages draw anew: no row's number."""

_BATCH_BYTES = 2**26
"""What the samples of a batch of members may take."""

OPTIONS_DRAW = {"xla_backend_optimization_level": "1"}
"""How programs that draw are compiled on a CPU: LLVM's higher levels unroll the rounds of the hash, which takes twice
as long, for a program that is no faster and runs once a member. Nothing that rounds differently belongs here."""


class Drawing(NamedTuple):
    """What is static of how members are drawn."""

    teacher: AbstractTeacher
    student: AbstractStudent
    space: Space | None
    """Its `inputs` are 0 in reduced coordinates, where they are an argument of the program."""
    data: Data | None
    is_exact: bool
    """Whether the population loss has a closed form."""
    dtype: str
    probes: tuple[str, ...]
    """What prepares aids of the risk: one probe for all that need the same, and none for those that need nothing."""

    def draw(self, numbers: dict[str, Any], inputs: Any, root_seed: Any, seed: Any) -> Drawn:
        """One member; drawn in float64 and then rounded, so that both precisions share their draws."""
        space, keys = self._space_of(inputs), member_keys(root_seed, seed)
        model, risk = self._started(numbers, keys, space)
        if self.data is not None:
            inputs = self._dimension if space is None else space.inputs
            risk = self.data.risk(numbers["data"], risk, keys.data, inputs, self.is_exact)
        aids = prepared((PROBES[name] for name in self.probes), risk, model)
        return jax.tree.map(self._rounded, Drawn(model, risk, aids))

    def draw_fresh(self, number: int, numbers: dict[str, Any], inputs: Any, root_seed: Any, seed: Any) -> Any:
        """Another start of a member, the `number`-th beside its own: of the same teacher, by another key."""
        keys = member_keys(root_seed, seed)
        keys = keys._replace(start=jax.random.fold_in(jax.random.fold_in(keys.start, FRESH), number))
        model, _ = self._started(numbers, keys, self._space_of(inputs))
        return jax.tree.map(self._rounded, model)

    def _space_of(self, inputs: Any) -> Space | None:
        return self.space._replace(inputs=inputs) if self.space is not None and self.space.reduced else self.space

    def _started(self, numbers: dict[str, Any], keys: Keys, space: Space | None) -> tuple[Any, Any]:
        """(model, risk) under N(0, I)."""
        teacher = self.teacher.with_numbers(numbers["teacher"])
        return self.student.with_numbers(numbers["student"]).draw(teacher, keys, space)

    def _rounded(self, x: Any) -> Any:
        """Keys are whole numbers, and stay them."""
        x = jnp.asarray(x)
        return x if jnp.issubdtype(x.dtype, jnp.unsignedinteger) else x.astype(self.dtype)

    @property
    def _dimension(self) -> Any:
        """d of a student that has no coordinates of its own."""
        return getattr(self.teacher, "inputs", None)


def batched(of_member: Callable, options: dict[str, Any] | None = None) -> Compiled:
    """The compiled program that maps `of_member` over a batch of rows; `options` of XLA for it on a CPU."""
    if devices.accelerated():
        return Compiled(jax.vmap(of_member))
    return Compiled(lambda *arrays: jax.lax.map(lambda member: of_member(*member), arrays, batch_size=CACHED), options)


def batch_size(like: Drawn, sampled: bool, exact: bool) -> int:
    """Members in a batch, from the shapes of one alone: fewer where each has a sample, or is scored on one."""
    if not exact and not devices.accelerated():
        return CACHED
    size = _BATCH_ACCELERATOR if devices.accelerated() else BATCH
    a_member = sum(x.dtype.itemsize * int(np.prod(x.shape)) for x in jax.tree.leaves(like))
    while sampled and size > CACHED and size * a_member > _BATCH_BYTES:
        size //= 2
    return size


def in_batches(program: Compiled, count: int, gather: Callable[[np.ndarray], Any], size: int | None = None) -> Any:
    """`program` on batches of one fixed size, the last one padded with copies of its first row.

    `gather(part)` gives the arguments of the rows `part`: they are copied a batch at a time. `size`: of a batch, where
    it is not the usual one.
    """

    if size is None:
        size = _BATCH_ACCELERATOR if devices.accelerated() else BATCH

    def of_batch(begin: int, device: Device):
        rows = np.arange(begin, begin + size)
        return jax.tree.map(np.asarray, program(device, *gather(np.where(rows < count, rows, begin))))

    parts = side_by_side(of_batch, range(0, count, size))
    return jax.tree.map(lambda *xs: np.concatenate(xs)[:count], *parts)


@kept
def draw_program(drawing: Drawing) -> Compiled:
    """Jitted (numbers, d, root seed, seed) → `Drawn`, batched."""
    return batched(drawing.draw, OPTIONS_DRAW)


@kept
def fresh_program(drawing: Drawing, number: int) -> Compiled:
    """Jitted (numbers, d, root seed, seed) → models, batched: further starts of members."""
    return batched(functools.partial(drawing.draw_fresh, number), OPTIONS_DRAW)


@functools.cache
def drawn_like(drawing: Drawing) -> Drawn:
    """Shapes and types of one drawn member."""
    data = {} if drawing.data is None else drawing.data.numbers()
    numbers = {"teacher": drawing.teacher.numbers(), "student": drawing.student.numbers(), "data": data}
    real = jax.ShapeDtypeStruct((), np.dtype(np.float64))
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), real.dtype), numbers, is_leaf=is_number)
    seed = jax.ShapeDtypeStruct((), np.dtype(np.int64))
    return jax.eval_shape(drawing.draw, like, real, seed, seed)


def is_number(value: object) -> bool:
    """Whether a value is one number (or array) of a part, and no table of them."""
    return not isinstance(value, dict)


def lanes_like(program: Program, like: Drawn) -> Lanes:
    """Shapes and types of one lane of a program."""
    real, integer = (jax.ShapeDtypeStruct((), np.dtype(kind)) for kind in (program.dtype, np.int32))
    boolean = jax.ShapeDtypeStruct((), np.dtype(bool))

    def of_part(part) -> Any:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), real.dtype), part.numbers(), is_leaf=is_number)

    stage = StageRow(
        start_step=integer,
        end_step=integer,
        step_size=real,
        step_size_every=integer,
        step_size_shape=integer,
        decay=real,
        decay_every=integer,
        decay_shape=integer,
        moves=moves_like(like.model) if program.by_neuron else jax.tree.map(lambda _: boolean, like.model),
        numbers={"update": of_part(program.update), "penalty": of_part(program.penalty)},
        grad_norm=real,
        loss=real,
        max_angle=real,
        check_every=integer,
        target=jax.ShapeDtypeStruct(like.risk.teacher.a.shape, real.dtype) if program.targeted else (),
    )
    state = jax.eval_shape(_init(program.update), like.model, real, stage.numbers["update"])
    anchor = like.model if program.anchored else ()
    lanes = Lanes(moving_like(like.model, state, program.dtype, anchor), stage, Fixed(like.risk, like.aids, real))
    if isinstance(program.update, OptaxUpdate) or not is_own(program.update):
        _refuse_drift(program, lanes)
    return lanes


def _refuse_drift(program: Program, lanes: Lanes) -> None:
    """**Raises:** `StudyError` for an update whose step gives what the next cannot take."""

    def stepped(moving: Moving, row: StageRow, fixed: Fixed):
        row = row._replace(moves=moving_entries(row.moves, moving.anchor, program.keeps_zeros))
        return step_of_lane(program, lambda risk: risk, moving, row, fixed, row.step_size, row.decay)

    moving = lanes.moving
    model, state, _ = jax.eval_shape(stepped, *lanes)
    for what, before, after in (("model", moving.model, model), ("state", moving.state, state)):
        if (changes := drift(before, after)) is not None:
            raise StudyError(
                f"protocol.update: got {program.update.kind!r}, whose {what} is another after a step: {changes}; let "
                "`init` and the step give arrays of the same shapes and types"
            )


def moves_like(model: Any) -> Any:
    """Shapes of what moves neuron by neuron of a two-layer network: they broadcast with a and W."""
    width = model.a.shape[-1]
    of_leaf = {1: (width,), 2: (width, 1)}
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(of_leaf[x.ndim], np.dtype(bool)), model)


def _init(update: AbstractSteppedUpdate) -> Callable:
    return lambda model, step_size, numbers: first_state(update.with_numbers(numbers), model, step_size)


@kept
def init_program(update: AbstractSteppedUpdate) -> Compiled:
    """Jitted (models, step sizes, numbers) → states, batched."""
    return batched(_init(update))


@kept
def apply_program(update: AbstractInstantUpdate) -> Compiled:
    """Jitted (models, risks, decays, numbers) → models, batched."""
    return batched(lambda model, risk, decay, numbers: update.with_numbers(numbers).apply(model, risk, decay))


@kept
def measure_program(penalty: AbstractPenalty, names: tuple[str, ...]) -> Compiled:
    """Jitted measurement of the probes called `names`; what others alone need is not computed."""
    return batched(_measure(penalty, names))


def _measure(penalty: AbstractPenalty, names: tuple[str, ...]) -> Callable[..., dict[str, Any]]:
    def of_member(model, anchor, decay, step_size, moves, numbers, fixed: Fixed):
        moment = Moment(model, fixed.risk, fixed.aids, decay, step_size, moves, fixed.active_threshold)
        at = Measured(moment, anchored(penalty.with_numbers(numbers), anchor))
        return {name: PROBES[name](at) for name in names}

    return of_member


def measured_like(penalty: AbstractPenalty, names: tuple[str, ...], like: Drawn) -> dict[str, Any]:
    """Shapes and types of what is measured of one member."""
    real, boolean = jax.ShapeDtypeStruct((), np.dtype(np.float64)), jax.ShapeDtypeStruct((), np.dtype(bool))
    moves = jax.tree.map(lambda _: boolean, like.model)
    fixed, anchor = Fixed(like.risk, like.aids, real), like.model if needs_anchor(penalty) else ()
    of_member = _measure(penalty, names)
    return jax.eval_shape(of_member, like.model, anchor, real, real, moves, penalty.numbers(), fixed)
