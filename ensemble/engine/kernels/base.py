"""What a kernel is: a way to advance the lanes of a program."""

import abc
from typing import ClassVar

import jax
import numpy as np

from .. import devices
from ..lanes import Lanes, Snapshots
from ..program import Pool
from .resident import Resident

Advanced = tuple[Snapshots, np.ndarray]

_LANE_BYTES = 128 * 2**20
"""Memory that the lanes of a workload may take on the host."""
_MOST_LANES = 4096
_MOST_LANES_ACCELERATOR = 2**18


class AbstractKernel(abc.ABC):
    """Advances all lanes of one program by a budget of steps."""

    name: ClassVar[str]
    limits: ClassVar[str]
    """What it serves, in words."""
    devices: int
    """Equal parts that the lanes are split into."""
    tile: int
    """Lanes that advance together: a tile without an awake lane costs nothing."""
    count: int
    """Lanes in all, a multiple of devices × tile."""
    parallel: int
    """Tiles that advance at once."""
    resident: Resident | None = None
    """What holds the lanes on accelerators; None where the host's are all there are."""

    @staticmethod
    @abc.abstractmethod
    def serves(pool: Pool) -> bool:
        """Whether it can run this program on this platform."""

    @abc.abstractmethod
    def __init__(self, pool: Pool, members: int):
        """Plans lanes for so many members."""

    @abc.abstractmethod
    def advance(self, lanes: Lanes, record_steps: np.ndarray, budget: int) -> Advanced:
        """Advances `lanes` in place by at most `budget` steps; (snapshots, steps that each tile's loop ran)."""


def lane_count(pool: Pool, members: int, unit: int) -> int:
    """Lanes for so many members: no more than they need, and than the memory for lanes and snapshots allows."""

    def size(tree) -> int:
        return sum(x.dtype.itemsize * int(np.prod(x.shape)) for x in jax.tree.leaves(tree))

    like = pool.like
    a_lane = (1 + pool.program.slots) * size(like.moving.model) + size(like.moving.state) + size(like.fixed)
    most, memory = _MOST_LANES, _LANE_BYTES
    if devices.accelerated():
        # An accelerator wants many lanes; a call holds them twice, beside XLA's own arrays.
        most, memory = _MOST_LANES_ACCELERATOR, len(devices.places()) * devices.memory() // 8
    return unit * max(1, min(-(-members // unit), most // unit, memory // a_lane // unit))
