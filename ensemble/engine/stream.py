"""The host's side of a workload: members stream through lanes.

A member is drawn into a free lane, led from stage to stage, measured at records and stage ends, harvested
when its protocol ends, and its lane is refilled. No member waits for a slower one.
"""

import time
from collections.abc import Callable

import jax
import numpy as np

from .backends import AbstractBackend
from .lanes import ACTIVE, DIVERGED, IDLE, RULE_MET, Snapshots, empty_lanes
from .workload import Ended, Flights, Values, Work, Workload

# A call of the program lasts about this long, so that progress is shown and Ctrl-C is heard.
_SECONDS_A_CALL = 1.0
_FIRST_BUDGET = 64
# A lane whose member meets a rule rests until the call ends, half a budget on average: with the budget
# at this share of a member's mean steps, about half of it is lost.
_BUDGET_SHARE = 0.03


class Stream:
    """A workload on its way: `advance` and `settle` take turns until it `is_over`."""

    def __init__(self, work: Workload, backend: AbstractBackend):
        self.work, self.sink, self.backend = work, work.sink, backend
        shape = work.shape
        self.count = backend.count
        self.lanes = empty_lanes(self.count, shape.width, shape.teacher_neurons, shape.inputs, np.dtype(shape.dtype))
        self.frame: tuple[np.ndarray, ...] = ()
        self.occupant = np.full(self.count, -1)  # position in work.members
        self.stage = np.zeros(self.count, int)
        self.next = 0
        self.done = Work(backends=frozenset({backend.name}))
        self.lived = 0  # steps of the members that ended
        self.time_budget = _FIRST_BUDGET  # steps that fit into a call

        self._refill()

    @property
    def is_over(self) -> bool:
        return not np.any(self.occupant >= 0)

    @property
    def leaves_room(self) -> bool:
        """Whether nobody is left to start and the members in flight are too few for every core."""
        tiles = np.unique(np.flatnonzero(self.occupant >= 0) // self.backend.tile)
        return self.next == len(self.work.members) and len(tiles) < 2 * self.backend.parallel

    def flights(self) -> Flights:
        """The members in flight, between two calls."""
        lanes, rows = self.lanes, np.flatnonzero(self.occupant >= 0)
        return Flights(
            self.work.members[self.occupant[rows]],
            self.stage[rows],
            *(x[rows] for x in (lanes.start_step, lanes.step, lanes.record, lanes.a, lanes.W)),
        )

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
            self.frame = self.frame or tuple(np.zeros((self.count, *x.shape[1:]), x.dtype) for x in drawn.frame)
            for target, values in zip(self.frame, drawn.frame, strict=True):
                target[rows] = values
            lanes.step[rows] = lanes.record[rows] = 0
            lanes.active_threshold[rows] = self.work.active_threshold
            self.occupant[rows], self.stage[rows] = positions, 0
            self.sink.start(self.work.members[positions], drawn.teacher_a, drawn.teacher_W)
            self._enter(self._take_off(rows))
        if self.next == len(self.work.members):
            self._pack()

    def _take_off(self, rows: np.ndarray) -> np.ndarray:
        """Puts members that were in flight before back to where they were; returns the rows of the others."""
        flights = self.work.flights
        if flights is None:
            return rows
        members = self.work.members[self.occupant[rows]]
        order = np.argsort(flights.members)
        at = order[np.searchsorted(flights.members, members, sorter=order) % len(order)]
        flew = flights.members[at] == members
        back, at = rows[flew], at[flew]
        lanes = self.lanes
        self.stage[back] = flights.stage[at]
        lanes.a[back], lanes.W[back] = flights.a[at], flights.W[at]
        lanes.step[back], lanes.record[back] = flights.step[at], flights.record[at]
        self._start_descent(back, flights.start_step[at])
        return rows[~flew]

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
        self.lanes, self.frame = jax.tree.map(lambda x: x[order], (self.lanes, self.frame))
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
            self._start_descent(rows[~instant], lanes.step[rows[~instant]])
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

    def _start_descent(self, rows: np.ndarray, start_step: np.ndarray) -> None:
        lanes, cells = self.lanes, self._cells(rows)
        self._set_rules(rows)
        lanes.start_step[rows] = start_step
        last = start_step.astype(np.int64) + self.work.steps[cells, self.stage[rows]]
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

        values = self._measure(self.work.measure, rows, now)
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
        self.done = self.done._replace(finished=self.done.finished + len(rows))

    # -- the compiled program ----------------------------------------------------------------------

    def advance(self) -> None:
        """Takes steps; touches no sink, so that several runs may do so at once."""
        self.first_record, self.first_step = self.lanes.record.copy(), self.lanes.step.astype(np.int64)
        began = time.perf_counter()
        advanced = self.backend.advance(self.lanes, self.work.record_steps, self._budget())
        self.lanes, self.snapshots, self.executed = advanced
        self._set_budget(int(self.executed.max()), time.perf_counter() - began)

    def settle(self) -> None:
        """Harvests what `advance` did: records, stage ends, finished members; and refills their lanes."""
        self.done = self.done._replace(
            member_steps=self.done.member_steps + int(np.sum(self.lanes.step - self.first_step)),
            lane_steps=self.done.lane_steps + int(self.executed.sum(dtype=np.int64)) * self.backend.tile,
        )
        self._harvest_records(self.first_record, self.snapshots)
        self._leave_stages()
        self._refill()

    def _budget(self) -> int:
        """Steps for the next call: to the first stage end where stages end by their steps, a small share of
        a member's life where a rule may end them."""
        lanes = self.lanes
        busy = np.flatnonzero(self.occupant >= 0)
        left = int((lanes.end_step[busy] - lanes.step[busy]).min())
        ruled = np.any(self.work.ruled[self._cells(busy), self.stage[busy]])
        if not ruled:
            return max(1, min(left, self.time_budget))
        finished = self.done.finished
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

        values = self._measure(self.work.measure_record, rows, taken)
        self.sink.record(self.work.members[self.occupant[rows]], first[rows] + slots, values)

    # -- measuring ---------------------------------------------------------------------------------

    def _cells(self, rows: np.ndarray) -> np.ndarray:
        return self.work.cell[self.occupant[rows]]

    def _measure(
        self, program: Callable[..., Values], rows: np.ndarray, state: Callable[[np.ndarray], tuple]
    ) -> Values:
        """What `program` measures of the members of `rows`; `state(part)` gives (a, W, λ) of those of `rows[part]`."""
        lanes = self.lanes

        def gather(part: np.ndarray) -> tuple:
            at = rows[part]
            a, W, decay = state(part)
            teacher = lanes.teacher_a[at], lanes.teacher_W[at], tuple(x[at] for x in self.frame)
            moves = lanes.rules.moves_output[at], lanes.rules.moves_first[at]
            return a, W, *teacher, decay, *moves, lanes.active_threshold[at]

        return program(len(rows), gather)
