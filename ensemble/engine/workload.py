"""What the engine is given and gives: workloads, where their results go, members in flight, work done."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from .advance import ProgramShape
from .lanes import Rules

Values = dict[str, np.ndarray]


class Drawn(NamedTuple):
    """Initial weights and teachers of some members, leading axis the member."""

    a: np.ndarray
    W: np.ndarray
    teacher_a: np.ndarray
    teacher_W: np.ndarray
    frame: tuple[np.ndarray, ...]
    """What measuring needs of the teachers beside their weights (`probes.Frame`)."""


class Workload(NamedTuple):
    """Members of one static shape, as arrays and programs."""

    shape: ProgramShape
    members: np.ndarray
    """The members' numbers, in the order in which they are started."""
    cell: np.ndarray
    """The row of each of these members in the tables below."""
    updates: tuple[str, ...]
    """What each stage does: descent, ridge or balance."""
    rules: Rules
    """Tables (cell, stage)."""
    steps: np.ndarray
    """Table (cell, stage): the steps of each stage."""
    ruled: np.ndarray
    """Table (cell, stage): whether the stage has a rule that can end it early."""
    max_steps: np.ndarray
    """(cell,): the cap on a member's steps."""
    active_threshold: float
    record_steps: np.ndarray
    """Increasing; the last entry is `NEVER`."""
    draw: Callable[[np.ndarray], Drawn]
    """Initial values for positions in `members`."""
    measure: Callable[[int, Callable[[np.ndarray], tuple]], Values]
    """Probes of so many members, whose arrays a function gives for the positions asked for; at stage ends."""
    measure_record: Callable[[int, Callable[[np.ndarray], tuple]], Values]
    """The same at records, where fewer probes may be measured."""
    update: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]]
    """The updates that take no step, by name: (a, W, teacher_a, teacher_W, decay) → (a, W)."""
    sink: "Sink"
    flights: "Flights | None" = None
    """Members that go on from where they were, instead of from their draw."""


class Sink(Protocol):
    """Where results go; `members` are numbers out of `Workload.members`.

    A member's final values are those of the last stage that it ended.
    """

    def start(self, members: np.ndarray, teacher_a: np.ndarray, teacher_W: np.ndarray) -> None: ...

    def record(self, members: np.ndarray, records: np.ndarray, values: Values) -> None: ...

    def stage_end(self, members: np.ndarray, stage: int, steps: np.ndarray, values: Values) -> None: ...

    def finish(self, members: np.ndarray, end: "Ended") -> None: ...


class Ended(NamedTuple):
    """How members ended: `code` is RULE_MET, DIVERGED or ACTIVE (all steps taken)."""

    code: np.ndarray
    step: np.ndarray
    record: np.ndarray
    """The first record that was not taken: from there on a member stays where it is."""
    a: np.ndarray
    W: np.ndarray


class Flights(NamedTuple):
    """Members in flight, leading axis the member: all that it takes to go on with the same bits."""

    members: np.ndarray
    stage: np.ndarray
    start_step: np.ndarray
    """The step at which the stage began."""
    step: np.ndarray
    record: np.ndarray
    """Index of the next record."""
    a: np.ndarray
    W: np.ndarray


class Work(NamedTuple):
    """What was done so far."""

    finished: int = 0
    """Members that ended."""
    member_steps: int = 0
    """Descent steps taken by members."""
    lane_steps: int = 0
    """Steps executed times lanes in the tiles that executed them."""
    backends: frozenset[str] = frozenset()
    """Which backends ran."""

    def plus(self, other: "Work") -> "Work":
        return Work(
            self.finished + other.finished,
            self.member_steps + other.member_steps,
            self.lane_steps + other.lane_steps,
            self.backends | other.backends,
        )
