"""Reading: a run directory's shards as one labelled dataset, lazily."""

import contextlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from ..study import Study
from .boxes import Box, cut, grid
from .directory import RunDirectory, members_a_shard, no_dataset
from .files import NOT_PLAIN, has_variable, parse_name, read_variable, refuse_references
from .folders import OLD_FILE
from .labels import labelled
from .schema import (
    SCHEMA_VERSION,
    STATUS,
    SchemaError,
    StoreError,
    Variable,
    add_counts,
    adopt_layout,
    adopted,
    check,
    is_new,
    of_probe,
    sizes,
    variables,
)
from .sealed import verify_sealed
from .sharded import ShardedArray, Shards
from .survey import Survey, damage

_LISTINGS = 20
_SMALL_BYTES = 16 * 2**20
"""Variables of at most so much are one chunk and read once: reductions ask for them again and again."""


def open_dataset(path: str | os.PathLike) -> xr.Dataset:
    """Opens the dataset of a run directory, or one netCDF file of it, lazily as dask arrays.

    A partial run opens too: its attribute `complete` is 0 and the status of members without a result is `not_run`
    or `running`. Every shard's checksum is verified when the first of its values is read.

    **Raises:** `FileNotFoundError` where there is none; `SchemaError` where it is no dataset of gd-atlas; `StoreError`
    where a manifest, or later a shard, is damaged, and where neither a file nor a part that is here says what a run
    that has just begun holds.
    """
    path = Path(path)
    if RunDirectory.exists(path):
        return _open_directory(RunDirectory.open(path))
    file = path if path.suffix == ".nc" else path / OLD_FILE
    if not os.path.lexists(file):
        raise no_dataset(path)
    return _open_file(file)


def open_box(directory: RunDirectory, found: Survey, number: int) -> xr.Dataset:
    """A box that a directory keeps, partly filled or whole, its members in the order of the directory's study."""
    path = found.partial[number] if number in found.partial else found.stored[number]
    ds = _open_file(path)
    order = directory.order(number, found.writers[path])
    if order is None:
        return ds
    return ds.isel(dict(zip((*directory.study.axes, "seed"), order, strict=True)))


def _open_file(file: Path) -> xr.Dataset:
    try:
        if not file.is_file():
            raise OSError(NOT_PLAIN)
        if parse_name(file) is not None and (reason := damage(file)):
            raise OSError(reason)
        verify_sealed(file)
        refuse_references(file)
        ds = xr.open_dataset(file, engine="netcdf4", chunks={})
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise SchemaError(f"{file}: cannot be read as netCDF4: {error}") from None
    try:
        check(ds, values=False)
    except (SchemaError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        ds.close()
        raise SchemaError(f"{file}: {error}") from None
    return ds


def _open_directory(directory: RunDirectory) -> xr.Dataset:
    study = directory.study
    found, shards = _surveyed(directory)
    paths = [*found.stored.values(), *found.partial.values()]
    if study.lacks_parts and not paths:
        raise StoreError(
            f"{directory.path}: holds no file yet that says what its members have, and parts that its study names "
            "cannot be imported; bring these back, or go on with the run first"
        )
    # Files of one generation have the same sizes.
    for path in {found.writers[path]: path for path in paths}.values() if study.lacks_parts else ():
        with xr.open_dataset(path, engine="netcdf4") as ds:
            adopt_layout(study, ds)
    # Where a version before λ was stored wrote some of the files, the dataset has what all of them have.
    oldest = min((found.schemas[path] for path in paths), default=SCHEMA_VERSION)
    known = {name: v for name, v in variables(study).items() if oldest >= SCHEMA_VERSION or not is_new(name)}
    if holds_estimates(directory, found):
        known |= of_probe("loss_error", "loss_history" in known)
    edges = _chunks(study)
    size = sizes(study)
    layout = adopted(study)
    arrays = {} if layout is None else {name: _of_cells(shards, study, name, v) for name, v in layout.of_cells.items()}
    for name, variable in known.items():
        shape = (*grid(study), *(size[d] for d in variable.dims))
        dtype = np.dtype(variable.dtype or study.precision)
        lazy = indexing.LazilyIndexedArray(ShardedArray(shards, name, variable, shape, dtype))
        dims = (*study.axes, "seed", *variable.dims)
        small = math.prod(shape) * dtype.itemsize <= _SMALL_BYTES
        chunks = dict.fromkeys(dims, -1) if small else edges | dict.fromkeys(variable.dims, -1)
        arrays[name] = xr.Variable(dims, lazy).chunk(chunks).data
    complete = directory.covers_grid and len(found.stored) == len(directory.boxes)
    return labelled(study, Box.whole(study), arrays, complete, of_sessions(directory.sessions), known)


def holds_estimates(directory: RunDirectory, found: Survey) -> bool:
    """Whether the files of a directory have losses that an earlier version estimated on a test sample, where this one
    knows them exactly. It is the same in all: `refuse_estimates` sees to it."""
    study, paths = directory.study, [*found.stored.values(), *found.partial.values()]
    if study.lacks_parts or "loss" not in study.probes or "loss_error" in study.stored_probes or not paths:
        return False
    if not any(point.cell.is_sampled for point in study.points):
        return False
    with contextlib.suppress(OSError):  # a damaged file says so where it is read
        return has_variable(paths[0], "loss_error")
    return False


def refuse_estimates(directory: RunDirectory, found: Survey) -> None:
    """**Raises:** `StoreError` where members that are to come would have another kind of loss than those there are."""
    if holds_estimates(directory, found):
        raise StoreError(
            f"{directory.path}: holds losses that an earlier version estimated on a test sample, and this one knows "
            "exactly: no dataset has both; run the study into another directory, or replace it with overwrite=True"
        )


def _of_cells(shards: Shards, study: Study, name: str, variable: Variable) -> Any:
    """A variable of cells over all shards, lazily, as one chunk."""
    lazy = ShardedArray(shards, name, variable, grid(study)[:-1], np.dtype(variable.dtype), of_cells=True)
    return xr.Variable((*study.axes,), indexing.LazilyIndexedArray(lazy)).chunk().data


def _surveyed(directory: RunDirectory) -> tuple[Survey, Shards]:
    """What a directory holds and where its members are; looked at anew where a run renames files meanwhile."""
    for _ in range(_LISTINGS):
        found = directory.survey(verify=False)
        with contextlib.suppress(FileNotFoundError):
            return found, Shards(directory, found, _SMALL_BYTES)
    raise StoreError(f"{directory.path}: its files change faster than they can be read; open it again")


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


def status_counts(directory: RunDirectory, found: Survey, paths: Mapping[int, Path]) -> np.ndarray:
    """How many members of each cell have each status: shape (cell, status). `paths`: some files of a survey.

    **Raises:** `FileNotFoundError` where one is gone meanwhile.
    """
    study = directory.study
    counts = np.zeros((len(study.points), len(STATUS)), np.int64)
    for number, path in paths.items():
        status = read_variable(path, "status")
        order = directory.order(number, found.writers[path])
        status = (status if order is None else status[np.ix_(*order)]).reshape(-1)
        add_counts(counts, directory.boxes[number].members(study) // study.seeds, status)
    return counts
