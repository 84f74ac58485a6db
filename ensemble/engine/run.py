"""The host's side of the engine: members stream through lanes.

A member is drawn into a free lane, led from stage to stage, measured at records and stage ends, harvested
when its protocol ends, and its lane is refilled. No member waits for a slower one.
"""

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import numpy as np

from .advance import ProgramShape
from .backends import AbstractBackend, choose
from .lanes import ACTIVE, DIVERGED, IDLE, RULE_MET, Rules, Snapshots, empty_lanes

Values = dict[str, np.ndarray]


class Drawn(NamedTuple):
    """Initial weights and teachers of some members, leading axis the member."""

    a: np.ndarray
    W: np.ndarray
    teacher_a: np.ndarray
    teacher_W: np.ndarray
    basis: np.ndarray
    separation: np.ndarray
    """The teachers' frames, for measuring (`probes.Frame`)."""


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
    measure: Callable[[int, Callable[[np.ndarray], tuple[np.ndarray, ...]]], Values]
    """Probes of so many members, whose arrays a function gives for the positions asked for."""
    update: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]]
    """The updates that take no step, by name: (a, W, teacher_a, teacher_W, decay) → (a, W)."""


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


class Progress(NamedTuple):
    """How far a workload is."""

    finished: int
    member_steps: int


class Work(NamedTuple):
    """What a workload cost."""

    member_steps: int
    """Descent steps taken by members."""
    lane_steps: int
    """Steps executed times lanes in the tiles that executed them."""
    backend: str
    """Which backend ran it."""


def run_workload(
    work: Workload,
    sink: Sink,
    on_progress: Callable[[Progress], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Work:
    """Runs every member of `work` to its end; results reach `sink` as soon as they are known.

    `should_stop` is asked about once a second; when it says so, members in flight are left unfinished.
    """
    return _Run(work, sink, choose(work.shape, len(work.members))).run(on_progress, should_stop)


# A call of the program lasts about this long, so that progress is shown and Ctrl-C is heard.
_SECONDS_A_CALL = 1.0
_FIRST_BUDGET = 64
# A lane whose member meets a rule rests until the call ends, half a budget on average: with the budget
# at this share of a member's mean steps, about half of it is lost.
_BUDGET_SHARE = 0.03


class _Run:
    def __init__(self, work: Workload, sink: Sink, backend: AbstractBackend):
        self.work, self.sink, self.backend = work, sink, backend
        shape = work.shape
        self.count = backend.count
        self.lanes = empty_lanes(self.count, shape.width, shape.teacher_neurons, shape.inputs, np.dtype(shape.dtype))
        self.basis = np.zeros_like(self.lanes.teacher_W)
        self.separation = np.zeros_like(self.lanes.active_threshold)
        self.occupant = np.full(self.count, -1)  # position in work.members
        self.stage = np.zeros(self.count, int)
        self.next = 0
        self.progress = Progress(0, 0)
        self.lane_steps = 0
        self.lived = 0  # steps of the members that ended
        self.time_budget = _FIRST_BUDGET  # steps that fit into a call

    def run(self, on_progress: Callable[[Progress], None], should_stop: Callable[[], bool]) -> Work:
        self._refill()
        while np.any(self.occupant >= 0) and not should_stop():
            self._advance()
            self._leave_stages()
            self._refill()
            on_progress(self.progress)
        return Work(self.progress.member_steps, self.lane_steps, self.backend.name)

    # -- members in and out ------------------------------------------------------------------------

    def _refill(self) -> None:
        while self.next < len(self.work.members) and np.any(self.occupant < 0):
            free = np.flatnonzero(self.occupant < 0)
            positions = np.arange(self.next, min(self.next + len(free), len(self.work.members)))
            self.next += len(positions)
            rows = free[: len(positions)]
            drawn = self.work.draw(positions)
            lanes = self.lanes
            lanes.a[rows], lanes.W[rows] = drawn.a, drawn.W
            lanes.teacher_a[rows], lanes.teacher_W[rows] = drawn.teacher_a, drawn.teacher_W
            self.basis[rows], self.separation[rows] = drawn.basis, drawn.separation
            lanes.step[rows] = lanes.record[rows] = 0
            lanes.active_threshold[rows] = self.work.active_threshold
            self.occupant[rows], self.stage[rows] = positions, 0
            self.sink.start(self.work.members[positions], drawn.teacher_a, drawn.teacher_W)
            self._enter(rows)
        if self.next == len(self.work.members):
            self._pack()

    def _pack(self) -> None:
        """With nobody left to start, gathers the members that still run in as few tiles as each device needs."""
        tile, devices = self.backend.tile, self.backend.devices
        busy = np.flatnonzero(self.occupant >= 0)
        rows = np.arange(self.count).reshape(devices, -1)
        each = -(-len(busy) // devices)
        target = rows[:, : -(-each // tile) * tile]
        if not len(busy) or len(np.unique(busy // tile)) <= target.size // tile:
            return
        order = np.full(self.count, -1)
        order[np.concatenate([row[:each] for row in target])[: len(busy)]] = busy
        order[order < 0] = np.flatnonzero(self.occupant < 0)
        self.lanes = jax.tree.map(lambda x: x[order], self.lanes)
        self.basis, self.separation = self.basis[order], self.separation[order]
        self.occupant, self.stage = self.occupant[order], self.stage[order]

    def _enter(self, rows: np.ndarray) -> None:
        """Leads the members of `rows` into their stage: through the updates that take no step, up to the
        next descent, or out at the end of the protocol."""
        work, lanes = self.work, self.lanes
        while len(rows):
            over = (self.stage[rows] == len(work.updates)) | (
                (self.stage[rows] > 0) & (lanes.step[rows] >= work.max_steps[self._cells(rows)])
            )
            self._finish(rows[over])
            rows = rows[~over]
            instant = np.array([work.updates[s] != "descent" for s in self.stage[rows]], bool)
            self._start_descent(rows[~instant])
            rows = rows[instant]
            for stage in np.unique(self.stage[rows]):
                group = rows[self.stage[rows] == stage]
                cells = self._cells(group)
                decay = work.rules.decay[cells, stage]
                arrays = (lanes.a[group], lanes.W[group], lanes.teacher_a[group], lanes.teacher_W[group])
                lanes.a[group], lanes.W[group] = work.update[work.updates[stage]](*arrays, decay)
                lanes.decay_used[group], lanes.code[group] = decay, ACTIVE
                self._set_rules(group)
                self._close_stage(group)
                self.stage[group] += 1

    def _start_descent(self, rows: np.ndarray) -> None:
        lanes, cells = self.lanes, self._cells(rows)
        self._set_rules(rows)
        lanes.start_step[rows] = lanes.step[rows]
        last = lanes.step[rows].astype(np.int64) + self.work.steps[cells, self.stage[rows]]
        lanes.end_step[rows] = np.minimum(last, self.work.max_steps[cells])
        lanes.code[rows] = ACTIVE

    def _set_rules(self, rows: np.ndarray) -> None:
        cells = self._cells(rows)
        for target, table in zip(self.lanes.rules, self.work.rules, strict=True):
            target[rows] = table[cells, self.stage[rows]]

    def _leave_stages(self) -> None:
        lanes = self.lanes
        busy = self.occupant >= 0
        ended = np.flatnonzero(busy & ((lanes.code != ACTIVE) | (lanes.step >= lanes.end_step)))
        diverged = lanes.code[ended] == DIVERGED
        for stage in np.unique(self.stage[ended]):
            self._close_stage(ended[self.stage[ended] == stage])
        self._finish(ended[diverged])
        going_on = ended[~diverged]
        self.stage[going_on] += 1
        self._enter(going_on)

    def _close_stage(self, rows: np.ndarray) -> None:
        """Measures members at the end of the stage that they are in."""
        lanes = self.lanes
        members = self.work.members[self.occupant[rows]]

        def now(part: np.ndarray) -> tuple[np.ndarray, ...]:
            at = rows[part]
            return lanes.a[at], lanes.W[at], lanes.decay_used[at]

        values = self._measure(rows, now)
        self.sink.stage_end(members, int(self.stage[rows[0]]), lanes.step[rows], values)

    def _finish(self, rows: np.ndarray) -> None:
        if not len(rows):
            return
        lanes = self.lanes
        # A rule ends a member only in its last stage; a rule met before led it on to the next.
        last = self.stage[rows] >= len(self.work.updates)
        code = np.where((lanes.code[rows] == RULE_MET) & ~last, ACTIVE, lanes.code[rows])
        end = Ended(code, lanes.step[rows].copy(), lanes.record[rows].copy(), lanes.a[rows], lanes.W[rows])
        self.sink.finish(self.work.members[self.occupant[rows]], end)
        self.lived += int(lanes.step[rows].sum(dtype=np.int64))
        self.occupant[rows], lanes.code[rows] = -1, IDLE
        self.progress = self.progress._replace(finished=self.progress.finished + len(rows))

    # -- the compiled program ----------------------------------------------------------------------

    def _advance(self) -> None:
        first_record, first_step = self.lanes.record.copy(), self.lanes.step.astype(np.int64)
        began = time.perf_counter()
        self.lanes, snapshots, executed = self.backend.advance(self.lanes, self.work.record_steps, self._budget())
        seconds = time.perf_counter() - began
        self.lane_steps += int(executed.sum(dtype=np.int64)) * self.backend.tile
        taken = int(np.sum(self.lanes.step - first_step))
        self.progress = self.progress._replace(member_steps=self.progress.member_steps + taken)
        self._harvest_records(first_record, snapshots)
        self._set_budget(int(executed.max()), seconds)

    def _budget(self) -> int:
        """Steps for the next call: to the first stage end where stages end by their steps, a small share of
        a member's life where a rule may end them."""
        lanes = self.lanes
        busy = np.flatnonzero(self.occupant >= 0)
        left = int((lanes.end_step[busy] - lanes.step[busy]).min())
        ruled = np.any(self.work.ruled[self._cells(busy), self.stage[busy]])
        if not ruled:
            return max(1, min(left, self.time_budget))
        finished = self.progress.finished
        share = int(_BUDGET_SHARE * self.lived / finished) if finished else _FIRST_BUDGET
        return max(16, min(share, self.time_budget))

    def _set_budget(self, executed: int, seconds: float) -> None:
        """Learns how many steps fit into a call; doubles at most, so that a first call's compilation or a
        short call misleads only once."""
        fitting = int(executed * _SECONDS_A_CALL / max(seconds, 1e-6))
        self.time_budget = int(min(max(fitting, _FIRST_BUDGET), 2 * max(self.time_budget, executed)))

    def _harvest_records(self, first: np.ndarray, snapshots: Snapshots) -> None:
        rows, slots = np.nonzero(np.arange(snapshots.decay.shape[1])[None, :] < snapshots.count[:, None])
        if not len(rows):
            return

        def taken(part: np.ndarray) -> tuple[np.ndarray, ...]:
            at = rows[part], slots[part]
            return snapshots.a[at], snapshots.W[at], snapshots.decay[at]

        values = self._measure(rows, taken)
        self.sink.record(self.work.members[self.occupant[rows]], first[rows] + slots, values)

    # -- measuring ---------------------------------------------------------------------------------

    def _cells(self, rows: np.ndarray) -> np.ndarray:
        return self.work.cell[self.occupant[rows]]

    def _measure(self, rows: np.ndarray, state: Callable[[np.ndarray], tuple[np.ndarray, ...]]) -> Values:
        """Probes of the members of `rows`; `state(part)` gives (a, W, λ) of those of `rows[part]`."""
        lanes = self.lanes

        def gather(part: np.ndarray) -> tuple[np.ndarray, ...]:
            at = rows[part]
            a, W, decay = state(part)
            teacher = lanes.teacher_a[at], lanes.teacher_W[at], self.basis[at], self.separation[at]
            moves = lanes.rules.moves_output[at], lanes.rules.moves_first[at]
            return a, W, *teacher, decay, *moves, lanes.active_threshold[at]

        return self.work.measure(len(rows), gather)
