"""Plain descent of two-layer networks on a CPU: blocks of eight lanes in SIMD registers, one thread a core."""

import importlib.util
import queue
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import numpy as np

from ...dynamics.updates import Descent
from ...problem.inputs import Gaussian
from ...problem.models import TwoLayer
from ...problem.penalties import L2
from ...problem.risks import BatchRisk, OnlineRisk, PopulationRisk, SampleRisk
from ..devices import Device, granted_cores, side_by_side
from ..lanes import NEVER, Lanes, Snapshots
from ..program import Pool, divergence_limit
from .base import AbstractKernel, lane_count
from .duals import DRAWN, DUALS, FRESH, LANES, SHUFFLED, WHOLE, four_numbers, value_numbers


class Simd(AbstractKernel):
    """Lanes are changed in place; the kernel on the population is in `descent.py`, that on samples in `sampled.py`."""

    name: ClassVar[str] = "simd"
    limits: ClassVar[str] = (
        "plain descent of two-layer students on the exact population risk of N(0, I), on samples of their own or on "
        f"fresh Gaussian ones, in float64 on a CPU with the activations {', '.join(DUALS)}, leaky_relu, without optax "
        "schedules and without loss or angle rules"
    )
    devices = 1
    tile = LANES

    def __init__(self, pool: Pool, members: int):
        self.pool = pool
        self.count = lane_count(pool, members, LANES)
        self.parallel = granted_cores()
        model, risk = pool.like.moving.model, pool.like.fixed.risk
        self.shapes = (*model.W.shape, *_planted(risk)[1].shape)
        # As many as parts can be in work at once, whatever the number of cores becomes.
        self.scratch: queue.SimpleQueue[tuple[np.ndarray, ...]] = queue.SimpleQueue()
        for _ in range(self.parallel):
            self.scratch.put(self._new_scratch())
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
            and four_numbers(like.moving.model.activation) is not None
            and _serves(like.fixed.risk)
        )

    def advance(self, lanes: Lanes, record_steps, budget):
        moving, stage = lanes.moving, lanes.stage
        planted = _planted(lanes.fixed.risk)
        if (*moving.model.W.shape, *planted[1].shape[1:]) != (self.count, *self.shapes):
            # The kernel checks no bounds: arrays of another shape would be written beyond their end.
            raise ValueError(f"lanes: got W {moving.model.W.shape} and teacher {planted[1].shape} for {self.shapes}")
        snapshots = self._snapshots(record_steps)
        rows = (
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
            planted,
        )
        aside = (snapshots.model.a, snapshots.model.W, snapshots.decay, snapshots.step_size, snapshots.count)
        limit = divergence_limit(np.dtype(np.float64))
        blocks = self.count // LANES
        # A few parts a thread, so that threads whose members end early take over from the others.
        parts = np.array_split(np.arange(blocks), min(blocks, 8 * self.parallel))
        program = self._program(lanes.fixed.risk, rows, (aside, record_steps, budget), limit)

        def work(part: np.ndarray, device: Device) -> None:
            try:
                scratch = self.scratch.get_nowait()
            except queue.Empty:  # more threads than there were cores when the lanes were planned
                scratch = self._new_scratch()
            program(part[0], part[-1] + 1, scratch)
            self.scratch.put(scratch)

        side_by_side(work, parts)
        return snapshots, self.executed

    def _program(self, risk: Any, rows: tuple, call: tuple, limit: float) -> Callable[[int, int, tuple], None]:
        """`(first block, block after the last, scratch)`: what advances blocks of eight lanes."""
        sigma: Any = self.pool.like.moving.model.activation
        if isinstance(risk, PopulationRisk):
            from .descent import advance_blocks

            dual = four_numbers(sigma)
            return lambda first, last, scratch: advance_blocks(
                first, last, *rows, *call, dual, limit, scratch[0], self.executed
            )
        from .sampled import advance_sampled

        kind, batch, data = source(risk)
        teacher = risk.teacher.activation if kind == FRESH else sigma
        sigmas = value_numbers(sigma), value_numbers(teacher)
        return lambda first, last, scratch: advance_sampled(
            (first, last), *rows, data, *call, sigmas, limit, kind, batch, held(risk), *scratch, self.executed
        )

    def _new_scratch(self) -> tuple[np.ndarray, ...]:
        m, d, teacher_neurons, _ = self.shapes
        risk = self.pool.like.fixed.risk
        if isinstance(risk, PopulationRisk):
            from .descent import scratch_size

            return (_aligned(scratch_size(m, teacher_neurons, d)),)
        from .sampled import scratch_sizes

        numbers, words = scratch_sizes(m, teacher_neurons, d, held(risk))
        return _aligned(numbers), np.zeros(words, np.uint32)

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


def _serves(risk: Any) -> bool:
    """Whether a risk is the population's of N(0, I), of samples, or of fresh Gaussian ones with a teacher like that."""
    if type(risk) is OnlineRisk:
        return (
            isinstance(risk.law.part, Gaussian)
            and isinstance(risk.teacher, TwoLayer)
            and value_numbers(risk.teacher.activation) is not None
        )
    return type(risk) in (PopulationRisk, SampleRisk, BatchRisk)


def _planted(risk: Any) -> tuple[Any, Any]:
    """(a*, W*) of a risk that the kernel asks for labels; of samples, which have theirs, networks of no neurons."""
    if isinstance(risk, PopulationRisk | OnlineRisk):
        return risk.teacher.a, risk.teacher.W
    x = (risk.sample if isinstance(risk, BatchRisk) else risk).x
    return np.zeros((*x.shape[:-2], 0)), np.zeros((*x.shape[:-2], 0, x.shape[-1]))


_MOST_HELD = 2**18
"""Numbers of a member's x that are copied to a core's own memory, where eight members lie side by side."""


def held(risk: Any) -> int:
    """The samples of a member that stay there over the steps of a call."""
    return risk.x.shape[-2] if isinstance(risk, SampleRisk) and risk.x.shape[-2] * risk.x.shape[-1] <= _MOST_HELD else 0


def source(risk: Any) -> tuple[int, int, tuple[np.ndarray, ...]]:
    """Whence steps have their samples: (kind, samples a step, (keys, noise, x, y) of the lanes)."""
    if isinstance(risk, OnlineRisk):
        lanes = len(risk.key)
        return FRESH, risk.batch, (risk.key, risk.noise, np.zeros((lanes, 0, 0)), np.zeros((lanes, 0)))
    sample = risk if isinstance(risk, SampleRisk) else risk.sample
    lanes, count = sample.x.shape[:2]
    if isinstance(risk, SampleRisk):
        return WHOLE, count, (np.zeros((lanes, 2), np.uint32), np.zeros(lanes), sample.x, sample.y)
    kind = DRAWN if risk.replacement else SHUFFLED
    return kind, risk.batch, (risk.key, np.zeros(lanes), sample.x, sample.y)
