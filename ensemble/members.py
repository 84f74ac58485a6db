"""What a member is, as arrays and programs: from the cells of a study to workloads of the engine.

Members whose cells differ only in traced numbers form one group, served by one set of programs. Every
program runs on batches of one fixed size, so that a member's bits do not depend on how many there are.
"""

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import DTypeLike

from .activations import AbstractActivation
from .activations.base import safe_divide
from .draws import Space, member_key
from .engine import NEVER, Device, Drawn, Flights, Program, ProgramShape, Rules, Sink, Workload, side_by_side
from .network import TwoLayer, reduce_pair, row_norms
from .probes import CERTIFICATE, Frame, Setting, frame, measure
from .protocol import Protocol, Stage
from .risks import kernel
from .schedules import Halving, Optax, Schedule
from .starts import GivenStart
from .study import Cell, Study, StudyError

BATCH = 256
"""Members in a batch of the programs around the descent: drawing, measuring, ridge, balance."""

_CACHED = 16
"""Members of a batch whose arrays stay in a core's cache together."""

SLOTS = 8
"""Snapshots that a lane can put aside in one call of the advance program."""


class Group(NamedTuple):
    """The members of one static shape."""

    cells: tuple[int, ...]
    """Numbers of the study's points."""
    shape: ProgramShape


def tile_size(width: int, teacher_neurons: int, inputs: int) -> int:
    """Lanes in a tile, from the static shape alone: few enough for their pair arrays to stay in cache."""
    pairs = width * (width + teacher_neurons)
    return max(8, min(32, 2 ** int(np.log2(max(1, 40_000 // pairs)))))


def groups(study: Study) -> list[Group]:
    """The study's cells by static shape, in order of first appearance."""
    found: dict[tuple[str, ...], list[int]] = {}
    for number, point in enumerate(study.points):
        found.setdefault(_static_key(study, point.cell), []).append(number)
    return [Group(tuple(cells), _program_shape(study, study.points[cells[0]].cell)) for cells in found.values()]


def _static_key(study: Study, cell: Cell) -> tuple[str, ...]:
    student = cell.student
    # Rules that choose the program are part of the key, so that a cell's program never depends on other cells.
    structure = [
        (s.name, s.update, s.loss is not None, s.max_angle is not None, *(o.model_dump_json() for o in _optax_of(s)))
        for s in cell.stages.stages
    ]
    space = study.space(cell)
    # In reduced coordinates the number of inputs is an argument of the program.
    size = (space.columns, space.plane, space.reduced, student.width)
    return cell.teacher.static_key(), student.start.static_key(), str(size), json.dumps(structure)


def _optax_of(stage: Stage) -> list[Optax]:
    """A stage's optax schedules, which are part of a program; halving is a number."""
    return [s for s in (stage.step_size_schedule, stage.weight_decay_schedule) if isinstance(s, Optax)]


def _program_shape(study: Study, cell: Cell) -> ProgramShape:
    teacher_neurons, _ = cell.teacher.shape()
    inputs = study.space(cell).columns
    stages = cell.stages.stages  # rules and schedules are those of every cell of the group: they are in its key
    return ProgramShape(
        activation=cell.teacher.sigma,
        width=cell.student.width,
        teacher_neurons=teacher_neurons,
        inputs=inputs,
        dtype=study.precision,
        tile=tile_size(cell.student.width, teacher_neurons, inputs),
        slots=SLOTS,
        schedules=tuple(dict.fromkeys(schedule for stage in stages for schedule in _optax_of(stage))),
        has_loss_rule=any(stage.loss is not None for stage in stages),
        has_angle_rule=any(stage.max_angle is not None for stage in stages),
    )


def workload(study: Study, group: Group, members: np.ndarray, sink: Sink, flights: Flights | None = None) -> Workload:
    """The engine's view of some members (numbers in the study) of a group; `flights`: those that go on."""
    cells = [study.points[c].cell for c in group.cells]
    cell = _rows(group, members // study.seeds)
    shape = group.shape
    protocols = [c.stages for c in cells]
    draw_members = _drawing(study, group, members)
    at_end, at_records = (_measure_program(shape.activation, names) for names in (study.probes, study.recorded_probes))
    updates = {"ridge": _ridge_program(shape.activation), "balance": _balance_program()}
    dtype = np.dtype(shape.dtype)
    schedules = list(shape.schedules)
    return Workload(
        shape=shape,
        members=members,
        cell=cell,
        updates=tuple(stage.update for stage in protocols[0].stages),
        rules=_rules(protocols, schedules, dtype),
        steps=np.array([[s.steps for s in p.stages] for p in protocols], np.int64),
        ruled=np.array([[s.has_rule for s in p.stages] for p in protocols]),
        max_steps=np.array([study.member_cap(c) for c in cells], np.int64),
        active_threshold=study.active_threshold,
        record_steps=np.array([*study.record_steps, NEVER], np.int32),
        draw=draw_members,
        measure=functools.partial(_in_batches, at_end),
        measure_record=functools.partial(_in_batches, at_records),
        update={name: functools.partial(_update, program) for name, program in updates.items()},
        sink=sink,
        flights=flights,
    )


def _rows(group: Group, cells: np.ndarray) -> np.ndarray:
    """Where cells stand in a group's tables."""
    row_of_cell = {c: row for row, c in enumerate(group.cells)}
    return np.array([row_of_cell[c] for c in cells], int)


def _drawing(study: Study, group: Group, members: np.ndarray) -> Callable[[np.ndarray], Drawn]:
    """What draws the members at some positions in `members`."""
    cells = [study.points[c].cell for c in group.cells]
    numbers = {
        part: jax.tree.map(
            lambda *leaves: np.asarray(leaves, float), *[_numbers(c)[part] for c in cells], is_leaf=_is_leaf
        )
        for part in ("teacher", "start")
    }
    template = _Template(cells[0], study.space(cells[0]), _static_key(study, cells[0]))
    draw = _draw_program(template, group.shape.dtype)
    dimension = np.array([study.space(c).inputs for c in cells], float)
    cell, seeds = _rows(group, members // study.seeds), members % study.seeds

    def draw_members(positions: np.ndarray) -> Drawn:
        def gather(part: np.ndarray):
            chosen = positions[part]
            of_members = jax.tree.map(lambda table: table[cell[chosen]], numbers)
            return of_members, dimension[cell[chosen]], np.full(len(part), study.root_seed), seeds[chosen]

        return Drawn(*_in_batches(draw, len(positions), gather))

    return draw_members


def initial(study: Study, seed: int = 0, **labels: Any) -> tuple[TwoLayer, TwoLayer]:
    """The (student, teacher) that a member starts from, in the coordinates of the dataset's weights, bit for bit.

    **Arguments:** the member's seed, and the value of every axis of the study.

    **Raises:** `StudyError` for labels that are no grid point of the study.
    """
    found = [i for i, point in enumerate(study.points) if point.labels == labels]
    if not found:
        axes = {name: list(axis.values) for name, axis in study.axes.items()}
        raise StudyError(f"labels: got {labels}, which is no grid point; the axes are {axes}")
    cell = found[0]
    one = study if seed < study.seeds else study.replace(seeds=seed + 1)
    group = Group((cell,), _program_shape(study, study.points[cell].cell))
    drawn = _drawing(one, group, np.array([cell * one.seeds + seed]))(np.zeros(1, int))
    sigma = group.shape.activation
    return TwoLayer(drawn.a[0], drawn.W[0], sigma), TwoLayer(drawn.teacher_a[0], drawn.teacher_W[0], sigma)


def _update(program: Program, *arrays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _in_batches(program, len(arrays[0]), lambda part: tuple(x[part] for x in arrays))


def _numbers(cell: Cell) -> dict:
    return {"teacher": cell.teacher.numbers(), "start": cell.student.start.numbers()}


def _is_leaf(value: object) -> bool:
    return not isinstance(value, dict)


def _rules(protocols: list[Protocol], schedules: Sequence[Callable], dtype: np.dtype) -> Rules:
    def table(value: Callable[[Stage], float], kind: DTypeLike = dtype) -> np.ndarray:
        return np.array([[value(stage) for stage in p.stages] for p in protocols], kind)

    def every(schedule: Schedule | None) -> int:
        return schedule.every if isinstance(schedule, Halving) else 0

    def index(schedule: Schedule | None) -> int:
        return schedules.index(schedule) + 1 if isinstance(schedule, Optax) else 0

    def tolerance(value: float | None) -> float:
        return -1.0 if value is None else value

    return Rules(
        step_size=table(lambda s: s.step_size),
        step_size_every=table(lambda s: every(s.step_size_schedule), np.int32),
        step_size_shape=table(lambda s: index(s.step_size_schedule), np.int32),
        decay=table(lambda s: s.weight_decay),
        decay_every=table(lambda s: every(s.weight_decay_schedule), np.int32),
        decay_shape=table(lambda s: index(s.weight_decay_schedule), np.int32),
        moves_output=table(lambda s: s.layers in ("both", "output"), bool),
        moves_first=table(lambda s: s.layers in ("both", "first"), bool),
        grad_norm=table(lambda s: tolerance(s.grad_norm)),
        loss=table(lambda s: tolerance(s.loss)),
        max_angle=table(lambda s: tolerance(s.max_angle)),
        check_every=table(lambda s: s.check_every, np.int32),
    )


# -- programs around the descent ---------------------------------------------------------------------


def _batched(of_member: Callable) -> Program:
    """The compiled program that maps `of_member` over a batch of `BATCH` rows."""
    return Program(lambda *arrays: jax.lax.map(lambda member: of_member(*member), arrays, batch_size=_CACHED))


def _in_batches(program: Program, count: int, gather: Callable[[np.ndarray], Any]):
    """`program` on batches of `BATCH` rows, the last one padded with copies of its first row.

    `gather(part)` gives the arguments of the rows `part`: they are copied a batch at a time.
    """

    def of_batch(begin: int, device: Device):
        rows = np.arange(begin, begin + BATCH)
        return jax.tree.map(np.asarray, program(device, *gather(np.where(rows < count, rows, begin))))

    parts = side_by_side(of_batch, range(0, count, BATCH))
    return jax.tree.map(lambda *xs: np.concatenate(xs)[:count], *parts)


class _Template:
    """A cell of which a program uses only the static part: equal where that part is."""

    def __init__(self, cell: Cell, space: Space, key: tuple[str, ...]):
        self.cell, self.space, self.key = cell, space, key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Template) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@functools.cache
def _draw_program(template: _Template, dtype: str) -> Program:
    """Jitted (numbers, d, root seed, seed) → (a, W, teacher a, teacher W, the teacher's frame), batched.

    Drawn in float64 and then rounded, so that both precisions share their draws.
    """
    cell = template.cell

    def draw(numbers, inputs, root_seed, seed):
        space = template.space._replace(inputs=inputs) if template.space.reduced else template.space
        given = isinstance(cell.student.start, GivenStart)
        # Given rows have all d coordinates, and so must the teacher that they are reduced together with.
        columns = space.columns if space.reduced and not given else None
        teacher = cell.teacher.with_numbers(numbers["teacher"]).draw(member_key(root_seed, seed, "teacher"), columns)
        start = cell.student.start.with_numbers(numbers["start"])
        student = start.draw(member_key(root_seed, seed, "start"), teacher, cell.student.width, space)
        if space.reduced and given:
            student, teacher = reduce_pair(student, teacher, space.columns)
        drawn = student.a, student.W, teacher.a, teacher.W, tuple(frame(teacher))
        return jax.tree.map(lambda x: x.astype(dtype), drawn)

    return _batched(draw)


@functools.cache
def _measure_program(sigma: AbstractActivation, names: tuple[str, ...]) -> Program:
    """Jitted measurement of the probes called `names`; what others alone need is not computed."""

    def of_member(a, W, teacher_a, teacher_W, frame, decay, moves_output, moves_first, threshold):
        setting = Setting(decay, moves_output, moves_first, threshold)
        networks = TwoLayer(a, W, sigma), TwoLayer(teacher_a, teacher_W, sigma)
        values = measure(*networks, Frame(*frame), setting, certificate=bool(set(names) & set(CERTIFICATE)))
        return {name: values[name] for name in names}

    return _batched(of_member)


@functools.cache
def _ridge_program(sigma: AbstractActivation) -> Program:
    """Jitted exact minimum over a of ½E(f−f*)² + (λ/2)‖a‖²: (K(W,W) + λI) a = K(W,W*) a*, batched.

    By eigenvalues of K, those at rounding level left out: the minimal-norm solution where K + λI is singular.
    """

    def of_member(a, W, teacher_a, teacher_W, decay):
        own = kernel(sigma, W, W)
        values, vectors = jnp.linalg.eigh(0.5 * (own + own.T))
        regular = values + decay
        kept = regular > len(a) * jnp.finfo(a.dtype).eps * jnp.maximum(values[-1], 0.0)
        inverse = jnp.where(kept, 1.0 / jnp.where(kept, regular, 1.0), 0.0)
        return vectors @ (inverse * (vectors.T @ (kernel(sigma, W, teacher_W) @ teacher_a))), W

    return _batched(of_member)


@functools.cache
def _balance_program() -> Program:
    """Jitted rescaling of every neuron to |a_i| = ‖w_i‖ = √(|a_i|‖w_i‖), batched; a neuron of mass 0 becomes 0."""

    def of_member(a, W, teacher_a, teacher_W, decay):
        del teacher_a, teacher_W, decay
        norms = row_norms(W)
        size = jnp.sqrt(jnp.abs(a) * norms)
        return jnp.sign(a) * size, safe_divide(size, norms)[:, None] * W

    return _batched(of_member)
