"""What the engine is given and gives: workloads, where their results go, members in flight, work done."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from .lanes import StageRow, Tree
from .program import Pool

Values = dict[str, np.ndarray]
Gather = Callable[[np.ndarray], tuple]
"""The arguments of a program for the rows asked for."""
Measure = Callable[[int, Gather], Values]
"""Probes of so many members, whose moments a function gives for the positions asked for."""


class Drawn(NamedTuple):
    """Members at step 0, leading axis the member."""

    model: Tree
    risk: Tree
    aids: Tree
    """What probes prepared of the risk."""


class StagePlan(NamedTuple):
    """One stage of the members of a workload."""

    pool: int | None
    """Which of the workload's pools it runs in; None for an update that takes no step."""
    rows: StageRow
    """Tables, leading axis the cell; `start_step` and `end_step` are filled in when a member enters."""
    steps: np.ndarray
    """(cell,): the stage's steps."""
    ruled: np.ndarray
    """(cell,): whether a rule can end the stage early."""
    keeps_state: bool
    """Whether it goes on with the state of the stage before it."""
    enter: Callable[[Tree, StageRow], Tree] | None
    """(models, stage rows) → states of the update; None where it has none."""
    apply: Callable[[Tree, Tree, StageRow], Tree] | None
    """(models, risks, stage rows) → models, of an update that takes no step."""
    fresh: Callable[[Tree, np.ndarray], Tree] | None
    """(models, positions in the workload's members) → models with layers drawn anew, where the stage begins so."""
    anchored: bool
    """Whether a member keeps the model with which the stage begins."""
    keeps_zeros: bool
    """Whether weights that are 0 there stay 0."""
    measure: Measure
    """At the end of the stage."""
    measure_record: Measure
    """At records, where fewer probes may be measured."""


class Workload(NamedTuple):
    """Members of one structure, as arrays and programs."""

    pools: tuple[Pool, ...]
    stages: tuple[StagePlan, ...]
    members: np.ndarray
    """The members' numbers, in the order in which they are started."""
    cell: np.ndarray
    """The row of each of these members in the tables."""
    max_steps: np.ndarray
    """(cell,): the cap on a member's steps."""
    active_threshold: float
    record_steps: np.ndarray
    """Increasing; the last entry is `NEVER`."""
    dtype: np.dtype
    draw: Callable[[np.ndarray], Drawn]
    """Members at step 0 for positions in `members`."""
    engine: str
    """The kernel that is asked for, or `auto`."""
    sink: "Sink"
    flights: "tuple[Flights, ...]" = ()
    """Members that go on from where they were, instead of from their draw."""


class Sink(Protocol):
    """Where results go; `members` are numbers out of `Workload.members`.

    A member's final values are those of the last stage that it ended.
    """

    def start(self, members: np.ndarray, risk: Tree) -> None: ...

    def record(self, members: np.ndarray, records: np.ndarray, values: Values) -> None: ...

    def stage_end(self, members: np.ndarray, stage: int, steps: np.ndarray, values: Values) -> None: ...

    def finish(self, members: np.ndarray, end: "Ended") -> None: ...


class Ended(NamedTuple):
    """How members ended: `code` is RULE_MET, DIVERGED or ACTIVE (all steps taken)."""

    code: np.ndarray
    step: np.ndarray
    record: np.ndarray
    """The first record that was not taken: from there on a member stays where it is."""
    model: Tree


class Flights(NamedTuple):
    """Members of one program in flight, leading axis the member: all that it takes to go on with the same bits."""

    members: np.ndarray
    stage: np.ndarray
    start_step: np.ndarray
    """The step at which the stage began."""
    leaves: tuple[np.ndarray, ...]
    """Those of `Moving`, in the order of its tree."""


class Work(NamedTuple):
    """What was done so far."""

    finished: int = 0
    """Members that ended."""
    member_steps: int = 0
    """Steps taken by members."""
    lane_steps: int = 0
    """Steps executed times lanes in the tiles that executed them."""
    kernels: frozenset[str] = frozenset()
    """Which kernels ran."""

    def plus(self, other: "Work") -> "Work":
        return Work(
            self.finished + other.finished,
            self.member_steps + other.member_steps,
            self.lane_steps + other.lane_steps,
            self.kernels | other.kernels,
        )
