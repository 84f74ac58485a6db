"""Reading: a run directory's shards as one labelled dataset, lazily."""

import math
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dask.config
import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from ..study import Study
from .boxes import Box, cut, grid
from .directory import MANIFEST, OLD_FILE, RunDirectory, members_a_shard
from .files import digest, parse_name, read_variable, replace_file, write_netcdf
from .labels import labelled
from .schema import STATUS, SchemaError, StoreError, Variable, add_counts, check, sizes, variables


def open_dataset(path: str | os.PathLike) -> xr.Dataset:
    """Opens the dataset of a run directory, or one netCDF file of it, lazily as dask arrays.

    A partial run opens too: its attribute `complete` is 0 and the status of members without a result is `not_run`
    or `running`. Every shard's checksum is verified when the first of its values is read.

    **Raises:** `FileNotFoundError` where there is none; `SchemaError` where it is no dataset of gd-atlas; `StoreError`
    where a manifest, or later a shard, is damaged.
    """
    path = Path(path)
    if (path / MANIFEST).exists():
        return _open_directory(RunDirectory.open(path))
    file = path if path.suffix == ".nc" else path / OLD_FILE
    if not file.exists():
        raise FileNotFoundError(f"{path}: holds no dataset ({MANIFEST}); make one with `python -m ensemble run`")
    return _open_file(file)


def collect(directory: str | os.PathLike, file: str | os.PathLike) -> Path:
    """Writes the dataset of a run directory as one compressed netCDF4 file; memory is that of a few shards.

    **Raises:** those of `open_dataset`; `StoreError` where the file cannot be written.
    """
    target = Path(file)
    with open_dataset(directory) as ds:
        if not target.parent.is_dir():
            raise StoreError(f"{target}: cannot be written: {target.parent} is no directory; make it first")
        # One chunk after another: memory does not grow with the number of threads.
        with dask.config.set(scheduler="synchronous"):
            replace_file(target, lambda temporary: write_netcdf(ds, temporary, compress=True))
    return target


def _open_file(file: Path) -> xr.Dataset:
    try:
        ds = xr.open_dataset(file, engine="netcdf4", chunks={})
    except (OSError, ValueError) as error:
        raise SchemaError(f"{file}: cannot be read as netCDF4: {error}") from None
    try:
        check(ds, values=False)
    except (SchemaError, ValueError) as error:
        ds.close()
        raise SchemaError(f"{file}: {error}") from None
    return ds


def _open_directory(directory: RunDirectory) -> xr.Dataset:
    study = directory.study
    found = directory.survey(verify=False)
    shards = _Shards(study, directory.boxes, found.partial | found.stored)
    edges = _chunks(study)
    size = sizes(study)
    arrays = {}
    for name, variable in variables(study).items():
        shape = (*grid(study), *(size[d] for d in variable.dims))
        dtype = np.dtype(variable.dtype or study.precision)
        lazy = indexing.LazilyIndexedArray(_ShardedArray(shards, name, variable, shape, dtype))
        dims = (*study.axes, "seed", *variable.dims)
        small = math.prod(shape) * dtype.itemsize <= _SMALL_BYTES
        chunks = dict.fromkeys(dims, -1) if small else edges | dict.fromkeys(variable.dims, -1)
        arrays[name] = xr.Variable(dims, lazy).chunk(chunks).data
    complete = directory.covers_grid and len(found.stored) == len(directory.boxes)
    return labelled(study, Box.whole(study), arrays, complete, of_sessions(directory.sessions))


def of_sessions(sessions: list[dict[str, Any]]) -> dict[str, Any]:
    """Provenance of the newest session, work and time of all of them."""
    if not sessions:
        return {}
    steps, lane_steps = (sum(s[name] for s in sessions) for name in ("member_steps", "lane_steps"))
    engines = sorted({name for s in sessions for name in s["engine"].split(", ") if name})
    return {k: v for k, v in sessions[-1].items() if k != "lane_steps"} | {
        "wall_time": round(sum(s["wall_time"] for s in sessions), 3),
        "engine": ", ".join(engines),
        "member_steps": steps,
        "lane_efficiency": round(steps / lane_steps, 6) if lane_steps else 1.0,
    }


def _chunks(study: Study) -> dict[str, tuple[int, ...]]:
    """Chunk sizes along axes and seeds: those of the shards that the whole study would be cut into."""
    boxes = list(cut(Box.whole(study).indices, members_a_shard(study)))
    chunks = {}
    for i, name in enumerate((*study.axes, "seed")):
        sizes_at = {int(box.indices[i][0]): len(box.indices[i]) for box in boxes}
        chunks[name] = tuple(sizes_at[first] for first in sorted(sizes_at))
    return chunks


_SMALL_BYTES = 16 * 2**20
"""Variables of at most so much are one chunk and read once: reductions ask for them again and again."""
_KEPT_BYTES = 128 * 2**20


class _Shards:
    """Where every member of a study is stored."""

    def __init__(self, study: Study, boxes: Mapping[int, Box], paths: Mapping[int, Path]):
        self.paths = paths
        self.boxes = {number: boxes[number] for number in paths}
        self.owner = np.full(grid(study), -1, np.int32)
        for number, box in self.boxes.items():
            self.owner[np.ix_(*box.indices)] = number
        self.token = tuple(sorted((number, path.name) for number, path in paths.items()))
        self._forget()

    def _forget(self) -> None:
        self.kept: dict[str, np.ndarray] = {}
        self.room = _KEPT_BYTES
        self.reading = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """What goes to another process: where members are, not what was read of them."""
        return {"paths": self.paths, "boxes": self.boxes, "owner": self.owner, "token": self.token}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._forget()

    def whole(self, name: str, size: int, read: Callable[[], np.ndarray]) -> np.ndarray | None:
        """A variable of all shards, kept for as long as the dataset is; None where it is too large for that."""
        if name not in self.kept and size > min(_SMALL_BYTES, self.room):
            return None
        with self.reading:
            if name not in self.kept and size <= self.room:
                self.kept[name] = read()
                # Slices share this memory: xarray copies what it hands out, and nothing else may write here.
                self.kept[name].setflags(write=False)
                self.room -= size
        return self.kept.get(name)

    def read(self, number: int, name: str, indices: tuple[np.ndarray, ...]) -> np.ndarray:
        """A variable of a shard at indices of the shard, whole in its other dimensions."""
        path = self.paths[number]
        _verify(path)
        try:
            # Rectangles are read at once; anything else is chosen out of the rectangle around it.
            values = read_variable(path, name, tuple(slice(int(i.min()), int(i.max()) + 1) for i in indices))
        except (OSError, KeyError) as error:
            raise StoreError(f"{path}: cannot be read: {error}; {_REDO}") from None
        return values[np.ix_(*(i - i.min() for i in indices))]


_REDO = "run the study again on this directory: it verifies every shard and computes again what is damaged"
_verified: dict[Path, tuple[int, int]] = {}


def _verify(path: Path) -> None:
    """Compares a shard with the checksum in its name, once a process as long as the file does not change."""
    try:
        state = path.stat()
        stamp = (state.st_mtime_ns, state.st_size)
        if _verified.get(path) != stamp:
            named = parse_name(path)
            if named is None or digest(path) != named[1]:
                raise StoreError(f"{path}: is damaged: its checksum is wrong; {_REDO}")
            _verified[path] = stamp
    except FileNotFoundError:
        raise StoreError(f"{path}: is gone: the run went on since the dataset was opened; open it again") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error}; {_REDO}") from None


def _places(indices: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each wanted index stands among increasing ones; −1 where it does not."""
    place = np.minimum(np.searchsorted(indices, wanted), len(indices) - 1)
    return np.where(indices[place] == wanted, place, -1)


class _ShardedArray(BackendArray):
    """One variable over all shards; members that no shard has are `not_run`."""

    def __init__(self, shards: _Shards, name: str, variable: Variable, shape: tuple[int, ...], dtype: np.dtype):
        self.shards, self.name, self.variable, self.shape, self.dtype = shards, name, variable, shape, dtype

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
        shards = self.shards
        ranks = len(shards.owner.shape)
        wanted = tuple(np.atleast_1d(np.arange(n)[k]) for k, n in zip(key[:ranks], self.shape, strict=False))
        found = np.full((*map(len, wanted), *self.shape[ranks:]), self.variable.fill, self.dtype)
        for number in np.unique(shards.owner[np.ix_(*wanted)]):
            if number < 0:
                continue
            places = [_places(i, w) for i, w in zip(shards.boxes[number].indices, wanted, strict=True)]
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


def status_counts(directory: RunDirectory, paths: Mapping[int, Path]) -> np.ndarray:
    """How many members of each cell have each status: shape (cell, status). `paths`: files that a survey verified."""
    study = directory.study
    counts = np.zeros((len(study.points), len(STATUS)), np.int64)
    for number, path in paths.items():
        status = read_variable(path, "status").reshape(-1)
        add_counts(counts, directory.boxes[number].members(study) // study.seeds, status)
    return counts
