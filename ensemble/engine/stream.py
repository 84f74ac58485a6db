"""The host's side of a workload: members stream through lanes.

A member is drawn, led from stage to stage and from pool to pool, measured at records and stage ends, harvested when
its protocol ends, and its lane is refilled. No member waits for a slower one.
"""

import jax
import numpy as np

from .kernels import AbstractKernel
from .lanes import ACTIVE, DIVERGED, RULE_MET, moving_entries, take
from .pools import LanePool, Travellers, newcomers
from .program import end_step
from .workload import Ended, Flights, Values, Work, Workload

_MOST_DRAWN = 4096
"""Members drawn at once where no lane bounds them."""


class Stream:
    """A workload on its way: `advance` and `settle` take turns until it `is_over`."""

    def __init__(self, work: Workload, kernels: list[AbstractKernel]):
        self.work, self.sink = work, work.sink
        self.pools = [LanePool(pool, kernel) for pool, kernel in zip(work.pools, kernels, strict=True)]
        self.next = 0
        self.done = Work(kernels=frozenset(kernel.name for kernel in kernels))
        self.lived = 0  # steps of the members that ended
        self._flown = _Flown(work) if work.flights else None
        self._fill()

    @property
    def is_over(self) -> bool:
        return not any(len(pool.busy) or pool.queued for pool in self.pools)

    @property
    def leaves_room(self) -> bool:
        """Whether nobody is left to start and the members in flight are too few for every core."""
        tiles = sum(len(np.unique(pool.busy // pool.kernel.tile)) + pool.queued for pool in self.pools)
        parallel = max((pool.kernel.parallel for pool in self.pools), default=1)
        return self.next == len(self.work.members) and tiles < 2 * parallel

    def flights(self) -> list[Flights]:
        """The members in flight, between two calls, pool by pool."""
        found = []
        for pool in self.pools:
            all_of_it = pool.everyone()
            if len(all_of_it.position):
                lanes = all_of_it.lanes
                leaves = tuple(jax.tree.leaves(lanes.moving))
                members = self.work.members[all_of_it.position]
                found.append(Flights(members, all_of_it.stage, lanes.stage.start_step, leaves))
        return found

    # -- members in and out ------------------------------------------------------------------------

    def _fill(self) -> None:
        """Draws members while there are lanes for them, and gives lanes to those who wait."""
        work = self.work
        while self.next < len(work.members) and (room := self._room()) > 0:
            positions = np.arange(self.next, min(self.next + room, len(work.members)))
            self.next += len(positions)
            drawn = work.draw(positions)
            self.sink.start(work.members[positions], drawn.risk)
            rows = take(work.stages[0].rows, work.cell[positions])
            new = newcomers(positions, *drawn, rows, work.active_threshold, work.dtype)
            if self._flown is not None:
                new = self._flown.take_off(new, self.pools)
            self._lead(new)
        for pool in self.pools:
            pool.seat()
            if self.next == len(work.members) and not pool.queued:
                pool.pack()

    def _room(self) -> int:
        """How many members to draw: as many as the first pool has lanes for, none while later ones are crowded."""
        if not self.pools:
            return _MOST_DRAWN
        if any(pool.queued > pool.count for pool in self.pools):
            return 0
        return next(self.pools[at].room for stage in self.work.stages if (at := stage.pool) is not None)

    def _lead(self, members: Travellers) -> None:
        """Leads members into their stage: through the updates that take no step, up to the next one that does, or out
        at the end of the protocol."""
        work = self.work
        over = (members.stage == len(work.stages)) | (
            (members.stage > 0) & (members.lanes.moving.step >= work.max_steps[work.cell[members.position]])
        )
        self._finish(take(members, over))
        members = take(members, ~over)
        for stage in np.unique(members.stage):
            here = self._entered(take(members, members.stage == stage), int(stage))
            pool = work.stages[stage].pool
            if pool is not None:
                self.pools[pool].waiting.append(here)
            else:
                self._close_stage(here)
                self._lead(here._replace(stage=here.stage + 1))

    def _entered(self, members: Travellers, stage: int) -> Travellers:
        """Members at the beginning of a stage; at the end of one whose update takes no step."""
        plan, cells = self.work.stages[stage], self.work.cell[members.position]
        moving, _, fixed = members.lanes
        rows = take(plan.rows, cells)._replace(start_step=moving.step.copy())
        if plan.fresh is not None:
            moving = moving._replace(model=plan.fresh(moving.model, members.position))
        moving = moving._replace(anchor=moving.model if plan.anchored else ())
        if plan.apply is not None:
            model = plan.apply(moving.model, fixed.risk, rows)
            moving = moving._replace(model=model, decay=rows.decay, step_size=np.zeros_like(rows.decay))
        else:
            rows = rows._replace(
                end_step=end_step(rows, plan.steps[cells], self.work.max_steps[cells]).astype(np.int32)
            )
            if not plan.keeps_state:
                # Without leaves, the structure alone is the state.
                assert plan.pool is not None, "an update that takes steps has a pool"
                state = self.work.pools[plan.pool].like.moving.state
                state = state if plan.enter is None else plan.enter(moving.model, rows)
                moving = moving._replace(state=state)
        moving = moving._replace(code=np.full(len(cells), ACTIVE, np.int32))
        return members._replace(lanes=members.lanes._replace(moving=moving, stage=rows))

    def _leave_stages(self, pool: LanePool) -> None:
        members = pool.leave(pool.ended())
        if not len(members.position):
            return
        for stage in np.unique(members.stage):
            self._close_stage(take(members, members.stage == stage))
        diverged = members.lanes.moving.code == DIVERGED
        self._finish(take(members, diverged))
        going_on = take(members, ~diverged)
        self._lead(going_on._replace(stage=going_on.stage + 1))

    def _close_stage(self, members: Travellers) -> None:
        """Measures members at the end of the stage that they are in."""
        stage = int(members.stage[0])
        moving, row, fixed = members.lanes
        plan = self.work.stages[stage]

        def now(part: np.ndarray) -> tuple:
            at, moves = take((moving, row.moves), part)
            moves = moving_entries(moves, at.anchor, plan.keeps_zeros)
            rest = take((row.numbers["penalty"], fixed), part)
            return at.model, at.anchor, at.decay, at.step_size, moves, *rest

        values = plan.measure(len(members.position), now)
        self.sink.stage_end(self.work.members[members.position], stage, moving.step, values)

    def _finish(self, members: Travellers) -> None:
        if not len(members.position):
            return
        moving = members.lanes.moving
        # A rule ends a member only in its last stage; a rule met before led it on to the next.
        last = members.stage >= len(self.work.stages)
        code = np.where((moving.code == RULE_MET) & ~last, ACTIVE, moving.code)
        self.sink.finish(self.work.members[members.position], Ended(code, moving.step, moving.record, moving.model))
        self.lived += int(moving.step.sum(dtype=np.int64))
        self.done = self.done._replace(finished=self.done.finished + len(members.position))

    # -- steps -------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Takes steps; touches no sink, so that several runs may do so at once."""
        work = self.work
        busy = [pool for pool in self.pools if len(pool.busy)]
        finished = self.done.finished
        mean = self.lived / finished if finished else None
        for pool in busy:
            rows = pool.busy
            cells = work.cell[pool.occupant[rows]]
            ruled = any(
                bool(np.any(work.stages[s].ruled[cells[pool.stage[rows] == s]])) for s in np.unique(pool.stage[rows])
            )
            awaited = self.next < len(work.members) or any(other.queued for other in self.pools)
            pool.advance(work.record_steps, pool.budget(ruled, mean, 1.0 / len(busy), awaited))
        self.moved = busy

    def settle(self) -> None:
        """Harvests what `advance` did: records, stage ends, finished members; and refills their lanes."""
        for pool in self.moved:
            own, executed = pool.steps_taken
            self.done = self.done._replace(
                member_steps=self.done.member_steps + own, lane_steps=self.done.lane_steps + executed
            )
            self._harvest_records(pool)
        for pool in self.moved:
            self._leave_stages(pool)
        self._fill()

    def _harvest_records(self, pool: LanePool) -> None:
        rows, slots, records = pool.records()
        stages = pool.stage[rows]
        for stage in np.unique(stages):
            mine = stages == stage
            values = self._measure_aside(pool, int(stage), rows[mine], slots[mine])
            self.sink.record(self.work.members[pool.occupant[rows[mine]]], records[mine], values)

    def _measure_aside(self, pool: LanePool, stage: int, rows: np.ndarray, slots: np.ndarray) -> Values:
        """Probes of what was put aside in some slots of some lanes."""
        snapshots, (moving, row, fixed) = pool.snapshots, pool.lanes
        plan = self.work.stages[stage]

        def taken(part: np.ndarray) -> tuple:
            at = rows[part], slots[part]
            model = jax.tree.map(lambda x: x[at], snapshots.model)
            anchor, moves, *rest = take((moving.anchor, row.moves, row.numbers["penalty"], fixed), rows[part])
            moves = moving_entries(moves, anchor, plan.keeps_zeros)
            return model, anchor, snapshots.decay[at], snapshots.step_size[at], moves, *rest

        return plan.measure_record(len(rows), taken)


class _Flown:
    """Members that were in flight before, and go on from where they were."""

    def __init__(self, work: Workload):
        self.work = work

    def take_off(self, new: Travellers, pools: list[LanePool]) -> Travellers:
        """Puts those of the newcomers that were in flight where they were; returns the others."""
        members = self.work.members[new.position]
        flew = np.zeros(len(members), bool)
        for flights in self.work.flights:
            order = np.argsort(flights.members)
            at = order[np.searchsorted(flights.members, members, sorter=order) % len(order)]
            mine = flights.members[at] == members
            for stage in np.unique(flights.stage[at[mine]]):
                here = mine & (flights.stage[at] == stage)
                self._put_back(take(new, here), int(stage), take(flights, at[here]), pools)
            flew |= mine
        return take(new, ~flew)

    def _put_back(self, members: Travellers, stage: int, flights: Flights, pools: list[LanePool]) -> None:
        plan, cells = self.work.stages[stage], self.work.cell[members.position]
        assert plan.pool is not None, "a member in flight takes steps"
        like = self.work.pools[plan.pool].like.moving
        shapes, structure = jax.tree.flatten(like)
        # A file keeps leaves as large as the largest of the study: what is beyond a cell's own are zeros.
        leaves = [
            x[(slice(None), *(slice(0, n) for n in s.shape))] for x, s in zip(flights.leaves, shapes, strict=True)
        ]
        moving = jax.tree.unflatten(structure, leaves)
        rows = take(plan.rows, cells)._replace(start_step=flights.start_step.astype(np.int32))
        rows = rows._replace(end_step=end_step(rows, plan.steps[cells], self.work.max_steps[cells]).astype(np.int32))
        moving = moving._replace(code=np.full(len(cells), ACTIVE, np.int32))
        back = Travellers(
            members.position, np.full(len(cells), stage), members.lanes._replace(moving=moving, stage=rows)
        )
        pools[plan.pool].waiting.append(back)
