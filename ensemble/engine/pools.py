"""Pools: the lanes of one program, and the members that wait for one of them."""

import time
from typing import NamedTuple

import numpy as np

from .kernels import AbstractKernel
from .lanes import ACTIVE, IDLE, Fixed, Lanes, Moving, Snapshots, StageRow, empty_lanes, joined, put, take
from .program import Pool

# A call of the program lasts about this long, so that progress is shown and Ctrl-C is heard.
_SECONDS_A_CALL = 1.0
_FIRST_BUDGET = 64
# A lane whose member meets a rule rests until the call ends, half a budget on average: with the budget
# at this share of a member's mean steps, about half of it is lost.
_BUDGET_SHARE = 0.03


class Travellers(NamedTuple):
    """Members on their way between lanes, leading axis the member."""

    position: np.ndarray
    """In the workload's members."""
    stage: np.ndarray
    lanes: Lanes
    """What a lane holds of them."""


class LanePool:
    """The lanes of one program."""

    def __init__(self, pool: Pool, kernel: AbstractKernel):
        self.kernel, self.count = kernel, kernel.count
        self.lanes = empty_lanes(self.count, pool.like)
        # Lanes in the order in which they are filled: every accelerator alike.
        order = np.arange(self.count)
        self.order = order if kernel.resident is None else order.reshape(kernel.devices, -1).T.ravel()
        self.occupant = np.full(self.count, -1)  # position in the workload's members
        self.stage = np.zeros(self.count, int)
        self.waiting: list[Travellers] = []
        self.time_budget = _FIRST_BUDGET  # steps that fit into a call

    # -- members in and out ------------------------------------------------------------------------

    @property
    def busy(self) -> np.ndarray:
        """The lanes that hold a member."""
        return np.flatnonzero(self.occupant >= 0)

    @property
    def queued(self) -> int:
        return sum(len(t.position) for t in self.waiting)

    @property
    def room(self) -> int:
        """Lanes that nobody holds or waits for."""
        return self.count - len(self.busy) - self.queued

    def seat(self) -> None:
        """Gives lanes to as many of those who wait as there are lanes free."""
        free = self.order[self.occupant[self.order] < 0]
        while len(free) and self.waiting:
            first = self.waiting.pop(0)
            if len(first.position) > len(free):
                self.waiting.insert(0, take(first, slice(len(free), None)))
                first = take(first, slice(0, len(free)))
            rows, free = free[: len(first.position)], free[len(first.position) :]
            put(self.lanes, rows, first.lanes)
            self._changed(rows)
            self.occupant[rows], self.stage[rows] = first.position, first.stage

    def leave(self, rows: np.ndarray) -> Travellers:
        """Takes members out of their lanes."""
        self._bring(rows)
        out = Travellers(self.occupant[rows], self.stage[rows], take(self.lanes, rows))
        self.occupant[rows], self.lanes.moving.code[rows] = -1, IDLE
        return out

    def everyone(self) -> Travellers:
        """Copies of all who are in lanes or wait."""
        rows = self.busy
        self._bring(rows)
        seated = Travellers(self.occupant[rows], self.stage[rows], take(self.lanes, rows))
        return joined([seated, *self.waiting])

    def pack(self) -> None:
        """Gathers the members that still run in as few tiles as each device needs."""
        tile, devices, busy = self.kernel.tile, self.kernel.devices, self.busy
        rows = np.arange(self.count).reshape(devices, -1)
        each = -(-len(busy) // devices)
        target = rows[:, : -(-each // tile) * tile]
        if not len(busy) or len(np.unique(busy // tile)) <= target.size // tile:
            return
        self._bring(busy)
        order = np.full(self.count, -1)
        order[np.concatenate([row[:each] for row in target])[: len(busy)]] = busy
        order[order < 0] = np.flatnonzero(self.occupant < 0)
        self.lanes = take(self.lanes, order)
        self.occupant, self.stage = self.occupant[order], self.stage[order]
        self._changed(slice(None))

    # -- the host's lanes and those on accelerators ------------------------------------------------

    def _changed(self, rows: np.ndarray | slice) -> None:
        if self.kernel.resident is not None:
            self.kernel.resident.changed(rows)

    def _bring(self, rows: np.ndarray) -> None:
        if self.kernel.resident is not None:
            self.kernel.resident.bring(self.lanes, rows)

    # -- the compiled program ----------------------------------------------------------------------

    def advance(self, record_steps: np.ndarray, budget: int) -> None:
        """Takes steps."""
        moving = self.lanes.moving
        self.first_record, self.first_step = moving.record.copy(), moving.step.astype(np.int64)
        began = time.perf_counter()
        self.snapshots, self.executed = self.kernel.advance(self.lanes, record_steps, budget)
        self._learn(int(self.executed.max()), time.perf_counter() - began)

    @property
    def steps_taken(self) -> tuple[int, int]:
        """(steps of members, steps executed times lanes) of the last call."""
        own = int(np.sum(self.lanes.moving.step - self.first_step))
        return own, int(self.executed.sum(dtype=np.int64)) * self.kernel.tile

    def ended(self) -> np.ndarray:
        """The lanes whose member's stage is over."""
        moving, stage = self.lanes.moving, self.lanes.stage
        over = (moving.code != ACTIVE) | (moving.step >= stage.end_step)
        return np.flatnonzero((self.occupant >= 0) & over)

    def records(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(lanes, slots, records) of what the last call put aside."""
        snapshots: Snapshots = self.snapshots
        filled = np.arange(snapshots.decay.shape[1])[None, :] < snapshots.count[:, None]
        rows, slots = np.nonzero(filled)
        return rows, slots, self.first_record[rows] + slots

    def budget(self, ruled: bool, mean_steps: float | None, share: float, awaited: bool) -> int:
        """Steps for the next call: to the first stage end where stages end by their steps, a small share of
        a member's life where a rule may end them; never longer than `share` of a call, and as long as that where a
        lane that rests costs nothing and is `awaited` by nobody."""
        moving, stage, busy = self.lanes.moving, self.lanes.stage, self.busy
        most = max(1, int(self.time_budget * share))
        if self.kernel.tile == 1 and not awaited:
            return most
        if not ruled:
            return max(1, min(int((stage.end_step[busy] - moving.step[busy]).min()), most))
        wanted = _FIRST_BUDGET if mean_steps is None else int(_BUDGET_SHARE * mean_steps)
        return max(16, min(wanted, most))

    def _learn(self, executed: int, seconds: float) -> None:
        """Learns how many steps fit into a call; doubles at most, so that a first call's compilation or a
        short call misleads only once."""
        fitting = int(executed * _SECONDS_A_CALL / max(seconds, 1e-6))
        self.time_budget = int(min(max(fitting, _FIRST_BUDGET), 2 * max(self.time_budget, executed)))


def newcomers(position: np.ndarray, model, risk, aids, rows: StageRow, threshold: float, dtype: np.dtype) -> Travellers:
    """Members at step 0, without a state yet, whose stage's row is not theirs yet."""
    count = len(position)

    def integers() -> np.ndarray:
        return np.zeros(count, np.int32)

    moving = Moving(model, (), integers(), integers(), integers(), np.zeros(count, dtype), np.zeros(count, dtype))
    fixed = Fixed(risk, aids, np.full(count, threshold, dtype))
    return Travellers(position, np.zeros(count, int), Lanes(moving, rows, fixed))
