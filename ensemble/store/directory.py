"""Run directories: what a run is to compute, and what of it is stored.

manifest.json   the study, its extensions, and the box of every shard
shards/         NUMBER-SHA256.nc: a box of finished members, an ordinary dataset; right or absent
partial/        the same for boxes that are being filled, and flights-SHA256.nc: the members in flight
progress.json   what the run said last
lock            who is at work
"""

import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import xarray as xr

from ..engine import Flights
from ..errors import StudyError
from ..study import Study
from .boxes import Box, cut, regions_beyond
from .changes import obstacles
from .files import (
    attributes,
    is_intact,
    parse_name,
    remove_temporaries,
    replace_file,
    text_writer,
    write_checked,
    write_netcdf,
)
from .results import Results
from .schema import StoreError, sizes, variables

LAYOUT_VERSION = 1
MANIFEST = "manifest.json"
PROGRESS = "progress.json"
OLD_FILE = "dataset.nc"
"""The one file of the layout before shards."""
_MOST_MEMBERS = 4096
"""Members of a shard."""
_MOST_BYTES = 32 * 2**20


class Generation(NamedTuple):
    """A study that a directory was asked for, and the boxes that it added to those before it."""

    study: Study
    boxes: tuple[Box, ...]
    first: int
    """The number of the first of these boxes."""


class Survey(NamedTuple):
    """What a directory holds, verified."""

    stored: dict[int, Path]
    """Shards by number."""
    partial: dict[int, Path]
    flights: Path | None
    bad: dict[Path, str]
    """Files that are not what they should be, and why."""
    twins: list[Path]
    """Whole shards of a box that is stored once more: a worker was lost after it wrote, and another computed it."""


class RunDirectory:
    """A run directory and its manifest; `boxes` are those of the newest study."""

    def __init__(self, path: Path, generations: list[Generation], sessions: list[dict[str, Any]]):
        self.path, self.generations, self.sessions = path, generations, sessions
        study = generations[-1].study
        self.study = study
        self.boxes: dict[int, Box] = {
            generation.first + i: box if generation.study is study else box.moved(generation.study, study)
            for generation in generations
            for i, box in enumerate(generation.boxes)
        }

    # -- opening and making ------------------------------------------------------------------------

    @classmethod
    def open(cls, path: Path) -> Self:
        """The directory at `path`.

        **Raises:** `FileNotFoundError` where there is none; `StoreError` where its manifest cannot be used.
        """
        file = path / MANIFEST
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
            version = manifest["layout_version"]
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{file}: cannot be read: {error!r}; the shards beside it are whole: bring back a copy of the "
                "manifest, or run the study into another directory"
            ) from None
        if version > LAYOUT_VERSION:
            raise StoreError(
                f"{file}: got layout_version {version}, this version of gd-atlas reads up to {LAYOUT_VERSION}; update "
                "gd-atlas"
            )
        generations, first = [], 0
        for entry in manifest["generations"]:
            study = Study.from_json(json.dumps(entry["study"]))
            boxes = tuple(Box.from_runs(runs) for runs in entry["boxes"])
            generations.append(Generation(study, boxes, first))
            first += len(boxes)
        return cls(path, generations, manifest["sessions"])

    @classmethod
    def make(cls, path: Path, study: Study, wanted: Sequence[Box] | None = None) -> Self:
        """A new directory for a study, or for some boxes of it; `path` must exist."""
        boxes = _cut([Box.whole(study)] if wanted is None else wanted, study)
        made = cls(path, [Generation(study, boxes, 0)], [])
        for name in ("shards", "partial"):
            (path / name).mkdir(exist_ok=True)
        made.save()
        return made

    @classmethod
    def clear(cls, path: Path) -> None:
        """Removes what a run wrote to `path`, of this layout or the one before; other files stay."""
        for name in ("shards", "partial"):
            shutil.rmtree(path / name, ignore_errors=True)
        for name in (MANIFEST, PROGRESS, OLD_FILE):
            (path / name).unlink(missing_ok=True)

    def extended(self, study: Study, wanted: Sequence[Box] | None = None) -> Self:
        """This directory for a study that adds seeds or axis values to its own, or for some new boxes of such a study.

        **Raises:** `StudyError` with the difference, field by field, where it is another study.
        """
        changed = obstacles(self.study, study)
        if changed:
            raise StudyError(
                f"out: {self.path} holds a dataset of another study, which differs in:\n  "
                + "\n  ".join(changed)
                + "\ntake another directory, or replace it with overwrite=True"
            )
        beyond = [Box(region) for region in regions_beyond(self.study, study)]
        boxes = _cut(beyond if wanted is None else wanted, study)
        made = type(self)(self.path, [*self.generations, Generation(study, boxes, len(self.boxes))], self.sessions)
        there = np.zeros(study.members, bool)
        for box in made.boxes.values():
            members = box.members(study)
            if there[members].any():
                raise ValueError("boxes: got members that the directory has already; ask only for new ones")
            there[members] = True
        made.save()
        return made

    def save(self) -> None:
        manifest = {
            "layout_version": LAYOUT_VERSION,
            "generations": [
                {"study": g.study.resolved(), "study_hash": g.study.hash, "boxes": [box.runs() for box in g.boxes]}
                for g in self.generations
            ],
            "sessions": self.sessions,
        }
        replace_file(self.path / MANIFEST, text_writer(json.dumps(manifest)))

    @property
    def covers_grid(self) -> bool:
        """Whether every member of the grid is in a box."""
        return sum(box.size for box in self.boxes.values()) == self.study.members

    # -- what is stored ----------------------------------------------------------------------------

    @property
    def shards(self) -> Path:
        return self.path / "shards"

    @property
    def partial(self) -> Path:
        return self.path / "partial"

    def survey(self, verify: bool = True) -> Survey:
        """What the directory holds; with `verify` every checksum is computed and every file's origin looked at."""
        bad: dict[Path, str] = {}
        twins: list[Path] = []
        stored, _ = self._numbered(self.shards, verify, bad, twins)
        partial, others = self._numbered(self.partial, verify, bad, [])
        flights = [path for stem, path in others if stem == "flights"]
        return Survey(stored, partial, flights[-1] if flights else None, bad, twins)

    def _numbered(self, folder: Path, verify: bool, bad: dict[Path, str], older: list[Path]):
        """(newest paths by box number, the others as (stem, path)) of a folder's checked files."""
        named = [(path, parse_name(path)) for path in _listed(folder)]
        found = [(path, name[0]) for path, name in named if name is not None]
        if verify:
            with ThreadPoolExecutor() as pool:
                intact = list(pool.map(is_intact, (path for path, _ in found)))
            bad |= {path: "its checksum is wrong" for (path, _), right in zip(found, intact, strict=True) if not right}
        numbered: dict[int, Path] = {}
        others = []
        hashes = {generation.study.hash for generation in self.generations}
        for path, stem in found:
            if path in bad:
                continue
            if not stem.isdigit():
                others.append((stem, path))
            elif int(stem) not in self.boxes:
                bad[path] = "its number is not one of this run's"
            elif verify and (reason := _foreign(path, int(stem), hashes)):
                bad[path] = reason
            else:
                older += [numbered[int(stem)]] if int(stem) in numbered else []
                numbered[int(stem)] = path
        return numbered, others

    def set_aside(self, path: Path) -> None:
        """Takes a bad file out of the way without deleting it."""
        os.replace(path, path.with_name(f"{path.name}.damaged"))

    def remove_temporaries(self) -> None:
        for folder in (self.path, self.shards, self.partial):
            remove_temporaries(folder)

    # -- writing -----------------------------------------------------------------------------------

    def write_shard(self, number: int, results: Results, provenance: Mapping[str, Any]) -> Path:
        path = write_shard(self.shards, number, results, provenance)
        self._drop_partial(f"{number:06}")
        return path

    def write_partial(
        self, open_results: Mapping[int, Results], flights: list[Flights], provenance: Mapping[str, Any]
    ) -> None:
        """Keeps boxes that are being filled, then the members in flight.

        In this order: flights are never newer than the boxes, whose later records a resumed member writes again.
        """
        for number, results in open_results.items():
            kept = write_shard(self.partial, number, results, provenance)
            self._drop_partial(f"{number:06}", kept)
        table = _flights_dataset(self.study, flights)
        kept = write_checked(self.partial, "flights", lambda temporary: write_netcdf(table, temporary))
        self._drop_partial("flights", kept)

    def drop_partial(self) -> None:
        """Removes all that was kept of a run that is now complete."""
        for path in _listed(self.partial):
            if parse_name(path):
                path.unlink(missing_ok=True)

    def _drop_partial(self, stem: str, but: Path | None = None) -> None:
        for path in _listed(self.partial):
            named = parse_name(path)
            if named and named[0] == stem and path != but:
                path.unlink(missing_ok=True)

    def write_progress(self, progress: Mapping[str, Any]) -> None:
        replace_file(self.path / PROGRESS, text_writer(json.dumps(progress)))

    def read_flights(self, path: Path | None) -> Flights | None:
        """The members in flight that a run kept; None where there are none, or they are those of an earlier study."""
        if path is None or attributes(path)["study_hash"] != self.study.hash:
            return None
        with xr.open_dataset(path, engine="netcdf4") as table:
            return Flights(*(table[name].values for name in Flights._fields))


def write_shard(folder: Path, number: int, results: Results, provenance: Mapping[str, Any]) -> Path:
    """Writes a box as NUMBER-SHA256.nc."""
    ds = results.dataset({**provenance, "shard": number})
    return write_checked(folder, f"{number:06}", lambda temporary: write_netcdf(ds, temporary))


def bytes_a_member(study: Study) -> int:
    """What the results of one member take."""
    size = sizes(study)
    return sum(
        np.dtype(v.dtype or study.precision).itemsize * math.prod(size[d] for d in v.dims)
        for v in variables(study).values()
    )


def _cut(boxes: Sequence[Box], study: Study) -> tuple[Box, ...]:
    return tuple(part for box in boxes for part in cut(box.indices, members_a_shard(study)))


def members_a_shard(study: Study) -> int:
    """Thousands of members, fewer where they are large."""
    return max(1, min(_MOST_MEMBERS, _MOST_BYTES // bytes_a_member(study)))


def _listed(folder: Path) -> list[Path]:
    """A folder's files, the oldest first."""

    def age(path: Path) -> int:
        try:
            return path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    return sorted(folder.iterdir(), key=lambda p: (age(p), p.name)) if folder.is_dir() else []


def _foreign(path: Path, number: int, hashes: set[str]) -> str | None:
    """Why a whole file is none of this run's."""
    try:
        found = attributes(path)
        if found["study_hash"] not in hashes:
            return "it belongs to another study"
        if int(found["shard"]) != number:
            return f"it is number {found['shard']} under another name"
    except (OSError, KeyError, ValueError) as error:
        return f"it is no shard: {error}"
    return None


def _flights_dataset(study: Study, flights: list[Flights]) -> xr.Dataset:
    """Members in flight as one table; neurons and inputs that a member does not have are zeros."""
    size = sizes(study)
    count = sum(len(f.members) for f in flights)
    precision = np.dtype(study.precision)
    arrays: dict[str, np.ndarray] = {name: np.zeros(count, np.int64) for name in Flights._fields[:5]}
    arrays["a"] = np.zeros((count, size["neuron"]), precision)
    arrays["W"] = np.zeros((count, size["neuron"], size["input"]), precision)
    begin = 0
    for one in flights:
        rows = slice(begin, begin + len(one.members))
        for name, values in one._asdict().items():
            arrays[name][(rows, *(slice(0, n) for n in values.shape[1:]))] = values
        begin += len(one.members)
    dims = ("member", "neuron", "input")
    return xr.Dataset(
        {name: (dims[: array.ndim], array) for name, array in arrays.items()}, attrs={"study_hash": study.hash}
    )
