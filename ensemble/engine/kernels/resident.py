"""Lanes that stay on accelerators between two calls of a program.

The host keeps a copy of every lane. What a stage or a member's life changes is always right in it; of what a step
changes, the numbers are read back after every call, the model and the update's state only where the host asks for a
row. Rows that the host has changed go to the device before the next call, into the same memory: its arrays are donated.
(Those of the program itself are not, so that a call that found no memory can be made again in halves.)
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..devices import Device, places, side_by_side
from ..lanes import Lanes, Moving, Snapshots, put, take, zeros
from ..program import Pool


class _Part(NamedTuple):
    """The lanes of one call."""

    rows: slice
    device: Device
    lanes: Lanes | None
    """On the device; None before the first call."""


class Resident:
    """The lanes of one kernel, in calls of a fixed number of them, on every device alike.

    **Arguments:** `run`, the compiled program; `count` lanes, of which a call takes `size`; `tile` of them are counted
    together.
    """

    def __init__(self, pool: Pool, run: Callable, count: int, size: int, tile: int):
        self.pool, self.run, self.count, self.tile = pool, run, count, tile
        devices = places()
        self.each = count // len(devices)
        begins = range(0, count, size)
        self.parts = [_Part(slice(b, min(b + size, count)), devices[b // self.each], None) for b in begins]
        self.is_changed = np.ones(count, bool)
        self._aside: Snapshots | None = None

    def changed(self, rows: np.ndarray | slice) -> None:
        """The host has changed these rows."""
        self.is_changed[rows] = True

    def bring(self, lanes: Lanes, rows: np.ndarray) -> None:
        """Makes rows of the host's lanes what they are on the devices."""
        rows = np.asarray(rows)[~self.is_changed[rows]]
        for part in self.parts:
            mine = rows[(rows >= part.rows.start) & (rows < part.rows.stop)]
            if part.lanes is not None and len(mine):
                moving = _rows(part.lanes.moving, mine - part.rows.start)
                put(lanes.moving, mine, moving)

    def advance(self, lanes: Lanes, record_steps: np.ndarray, budget: int) -> tuple[Snapshots, np.ndarray]:
        """As `AbstractKernel.advance`; of what `lanes` holds, models and states are not brought."""
        executed = np.zeros(self.count // self.tile, np.int32)
        if self._aside is None:
            slots, like = self.pool.program.slots, self.pool.like.moving
            of_lane = like.model, like.decay, like.step_size
            model, decay, step_size = zeros(of_lane, self.count, slots)
            self._aside = Snapshots(model, decay, step_size, np.zeros(self.count, np.int32))

        def of_part(part: _Part, _device: Device) -> list[_Part]:
            return self._advance(part, lanes, record_steps, budget, executed)

        done = side_by_side(of_part, self.parts)
        self.parts = [part for parts in done for part in parts]
        self.is_changed[:] = False
        return self._aside, executed

    def _advance(self, part: _Part, lanes: Lanes, record_steps, budget: int, executed: np.ndarray) -> list[_Part]:
        rows, device, _ = part
        on_device = self._uploaded(part, lanes)
        try:
            moving, aside, steps = self.run(device, on_device, record_steps, np.int32(budget))
            numbers = jax.device_get((_numbers(moving), aside.count, steps))
        except jax.errors.JaxRuntimeError as error:
            size = rows.stop - rows.start
            if "RESOURCE_EXHAUSTED" not in str(error) or size == 1:
                raise
            # These lanes are as they were: the same steps again, on half of them at a time, here and from now on.
            middle = rows.start + size // 2
            halves = slice(rows.start, middle), slice(middle, rows.stop)
            split = [_Part(h, device, _slice(on_device, h.start - rows.start, h.stop - rows.start)) for h in halves]
            del on_device
            self.is_changed[rows] = False
            return [p for half in split for p in self._advance(half, lanes, record_steps, budget, executed)]
        small, count, steps = numbers
        put(_numbers(lanes.moving), rows, small)
        self._keep(rows.start, aside, count)
        lanes_a_count = (rows.stop - rows.start) // len(steps)
        np.maximum.at(executed, (rows.start + np.arange(len(steps)) * lanes_a_count) // self.tile, steps)
        return [_Part(rows, device, on_device._replace(moving=moving))]

    def _uploaded(self, part: _Part, lanes: Lanes) -> Lanes:
        new = np.flatnonzero(self.is_changed[part.rows])
        if part.lanes is None:
            return jax.device_put(take(lanes, part.rows), part.device)
        if not len(new):
            return part.lanes
        new = _padded(new)
        return _with_rows(part.lanes, new, take(lanes, part.rows.start + new))

    def _keep(self, begin: int, aside: Snapshots, count: np.ndarray) -> None:
        """Brings what was put aside, filled slots alone."""
        assert self._aside is not None
        self._aside.count[begin : begin + len(count)] = count
        lane, slot = np.nonzero(np.arange(aside.decay.shape[1])[None, :] < count[:, None])
        if len(lane):
            values = (aside.model, aside.decay, aside.step_size)
            here = (self._aside.model, self._aside.decay, self._aside.step_size)
            jax.tree.map(lambda x, v: x.__setitem__((begin + lane, slot), v), here, _rows(values, lane, slot))


def _numbers(moving: Moving) -> Moving:
    """What the host reads after every call."""
    return moving._replace(model=(), state=(), anchor=())


def _padded(rows: np.ndarray) -> np.ndarray:
    """As many rows as the next power of two, so that few programs are compiled; the first one several times."""
    return np.concatenate([rows, np.full(2 ** int(np.ceil(np.log2(len(rows)))) - len(rows), rows[0])])


def _rows(values: Any, *places: np.ndarray) -> Any:
    """Some rows of arrays on a device, on the host."""
    found = _gather(values, tuple(map(_padded, places)))
    return jax.tree.map(lambda x: np.asarray(x)[: len(places[0])], found)


@jax.jit
def _gather(values: Any, places: tuple) -> Any:
    return jax.tree.map(lambda x: x[places], values)


@functools.partial(jax.jit, donate_argnums=0)
def _with_rows(lanes: Lanes, rows: np.ndarray, values: Lanes) -> Lanes:
    return jax.tree.map(lambda x, v: x.at[rows].set(jnp.asarray(v)), lanes, values)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _slice(lanes: Lanes, begin: int, end: int) -> Lanes:
    return jax.tree.map(lambda x: x[begin:end], lanes)
