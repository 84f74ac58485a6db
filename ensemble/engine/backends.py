"""Backends: the ways to advance lanes, behind one interface.

    simd        the kernel of `descent.py`: CPU, float64, 1-homogeneous activations
    fused       the Pallas kernel of `fused.py`: NVIDIA GPUs; only where GD_ATLAS_ENGINE asks for it, until measured
    reference   the XLA program of `advance.py`: every device, precision, activation, schedule and rule

A member's bits are the same on one backend whatever else happens; between two they agree to rounding. Which
one serves a group depends on its static shape and the platform alone.
"""

import abc
import functools
import os
from collections.abc import Callable

import jax
import numpy as np

from .advance import ProgramShape, advance_program, advance_tiles, divergence_limit
from .descent import DUALS, advance_blocks, scratch_size
from .devices import Device, granted_cores, places, side_by_side
from .fused import advance_members
from .lanes import NEVER, Lanes, Snapshots
from .simd import LANES

Advanced = tuple[Lanes, Snapshots, np.ndarray]

_LANE_BYTES = 128 * 2**20
"""Memory that the lanes of a workload may take on the host."""
_MOST_LANES = 4096
_MOST_LANES_ACCELERATOR = 2**18


class EngineError(ValueError):
    """The engine cannot do what the environment asks of it."""


class AbstractBackend(abc.ABC):
    """Advances all lanes of one static shape by a budget of steps."""

    name: str
    devices: int
    """Equal parts that the lanes are split into."""
    tile: int
    """Lanes that advance together: a tile without an awake lane costs nothing."""
    count: int
    """Lanes in all, a multiple of devices × tile."""
    parallel: int
    """Tiles that advance at once."""

    @abc.abstractmethod
    def __init__(self, shape: ProgramShape, members: int):
        """Plans lanes for so many members."""

    @abc.abstractmethod
    def advance(self, lanes: Lanes, record_steps: np.ndarray, budget: int) -> Advanced:
        """(lanes after at most `budget` steps, snapshots, steps that each tile's loop ran)."""


class Reference(AbstractBackend):
    """Tiles of one compiled program, side by side on cores or accelerators; lanes are changed in place."""

    name = "reference"

    def __init__(self, shape: ProgramShape, members: int):
        self.devices = self.parallel = len(places())
        self.tile = self._tile(shape)
        self.count = _lane_count(shape, members, self.devices * self.tile)
        self.program = advance_program(shape, self._advance())
        self.lanes_a_call = self._lanes_a_call()

    @staticmethod
    def _tile(shape: ProgramShape) -> int:
        return shape.tile

    @staticmethod
    def _advance() -> Callable:
        """What the program does with its lanes."""
        return advance_tiles

    def _lanes_a_call(self) -> int:
        """One tile on CPU, so that the program does not depend on the number of lanes; all of a device's on others."""
        return self.tile if jax.default_backend() == "cpu" else self.count // self.devices

    def advance(self, lanes, record_steps, budget):
        size = self.lanes_a_call
        parts = [slice(begin, min(begin + size, self.count)) for begin in range(0, self.count, size)]
        step = functools.partial(self._advance_part, lanes, record_steps, budget)
        snapshots, executed = jax.tree.map(lambda *xs: np.concatenate(xs), *side_by_side(step, parts))
        return lanes, snapshots, executed

    def _advance_part(self, lanes: Lanes, record_steps: np.ndarray, budget: int, rows: slice, device: Device):
        try:
            return self._call(lanes, record_steps, budget, rows, device)
        except jax.errors.JaxRuntimeError as error:
            tiles = (rows.stop - rows.start) // self.tile
            if "RESOURCE_EXHAUSTED" not in str(error) or tiles == 1:
                raise
        # These lanes are as they were: the same steps again, on half of them at a time, here and from now on.
        middle = rows.start + tiles // 2 * self.tile
        self.lanes_a_call = min(self.lanes_a_call, max(middle - rows.start, rows.stop - middle))
        halves = slice(rows.start, middle), slice(middle, rows.stop)
        done = [self._advance_part(lanes, record_steps, budget, half, device) for half in halves]
        return jax.tree.map(lambda *xs: np.concatenate(xs), *done)

    def _call(self, lanes: Lanes, record_steps: np.ndarray, budget: int, rows: slice, device: Device):
        part = jax.tree.map(lambda x: x[rows], lanes)
        after, snapshots, executed = self.program(device, part, record_steps, np.int32(budget))
        for name in ("a", "W", "step", "code", "record", "decay_used"):
            getattr(lanes, name)[rows] = getattr(after, name)
        return jax.tree.map(np.asarray, (snapshots, executed))


class Fused(Reference):
    """One kernel that keeps a member on chip over many steps: a tile is a lane, and lanes rest one by one."""

    name = "fused"

    @staticmethod
    def serves(shape: ProgramShape) -> bool:
        """Whether the kernel can run this shape."""
        return not (shape.schedules or shape.has_loss_rule or shape.has_angle_rule)

    @staticmethod
    def _tile(shape: ProgramShape) -> int:
        return 1

    @staticmethod
    def _advance() -> Callable:
        return _interpreted if jax.default_backend() == "cpu" else _compiled

    def _lanes_a_call(self) -> int:
        return self.count // self.devices


_interpreted = functools.partial(advance_members, True)
_compiled = functools.partial(advance_members, False)


class Simd(AbstractBackend):
    """Blocks of eight lanes in SIMD registers, one thread a core; lanes are changed in place."""

    name = "simd"
    devices = 1
    tile = LANES

    def __init__(self, shape: ProgramShape, members: int):
        self.shape = shape
        self.count = _lane_count(shape, members, LANES)
        self.parallel = granted_cores()
        self.dual = DUALS[shape.activation.name]
        self.scratch = [
            _aligned(scratch_size(shape.width, shape.teacher_neurons, shape.inputs)) for _ in range(self.parallel)
        ]
        self.snapshots: Snapshots | None = None
        self.executed = np.zeros(self.count // LANES, np.int32)

    @staticmethod
    def serves(shape: ProgramShape) -> bool:
        """Whether the kernel can run this shape on this platform."""
        return (
            jax.default_backend() == "cpu"
            and shape.dtype == "float64"
            and shape.activation.name in DUALS
            and not (shape.schedules or shape.has_loss_rule or shape.has_angle_rule)
        )

    def advance(self, lanes, record_steps, budget):
        shape = self.shape
        if (
            lanes.W.shape != (self.count, shape.width, shape.inputs)
            or lanes.teacher_W.shape[1] != shape.teacher_neurons
        ):
            # The kernel checks no bounds: arrays of another shape would be written beyond their end.
            raise ValueError(f"lanes: got W {lanes.W.shape} and teacher_W {lanes.teacher_W.shape} for {shape}")
        snapshots = self._snapshots(record_steps)
        rules = lanes.rules
        arguments = (
            (*lanes[:6], lanes.start_step, lanes.end_step),
            (
                rules.step_size,
                rules.step_size_every,
                rules.decay,
                rules.decay_every,
                rules.moves_output,
                rules.moves_first,
                rules.grad_norm,
            ),
            (lanes.teacher_a, lanes.teacher_W),
            tuple(snapshots),
            record_steps,
            budget,
            self.dual,
            divergence_limit(np.dtype(np.float64)),
        )
        blocks = self.count // LANES
        # A few parts a thread, so that threads whose members end early take over from the others.
        parts = np.array_split(np.arange(blocks), min(blocks, 8 * self.parallel))
        free = list(self.scratch)

        def work(part: np.ndarray, device: Device) -> None:
            scratch = free.pop()
            advance_blocks(part[0], part[-1] + 1, *arguments, scratch, self.executed)
            free.append(scratch)

        side_by_side(work, parts)
        return lanes, snapshots, self.executed

    def _snapshots(self, record_steps: np.ndarray) -> Snapshots:
        if self.snapshots is None:
            m, d = self.shape.width, self.shape.inputs
            slots = 1 if record_steps[0] == NEVER else self.shape.slots
            self.snapshots = Snapshots(
                a=np.zeros((self.count, slots, m)),
                W=np.zeros((self.count, slots, m, d)),
                decay=np.zeros((self.count, slots)),
                count=np.zeros(self.count, np.int32),
            )
        return self.snapshots


def choose(shape: ProgramShape) -> type[AbstractBackend]:
    """The backend for a group: `simd` where it serves the shape, else `reference`; GD_ATLAS_ENGINE may ask for one.

    **Raises:** `EngineError` for a GD_ATLAS_ENGINE that does not exist or cannot run the shape.
    """
    wanted = os.environ.get("GD_ATLAS_ENGINE", "auto")
    if wanted not in ("auto", *_LIMITS, "reference"):
        raise EngineError(f"GD_ATLAS_ENGINE: got {wanted!r}; it is auto, {', '.join(_LIMITS)} or reference")
    if wanted == "auto":
        return Simd if Simd.serves(shape) else Reference
    if wanted == "reference":
        return Reference
    backend, limits = _LIMITS[wanted]
    if not backend.serves(shape):
        raise EngineError(f"GD_ATLAS_ENGINE: got {wanted!r}, which serves {limits}; take auto")
    return backend


_WITHOUT = "without optax schedules and without loss or angle rules"
_LIMITS = {
    "simd": (Simd, f"float64 on a CPU with the activations {', '.join(DUALS)}, {_WITHOUT}"),
    "fused": (Fused, f"studies {_WITHOUT}"),
}


def _lane_count(shape: ProgramShape, members: int, unit: int) -> int:
    """Lanes for so many members: no more than they need, and than the memory for lanes and snapshots allows."""
    neurons = (1 + shape.slots) * shape.width + 2 * shape.teacher_neurons
    a_lane = np.dtype(shape.dtype).itemsize * neurons * (shape.inputs + 1)
    most, memory = _MOST_LANES, _LANE_BYTES
    if jax.default_backend() != "cpu":
        # An accelerator wants many lanes; a call holds them twice, beside XLA's own arrays.
        limits = [(device.memory_stats() or {}).get("bytes_limit", 8 * _LANE_BYTES) for device in jax.local_devices()]
        most, memory = _MOST_LANES_ACCELERATOR, sum(limits) // 8
    return unit * max(1, min(-(-members // unit), most // unit, memory // a_lane // unit))


def _aligned(count: int) -> np.ndarray:
    """Doubles that begin at a cache line, so that no vector crosses one."""
    raw = np.zeros(count + LANES)
    begin = (-raw.ctypes.data // 8) % LANES
    return raw[begin : begin + count]
