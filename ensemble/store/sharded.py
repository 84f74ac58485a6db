"""One variable over the shards of a run directory, read lazily and verified before the first of its values."""

import contextlib
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from .boxes import grid
from .directory import RunDirectory
from .files import parse_name, read_variable
from .schema import FINISHED, StoreError, Variable
from .survey import Survey, damage

_KEPT_BYTES = 128 * 2**20


class Shards:
    """Where every member of a study is stored.

    A run may go on meanwhile: a box that is being filled is kept in ever newer files. Its members' status stays what
    it was when the dataset was opened; other values may come of a newer file, where those of finished members are the
    same.

    **Raises:** `FileNotFoundError` where a file of the survey is gone already.
    """

    def __init__(self, directory: RunDirectory, found: Survey, small: int):
        """`small`: variables of at most so many bytes are read once."""
        self.small = small
        self.directory, self.study_hash = directory.path, directory.study.hash
        # A file that is not what it should be is kept where no other has its box: who reads it is told.
        bad = {p: named for p in found.bad if p.parent == directory.shards and (named := parse_name(p))}
        paths = {int(stem): p for p, (stem, _) in bad.items() if stem.isdigit() and int(stem) in directory.boxes}
        self.reasons = {p: found.bad[p] for p in paths.values()}
        self.paths = paths | found.partial | found.stored
        self.orders = _orders(directory, found)
        self.boxes = {number: directory.boxes[number] for number in self.paths}
        self.owner = np.full(grid(directory.study), -1, np.int32)
        for number, box in self.boxes.items():
            self.owner[np.ix_(*box.indices)] = number
        self.token = tuple(sorted((number, path.name) for number, path in self.paths.items()))
        self.statuses: dict[int, np.ndarray] = {}
        for number in found.partial.keys() - found.stored.keys():
            if reason := damage(found.partial[number]):
                self.reasons[found.partial[number]] = reason
            else:
                self.statuses[number] = _status(found.partial[number], self.orders.get(number))
        self._forget()

    def _forget(self) -> None:
        self.kept: dict[str, np.ndarray] = {}
        self.room = _KEPT_BYTES
        self.reading, self.listing = threading.Lock(), threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """What goes to another process: where members are, not what was read of them."""
        own = ("kept", "room", "reading", "listing")
        return {name: value for name, value in self.__dict__.items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._forget()

    def whole(self, name: str, size: int, read: Callable[[], np.ndarray]) -> np.ndarray | None:
        """A variable of all shards, kept for as long as the dataset is; None where it is too large for that."""
        if name not in self.kept and size > min(self.small, self.room):
            return None
        with self.reading:
            if name not in self.kept and size <= self.room:
                self.kept[name] = read()
                # Slices share this memory: xarray copies what it hands out, and nothing else may write here.
                self.kept[name].setflags(write=False)
                self.room -= size
        return self.kept.get(name)

    def read(self, number: int, name: str, places: tuple[np.ndarray, ...]) -> np.ndarray:
        """A variable of a box at places along its increasing indices, whole in its other dimensions."""
        if name == "status" and number in self.statuses:
            return self.statuses[number][np.ix_(*places)]
        for _ in range(_LISTINGS):
            path, order = self.paths[number], self.orders.get(number)
            indices = places if order is None else tuple(o[p] for o, p in zip(order, places, strict=False))
            try:
                return self._read(path, name, indices)
            except FileNotFoundError:
                with self.listing, contextlib.suppress(FileNotFoundError):
                    self._list_anew(number, path)
        raise StoreError(f"{self.directory}: its files change faster than they can be read; {_REOPEN}")

    def _read(self, path: Path, name: str, indices: tuple[np.ndarray, ...]) -> np.ndarray:
        reason = self.reasons.get(path) or damage(path)
        if reason:
            raise StoreError(f"{path}: is damaged: {reason}; {_REDO}")
        try:
            # Rectangles are read at once; anything else is chosen out of the rectangle around it.
            values = read_variable(path, name, tuple(slice(int(i.min()), int(i.max()) + 1) for i in indices))
        except FileNotFoundError:
            raise
        except (OSError, KeyError, RuntimeError) as error:
            raise StoreError(f"{path}: cannot be read: {error}; {_REDO}") from None
        return values[np.ix_(*(i - i.min() for i in indices))]

    def _list_anew(self, number: int, gone: Path) -> None:
        """Finds the files that took the place of those that are gone."""
        if self.paths[number] != gone:
            return  # another thread did
        try:
            directory = RunDirectory.open(self.directory)
        except FileNotFoundError:
            raise StoreError(f"{gone}: is gone, and its directory with it; bring it back and {_REOPEN}") from None
        found = directory.survey(verify=False)
        newer = (found.partial | found.stored).get(number)
        if newer is None or directory.study.hash != self.study_hash:
            raise StoreError(f"{gone}: is gone: the run went on since the dataset was opened; {_REOPEN}") from None
        order = _orders(directory, found).get(number)
        if number in self.statuses:
            now = _status(newer, order)
            if (now[self.statuses[number] >= FINISHED] < FINISHED).any():
                raise StoreError(f"{gone}: is gone, and members that it had are computed again; {_REOPEN}") from None
        self.paths = self.paths | {number: newer}
        self.orders = {n: o for n, o in self.orders.items() if n != number} | ({} if order is None else {number: order})


def _status(path: Path, order: tuple[np.ndarray, ...] | None) -> np.ndarray:
    status = read_variable(path, "status")
    return status if order is None else status[np.ix_(*order)]


_LISTINGS = 20
_REOPEN = "open it again"
_REDO = "run the study again on this directory: it verifies every shard and computes again what is damaged"


def _orders(directory: RunDirectory, found: Survey) -> dict[int, tuple[np.ndarray, ...]]:
    """Where increasing indices stand in the files of boxes, for those where they do not increase there."""
    current = found.partial | found.stored
    orders = {number: directory.order(number, found.writers[path]) for number, path in current.items()}
    return {number: order for number, order in orders.items() if order is not None}


def _places(indices: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each wanted index stands among increasing ones; −1 where it does not."""
    place = np.minimum(np.searchsorted(indices, wanted), len(indices) - 1)
    return np.where(indices[place] == wanted, place, -1)


class ShardedArray(BackendArray):
    """One variable over all shards; members that no shard has are `not_run`.

    A variable of cells, and not of members, is read of any shard that has some of the cell's.
    """

    def __init__(
        self, shards: Shards, name: str, variable: Variable, shape: tuple[int, ...], dtype: np.dtype, of_cells=False
    ):
        self.shards, self.name, self.variable, self.shape, self.dtype = shards, name, variable, shape, dtype
        self.owner = shards.owner.max(axis=-1) if of_cells else shards.owner

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._outer)

    def __dask_tokenize__(self) -> Any:
        return (type(self).__name__, self.name, self.shape, self.shards.token)

    def _outer(self, key: tuple[Any, ...]) -> np.ndarray:
        size = math.prod(self.shape) * self.dtype.itemsize
        everything = tuple(slice(None) for _ in self.shape)
        whole = self.shards.whole(self.name, size, lambda: self._read(everything))
        return self._read(key) if whole is None else _chosen(whole, key)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        shards, ranks = self.shards, self.owner.ndim
        wanted = tuple(np.atleast_1d(np.arange(n)[k]) for k, n in zip(key[:ranks], self.shape, strict=False))
        found = np.full((*map(len, wanted), *self.shape[ranks:]), self.variable.fill, self.dtype)
        for number in np.unique(self.owner[np.ix_(*wanted)]):
            if number < 0:
                continue
            places = [_places(i, w) for i, w in zip(shards.boxes[number].indices, wanted, strict=False)]
            values = shards.read(number, self.name, tuple(p[p >= 0] for p in places))
            # A shard knows only the neurons and inputs that its own study had; what is beyond is 0.
            padded = np.zeros((*values.shape[:ranks], *self.shape[ranks:]), self.dtype)
            padded[tuple(map(slice, values.shape))] = values
            found[np.ix_(*(np.flatnonzero(p >= 0) for p in places))] = padded
        rest = [0 if isinstance(k, int | np.integer) else slice(None) for k in key[:ranks]]
        return _chosen(found, (*rest, *key[ranks:]))


def _chosen(values: np.ndarray, key: tuple[Any, ...]) -> np.ndarray:
    """An outer product of choices: one dimension after the other, the last first."""
    for axis, k in reversed([*enumerate(key)]):
        values = values[(slice(None),) * axis + (k,)]
    return values
