"""Lanes as a card holds them, advanced by one kernel: what is timed and compared."""

import time
from typing import Any

import numpy as np

from ensemble.engine.kernels import KERNELS
from ensemble.engine.kernels.base import AbstractKernel
from ensemble.engine.kernels.resident import Resident
from ensemble.engine.lanes import ACTIVE, NEVER, Lanes, empty_lanes, put

from .programs import Case, pool_of

_NO_RECORD = np.array([NEVER], np.int32)


class Run:
    """A kernel on a case, its lanes filled with members that neither stop nor record.

    **Arguments:** `changed` is called with the kernel before its first call, to run another choice of its numbers.
    """

    def __init__(self, kernel: str, case: Case, members: int, changed: Any = None):
        self.pool = pool_of(case)
        self.kernel: AbstractKernel = KERNELS[kernel](self.pool, members)
        if changed is not None:
            changed(self.kernel)
        self.lanes = filled(self.pool, self.kernel.count, 16)

    @classmethod
    def of_lanes(cls, kernel: str, case: Case, count: int) -> "Run":
        """On at least so many lanes, also where the engine would hold fewer and refill them; whole calls."""
        pool = pool_of(case)

        def changed(found: Any) -> None:
            whole = found.devices * found.tile
            found.count = whole * -(-count // whole)
            if found.resident is not None:
                size = found.tile if found.tile > 1 else found.count // found.devices
                found.resident = Resident(pool, found.run, found.count, size, found.tile)

        return cls(kernel, case, count, changed)

    def advance(self, steps: int) -> None:
        self.kernel.advance(self.lanes, _NO_RECORD, steps)

    def bring(self, rows: np.ndarray) -> None:
        """Makes rows of the host's lanes what they are on the card."""
        if self.kernel.resident is not None:
            self.kernel.resident.bring(self.lanes, rows)

    def nanoseconds(self, steps: int) -> float:
        """A member-step's, the best of three after a call that warms up."""
        self.advance(8)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            self.advance(steps)
            times.append(time.perf_counter() - began)
        return 1e9 * min(times) / steps / self.kernel.count


def filled(pool: Any, count: int, distinct: int) -> Lanes:
    """Lanes that neither stop nor record; the first `distinct` of them do not depend on how many there are."""
    lanes = empty_lanes(count, pool.like)
    moving, stage, teacher = lanes.moving, lanes.stage, lanes.fixed.risk.teacher
    m, d = moving.model.W.shape[1:]
    rows = np.random.default_rng(m).normal(size=(distinct, m, d)) / np.sqrt(d)
    repeated = np.resize(np.arange(distinct), count)
    put(moving.model.W, slice(None), rows[repeated].astype(moving.model.W.dtype))
    moving.model.a[:], teacher.a[:] = 1.0, 1.0
    teacher.W[:] = np.eye(teacher.W.shape[1], d)
    moving.code[:], stage.end_step[:] = ACTIVE, NEVER
    # So small a step that the widest student does not diverge; what a step costs does not depend on its size.
    stage.step_size[:], stage.moves.W[:], stage.grad_norm[:] = 1e-3, True, -1.0
    return lanes
