"""Workloads: some members of a group as tables and programs."""

# pyright: reportArgumentType=false
# Parts have a hash (`Spec.__hash__`), which pyright does not see behind pydantic's own.

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from numpy.typing import DTypeLike

from ..dynamics.schedules import Halving, Optax, Schedule
from ..dynamics.stages import Stage
from ..dynamics.updates import AbstractInstantUpdate, AbstractSteppedUpdate
from ..engine import NEVER, Compiled, Drawn, Flights, Measure, Sink, StagePlan, StageRow, Workload
from ..problem.models import chosen_layers, layer_numbers
from ..problem.penalties import AbstractPenalty, needs_anchor
from ..study import MOST_SEEDS, Study, StudyError, told
from .groups import Group, Structure, group_of
from .programs import (
    apply_program,
    batch_size,
    draw_program,
    drawn_like,
    fresh_program,
    in_batches,
    init_program,
    is_number,
    measure_program,
)

_RECORDS = 32


def workload(
    study: Study,
    group: Group,
    members: np.ndarray,
    sink: Sink,
    flights: tuple[Flights, ...] = (),
    engine: str = "auto",
) -> Workload:
    """The engine's view of some members (numbers in the study) of a group; `flights`: those that go on."""
    cells = [study.points[c].cell for c in group.cells]
    return Workload(
        pools=group.pools,
        stages=tuple(_stage_plan(study, group, members, number) for number in range(len(group.structure.stages))),
        members=members,
        cell=_rows(group, members // study.seeds),
        max_steps=np.array([study.member_cap(c) for c in cells], np.int64),
        active_threshold=study.active_threshold,
        record_steps=_record_steps(study),
        dtype=np.dtype(study.precision),
        draw=_drawing(study, group, members, draw_program(group.structure.drawing(study))),
        engine=engine,
        sink=sink,
        flights=flights,
    )


def _record_steps(study: Study) -> np.ndarray:
    """The steps of records, and `NEVER` up to a multiple of `_RECORDS`: how many there are is part of no program."""
    steps = study.record_steps
    return np.array([*steps, *[NEVER] * (_RECORDS - len(steps) % _RECORDS)], np.int32)


def _rows(group: Group, cells: np.ndarray) -> np.ndarray:
    """Where cells stand in a group's tables."""
    row_of_cell = {c: row for row, c in enumerate(group.cells)}
    return np.array([row_of_cell[c] for c in cells], int)


def _drawing(study: Study, group: Group, members: np.ndarray, program: Compiled) -> Callable[[np.ndarray], Any]:
    """What draws the members at some positions in `members`, by a program that draws some."""
    cells = [study.points[c].cell for c in group.cells]
    numbers = {
        part: _tables([{} if (of := getattr(cell, part)) is None else of.numbers() for cell in cells], np.float64)
        for part in ("teacher", "student", "data")
    }
    sampling = group.structure.is_sampled, group.structure.is_exact
    size = batch_size(drawn_like(group.structure.drawing(study)), *sampling)
    dimension = np.array([space.inputs if (space := study.space(c)) else 0 for c in cells], float)
    cell, seeds = _rows(group, members // study.seeds), members % study.seeds

    def draw_members(positions: np.ndarray) -> Any:
        def gather(part: np.ndarray):
            chosen = positions[part]
            of_members = jax.tree.map(lambda table: table[cell[chosen]], numbers)
            return of_members, dimension[cell[chosen]], np.full(len(part), study.root_seed), seeds[chosen]

        return in_batches(program, len(positions), gather, size)

    return draw_members


def _tables(numbers: list[dict[str, Any]], dtype: DTypeLike) -> Any:
    """The numbers of a part in every cell as tables."""
    return jax.tree.map(lambda *values: np.asarray(values, dtype), *numbers, is_leaf=is_number)


def _stage_plan(study: Study, group: Group, members: np.ndarray, number: int) -> StagePlan:
    stages = [study.points[c].cell.stages.stages[number] for c in group.cells]
    shape, pool = group.structure.stages[number], group.pool_of_stage[number]
    schedules = () if pool is None else group.pools[pool].program.schedules
    update, enter, apply = shape.update, None, None
    like = drawn_like(group.structure.drawing(study))
    size = batch_size(like, group.structure.is_sampled, group.structure.is_exact)
    if isinstance(update, AbstractSteppedUpdate):
        assert pool is not None, "an update that takes steps has a pool"
        has_state = bool(jax.tree.leaves(group.pools[pool].like.moving.state))
        enter = functools.partial(_enter, update, _first_factors(schedules)) if has_state else None
    elif isinstance(update, AbstractInstantUpdate):
        apply = functools.partial(_apply, apply_program(update), size)
    at_end, at_records = _measures(study, shape.penalty, size)
    return StagePlan(
        pool=pool,
        rows=_stage_rows(stages, like, schedules, study.precision, group.structure),
        steps=np.array([stage.length for stage in stages], np.int64),
        # What takes several attempts a step ends as late as what waits for a rule.
        ruled=np.array([stage.has_rule or getattr(stage.update, "attempts", False) for stage in stages]),
        keeps_state=shape.keeps_state,
        enter=enter,
        apply=apply,
        fresh=_fresh(study, group, members, number),
        anchored=shape.keeps_zeros or needs_anchor(shape.penalty),
        keeps_zeros=shape.keeps_zeros,
        measure=at_end,
        measure_record=at_records,
    )


def _measures(study: Study, penalty: AbstractPenalty, size: int) -> tuple[Measure, Measure]:
    """What measures members at stage ends, and at records.

    What is measured at both is measured by one program, and what ends have beside it by another: nothing is compiled
    twice.
    """
    recorded = study.recorded_probes
    others = tuple(name for name in study.stored_probes if name not in recorded)
    at_records, beside = (
        functools.partial(in_batches, measure_program(penalty, names), size=size) for names in (recorded, others)
    )

    def at_end(count: int, gather: Callable[[np.ndarray], Any]) -> dict[str, np.ndarray]:
        measured = (at_records(count, gather) if recorded else {}) | (beside(count, gather) if others else {})
        return {name: measured[name] for name in study.stored_probes}

    return at_end, at_records


def _fresh(study: Study, group: Group, members: np.ndarray, number: int) -> Callable[[Any, np.ndarray], Any] | None:
    """What draws the layers of a stage anew, where it has some: those of the member's first further start in the first
    such stage, of the second one in the second."""
    structure = group.structure
    layers = structure.stages[number].fresh
    if layers is None:
        return None
    before = sum(stage.fresh is not None for stage in structure.stages[:number])
    draw = _drawing(study, group, members, fresh_program(structure.drawing(study), before + 1))

    def replaced(models: Any, positions: np.ndarray) -> Any:
        numbers = layer_numbers(models)
        chosen = chosen_layers(layers, _depth(numbers))
        new, (old, tree) = jax.tree.leaves(draw(positions)), jax.tree.flatten(models)
        pairs = zip(numbers, new, old, strict=True)
        return tree.unflatten([x if layers == "both" or n in chosen else y for n, x, y in pairs])

    return replaced


def _first_factors(schedules: tuple[Callable, ...]) -> np.ndarray:
    """By what the first step of a stage is multiplied, by `step_size_shape`; halvings begin at 1."""
    return np.array([1.0, *(schedule(np.zeros((), np.int32)) for schedule in schedules)])


def _enter(update: AbstractSteppedUpdate, factors: np.ndarray, models: Any, rows: StageRow) -> Any:
    first = rows.step_size * factors.astype(rows.step_size.dtype)[rows.step_size_shape]
    arrays = models, first, rows.numbers["update"]
    return in_batches(init_program(update), len(rows.decay), lambda part: jax.tree.map(lambda x: x[part], arrays))


def _apply(program: Compiled, size: int, models: Any, risks: Any, rows: StageRow) -> Any:
    arrays = models, risks, rows.decay, rows.numbers["update"]
    return in_batches(program, len(rows.decay), lambda part: jax.tree.map(lambda x: x[part], arrays), size)


def _stage_rows(
    stages: list[Stage], like: Drawn, schedules: tuple[Callable, ...], precision: str, structure: Structure
) -> StageRow:
    """A stage of every cell as numbers."""
    dtype = np.dtype(precision)

    def table(value: Callable[[Stage], float], kind: DTypeLike = dtype) -> np.ndarray:
        return np.array([value(stage) for stage in stages], kind)

    def every(schedule: Schedule | None) -> int:  # pyright: ignore[reportInvalidTypeForm]
        return schedule.every if isinstance(schedule, Halving) else 0

    def index(schedule: Schedule | None) -> int:  # pyright: ignore[reportInvalidTypeForm]
        return schedules.index(schedule) + 1 if isinstance(schedule, Optax) and schedule in schedules else 0

    def tolerance(value: float | None) -> float:
        return -1.0 if value is None else value

    zero = np.zeros(len(stages), np.int32)
    return StageRow(
        start_step=zero,
        end_step=zero,
        step_size=table(lambda s: s.step_size),
        step_size_every=table(lambda s: every(s.step_size_schedule), np.int32),
        step_size_shape=table(lambda s: index(s.step_size_schedule), np.int32),
        decay=table(lambda s: s.weight_decay),
        decay_every=table(lambda s: every(s.weight_decay_schedule), np.int32),
        decay_shape=table(lambda s: index(s.weight_decay_schedule), np.int32),
        moves=_moves(stages, like.model, structure.by_neuron),
        numbers={
            "update": _tables([stage.update.numbers() for stage in stages], dtype),
            "penalty": _tables([stage.penalty.numbers() for stage in stages], dtype),
        },
        grad_norm=table(lambda s: tolerance(s.grad_norm)),
        loss=table(lambda s: tolerance(s.loss)),
        max_angle=table(lambda s: tolerance(s.max_angle)),
        check_every=table(lambda s: s.check_every, np.int32),
        target=_targets(stages, like.risk.teacher.a.shape[-1], dtype) if structure.targeted else (),
    )


def _moves(stages: list[Stage], model: Any, by_neuron: bool) -> Any:
    """What of a model moves in the stage of every cell, in the model's structure: (cell,) booleans a leaf, or, by
    neuron, arrays that broadcast with the leaf."""

    numbers = layer_numbers(model)
    chosen = [chosen_layers(s.layers, _depth(numbers)) for s in stages]

    def moved(number: int | None, leaf: Any) -> np.ndarray:
        pairs = zip(stages, chosen, strict=True)
        of_leaf = np.array([s.layers == "both" or number in layers for s, layers in pairs])
        if not by_neuron:
            return of_leaf
        neurons = of_leaf[:, None] & np.stack([s.moving_neurons(leaf.shape[0]) for s in stages])
        return neurons if leaf.ndim == 1 else neurons[:, :, None]

    leaves, structure = jax.tree.flatten(model)
    return structure.unflatten(map(moved, numbers, leaves))


def _depth(numbers: list[int | None]) -> int:
    """How many layers there are, by those of the leaves."""
    return 1 + max((number for number in numbers if number is not None), default=0)


def _targets(stages: list[Stage], count: int, dtype: DTypeLike) -> np.ndarray:
    """(cell, teacher neuron): 1 for those that the stage of a cell is to fit, else 0."""
    chosen = [s.target if isinstance(s.target, tuple) else range(count) for s in stages]
    return np.array([[j in those for j in range(count)] for those in chosen], dtype)


@told()
def one_drawn(study: Study, seed: int, labels: dict[str, Any]) -> Drawn:
    """What one member begins with, bit for bit, as JAX's arrays.

    **Raises:** `StudyError` for labels that are no grid point of the study, and for a seed that is none.
    """
    if not (isinstance(seed, int | np.integer) and 0 <= seed < MOST_SEEDS):
        raise StudyError(f"seed: got {seed!r}; seeds are 0, 1, … {MOST_SEEDS - 1}")
    found = [i for i, point in enumerate(study.points) if point.labels == labels]
    if not found:
        axes = {name: list(axis.values) for name, axis in study.axes.items()}
        raise StudyError(f"labels: got {labels}, which is no grid point; the axes are {axes}")
    cell = found[0]
    one = study if seed < study.seeds else study.replace(seeds=seed + 1)
    group = group_of(one, cell)
    program = draw_program(group.structure.drawing(one))
    drawn = _drawing(one, group, np.array([cell * one.seeds + seed]), program)(np.zeros(1, int))
    # Rebuilt from JAX's arrays, so that what a user is given can be traced and differentiated.
    return jax.tree.map(lambda x: jax.numpy.asarray(x[0]), drawn)
