"""Plain descent of two-layer networks on a CPU: blocks of eight lanes in SIMD registers, one thread a core."""

import importlib.util
import queue
from typing import ClassVar

import jax
import numpy as np

from ...dynamics.updates import Descent
from ...problem.models import TwoLayer
from ...problem.penalties import L2
from ...problem.risks import PopulationRisk
from ..devices import Device, granted_cores, side_by_side
from ..lanes import NEVER, Lanes, Snapshots
from ..program import Pool, divergence_limit
from .base import AbstractKernel, lane_count
from .duals import DUALS, LANES, four_numbers


class Simd(AbstractKernel):
    """Lanes are changed in place; see `descent.py` for the kernel."""

    name: ClassVar[str] = "simd"
    limits: ClassVar[str] = (
        "plain descent of two-layer students on the exact population risk in float64 on a CPU with the activations "
        f"{', '.join(DUALS)}, leaky_relu, without optax schedules and without loss or angle rules"
    )
    devices = 1
    tile = LANES

    def __init__(self, pool: Pool, members: int):
        from .descent import scratch_size

        self.pool = pool
        model, teacher = pool.like.moving.model, pool.like.fixed.risk.teacher
        self.count = lane_count(pool, members, LANES)
        self.parallel = granted_cores()
        self.dual = four_numbers(model.activation)
        self.shapes = (*model.W.shape, teacher.W.shape[0])
        size = scratch_size(model.W.shape[0], teacher.W.shape[0], model.W.shape[1])
        # As many as parts can be in work at once, whatever the number of cores becomes.
        self.scratch: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()
        self.scratch_size = size
        for _ in range(self.parallel):
            self.scratch.put(_aligned(size))
        self.snapshots: Snapshots | None = None
        self.executed = np.zeros(self.count // LANES, np.int32)

    @staticmethod
    def serves(pool: Pool) -> bool:
        program, like = pool
        return (
            jax.default_backend() == "cpu"
            and importlib.util.find_spec("numba") is not None
            and program.dtype == "float64"
            and isinstance(program.update, Descent)
            and program.penalty == L2()
            and not (program.decoupled or program.schedules or program.rules)
            and not (program.by_neuron or program.targeted or program.keeps_zeros)
            and isinstance(like.moving.model, TwoLayer)
            and type(like.fixed.risk) is PopulationRisk
            and four_numbers(like.moving.model.activation) is not None
        )

    def advance(self, lanes: Lanes, record_steps, budget):
        from .descent import advance_blocks

        moving, stage, teacher = lanes.moving, lanes.stage, lanes.fixed.risk.teacher
        if (*moving.model.W.shape, teacher.W.shape[1]) != (self.count, *self.shapes):
            # The kernel checks no bounds: arrays of another shape would be written beyond their end.
            raise ValueError(f"lanes: got W {moving.model.W.shape} and teacher {teacher.W.shape} for {self.shapes}")
        snapshots = self._snapshots(record_steps)
        arguments = (
            (moving.model.a, moving.model.W, moving.step, moving.code, moving.record, moving.decay, moving.step_size),
            (
                stage.start_step,
                stage.end_step,
                stage.step_size,
                stage.step_size_every,
                stage.decay,
                stage.decay_every,
                stage.moves.a,
                stage.moves.W,
                stage.grad_norm,
            ),
            (teacher.a, teacher.W),
            (snapshots.model.a, snapshots.model.W, snapshots.decay, snapshots.step_size, snapshots.count),
            record_steps,
            budget,
            self.dual,
            divergence_limit(np.dtype(np.float64)),
        )
        blocks = self.count // LANES
        # A few parts a thread, so that threads whose members end early take over from the others.
        parts = np.array_split(np.arange(blocks), min(blocks, 8 * self.parallel))

        def work(part: np.ndarray, device: Device) -> None:
            try:
                scratch = self.scratch.get_nowait()
            except queue.Empty:  # more threads than there were cores when the lanes were planned
                scratch = _aligned(self.scratch_size)
            advance_blocks(part[0], part[-1] + 1, *arguments, scratch, self.executed)
            self.scratch.put(scratch)

        side_by_side(work, parts)
        return snapshots, self.executed

    def _snapshots(self, record_steps: np.ndarray) -> Snapshots:
        if self.snapshots is None:
            model = self.pool.like.moving.model
            slots = 1 if record_steps[0] == NEVER else self.pool.program.slots
            a = np.zeros((self.count, slots, *model.a.shape))
            W = np.zeros((self.count, slots, *model.W.shape))
            decay, step_size = np.zeros((self.count, slots)), np.zeros((self.count, slots))
            aside = _two_layer(model, a, W)
            self.snapshots = Snapshots(aside, decay, step_size, np.zeros(self.count, np.int32))
        return self.snapshots


def _two_layer(like: TwoLayer, a: np.ndarray, W: np.ndarray) -> TwoLayer:
    """A network whose leaves are these very arrays."""
    return jax.tree.unflatten(jax.tree.structure(like), (a, W))


def _aligned(count: int) -> np.ndarray:
    """Doubles that begin at a cache line, so that no vector crosses one."""
    raw = np.zeros(count + LANES)
    begin = (-raw.ctypes.data // 8) % LANES
    return raw[begin : begin + count]
