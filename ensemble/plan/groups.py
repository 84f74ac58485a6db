"""Groups: the cells of a study that one set of programs serves.

Members whose cells differ only in numbers (step sizes, decays, steps, tolerances, separations, scales, an update's own)
form one group: these are rows of tables, never part of a program. All else of a cell is its structure.
"""

from collections.abc import Hashable
from typing import NamedTuple

from ..dynamics.schedules import Optax
from ..dynamics.stages import SLOW_RULES, Stage
from ..dynamics.updates import AbstractSteppedUpdate, AbstractUpdate
from ..engine import Drawn, Pool, Program, samples_a_step, tile_size
from ..probes import PROBES, preparing
from ..problem.data import Data
from ..problem.draws import Space
from ..problem.models import TwoLayer
from ..problem.penalties import AbstractPenalty, Layers
from ..problem.students import AbstractSizedStudent, AbstractStudent
from ..problem.teachers import AbstractTeacher
from ..study import Cell, Study
from .programs import Drawing, drawn_like, lanes_like
from .sizes import refuse_wide

SLOTS = 8
"""Snapshots that a lane can put aside in one call of an advance program."""


class StageShape(NamedTuple):
    """What of a stage is static."""

    name: str
    update: AbstractUpdate
    penalty: AbstractPenalty
    decoupled: bool
    keeps_state: bool
    rules: tuple[str, ...]
    schedules: tuple[Optax, ...]
    by_neuron: bool
    targeted: bool
    fresh: Layers | tuple[int, ...] | None
    keeps_zeros: bool

    @property
    def takes_steps(self) -> bool:
        return isinstance(self.update, AbstractSteppedUpdate)

    @property
    def program(self) -> Hashable:
        """Equal for stages whose members may share lanes."""
        return self.update, self.penalty, self.decoupled, self.keeps_zeros


class Structure(NamedTuple):
    """What of a cell is static: equal for all cells of a group."""

    teacher: AbstractTeacher
    student: AbstractStudent
    space: Space | None
    """Its `inputs` are 0 in reduced coordinates, where they are an argument of the program."""
    stages: tuple[StageShape, ...]
    data: Data | None
    is_exact: bool

    @property
    def is_sampled(self) -> bool:
        """Whether members are trained on samples."""
        return self.data is not None and self.data.is_sampled

    @property
    def by_neuron(self) -> bool:
        """Whether rows say neuron by neuron what moves: in all stages, or in none."""
        return any(stage.by_neuron for stage in self.stages)

    @property
    def targeted(self) -> bool:
        """Whether rows have a target: in all stages, or in none."""
        return any(stage.targeted for stage in self.stages)

    def drawing(self, study: Study) -> Drawing:
        """What a program that draws members has to know."""
        parts = self.teacher, self.student, self.space, self.data, self.is_exact
        return Drawing(*parts, study.precision, preparing(PROBES, study.stored_probes))


class Group(NamedTuple):
    """The members of one structure."""

    cells: tuple[int, ...]
    """Numbers of the study's points."""
    structure: Structure
    pools: tuple[Pool, ...]
    pool_of_stage: tuple[int | None, ...]


def groups(study: Study) -> list[Group]:
    """The study's cells by structure, in order of first appearance.

    **Raises:** `StudyError` where members are too wide for this process.
    """
    refuse_wide(study)
    found: dict[Structure, list[int]] = {}
    for number, point in enumerate(study.points):
        found.setdefault(_structure(study, point.cell), []).append(number)
    return [_group(study, tuple(cells), structure) for structure, cells in found.items()]


def group_of(study: Study, cell: int) -> Group:
    """One cell as a group of its own."""
    return _group(study, (cell,), _structure(study, study.points[cell].cell))


def _structure(study: Study, cell: Cell) -> Structure:
    space = study.space(cell)
    if isinstance(cell.student, AbstractSizedStudent) and space is not None:
        teacher, student = cell.student.structures(cell.teacher, space)
        space = space._replace(inputs=0) if space.reduced else space
    else:
        teacher, student = cell.teacher.structure(), cell.student.structure()
    stages = tuple(map(_stage_shape, cell.stages.stages))
    data = None if cell.data is None else cell.data.structure()
    return Structure(teacher, student, space, stages, data, cell.is_exact)


def _stage_shape(stage: Stage) -> StageShape:
    return StageShape(
        name=stage.name,
        update=stage.update.structure(),
        penalty=stage.penalty.structure(),
        decoupled=stage.decoupled,
        keeps_state=stage.keep_state,
        rules=stage.slow_rules,
        schedules=optax_of(stage),
        by_neuron=stage.by_neuron,
        targeted=stage.targeted,
        fresh=stage.fresh,
        keeps_zeros=bool(stage.keep_zeros),
    )


def optax_of(stage: Stage) -> tuple[Optax, ...]:
    """A stage's optax schedules, which are part of a program; halving is a number."""
    return tuple(s for s in (stage.step_size_schedule, stage.weight_decay_schedule) if isinstance(s, Optax))


def _group(study: Study, cells: tuple[int, ...], structure: Structure) -> Group:
    like = drawn_like(structure.drawing(study))
    programs: dict[Hashable, Program] = {}
    pool_of_stage: list[int | None] = []
    for stage in structure.stages:
        if not stage.takes_steps:
            pool_of_stage.append(None)
            continue
        if stage.program not in programs:
            # Stages of one update share a pool, whose program knows the schedules and rules of all of them.
            alike = [s for s in structure.stages if s.program == stage.program]
            programs[stage.program] = _program(study.precision, like, alike, structure)
        pool_of_stage.append(list(programs).index(stage.program))
    pools = tuple(Pool(p, lanes_like(p, like)) for p in programs.values())
    return Group(cells, structure, pools, tuple(pool_of_stage))


def _program(precision: str, like: Drawn, stages: list[StageShape], structure: Structure) -> Program:
    teacher_neurons = like.risk.teacher.a.shape[0] if isinstance(like.model, TwoLayer) else 0
    update, penalty, decoupled = stages[0].update, stages[0].penalty, stages[0].decoupled
    assert isinstance(update, AbstractSteppedUpdate), "only an update that takes steps has a program"
    return Program(
        update=update,
        penalty=penalty,
        decoupled=decoupled,
        schedules=tuple(dict.fromkeys(schedule for stage in stages for schedule in stage.schedules)),
        rules=tuple(rule for rule in SLOW_RULES if any(rule in stage.rules for stage in stages)),
        dtype=precision,
        tile=tile_size(like.model, teacher_neurons, samples_a_step(like.risk)),
        slots=SLOTS,
        by_neuron=structure.by_neuron,
        targeted=structure.targeted,
        keeps_zeros=stages[0].keeps_zeros,
    )
