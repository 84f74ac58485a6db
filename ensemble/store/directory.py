"""Run directories: what a run is to compute, and what of it is stored.

manifest.json   the study, its extensions, and the box of every shard; manifest.copy.json the same
shards/         NUMBER-SHA256.nc: a box of finished members, an ordinary dataset; right or absent
partial/        the same for boxes that are being filled, and flights-SHA256.nc: the members in flight
progress.json   what the run said last
verified.json   size and time of change of the files whose checksums a run computed
lock            who is at work
"""

import contextlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..engine import Flights
from ..study import Study
from ..study.errors import StudyError
from ..study.identity import with_words
from .boxes import Box, cut, regions_beyond
from .changes import obstacles
from .files import attributes, parse_name, remove_temporaries, replace_file, text_writer, write_checked, write_netcdf
from .flights import flights_dataset, read_flights
from .generations import Generation, entries_of, generations_of, refuse_overlaps
from .manifest import COPY, LAYOUT_VERSION, MANIFEST, Manifest, SessionEntry
from .results import Results
from .schema import StoreError, sizes, variables
from .survey import Origin, Survey, listed, remember, survey, written

PROGRESS = "progress.json"
FOLDERS = ("shards", "partial")
_MOST_MEMBERS = 4096
"""Members of a shard."""
_MOST_BYTES = 32 * 2**20


def no_dataset(path: Path) -> FileNotFoundError:
    """What is said of a path where there is none."""
    return FileNotFoundError(f"{path}: holds no dataset ({MANIFEST}); make one with `python -m ensemble run`")


class RunDirectory:
    """A run directory and its manifest; `boxes` are those of the newest study."""

    def __init__(self, path: Path, generations: list[Generation], sessions: list[dict[str, Any]]):
        self.path, self.generations, self.sessions = path, generations, sessions
        self.keeps = 0
        """How often members in flight were kept, in all runs of the command whose files are there."""
        self.damaged_manifest: str | None = None
        """What is wrong with the manifest where its copy was taken."""
        self.study = generations[-1].study
        self.added: dict[int, tuple[int, Box]] = {
            generation.first + i: (which, box)
            for which, generation in enumerate(generations)
            for i, box in enumerate(generation.boxes)
        }
        """The generation of every box, and the box in that generation's study."""
        self.boxes: dict[int, Box] = {number: self._box(number, len(generations) - 1) for number in self.added}
        self._writers = {name: which for which, g in enumerate(generations) for name in (g.study.hash, *g.earlier)}

    def _box(self, number: int, which: int) -> Box:
        """A box in the study of the generation `which`, not before its own."""
        own, box = self.added[number]
        return box if own == which else box.moved(self.generations[own].study, self.generations[which].study)

    # -- opening and making ------------------------------------------------------------------------

    @classmethod
    def exists(cls, path: Path) -> bool:
        """Whether there is a manifest, whole or not."""
        return any(os.path.lexists(path / name) for name in (MANIFEST, COPY))

    @classmethod
    def open(cls, path: Path) -> Self:
        """The directory at `path`.

        **Raises:** `FileNotFoundError` where there is none; `StoreError` where its manifest cannot be used.
        """
        if not cls.exists(path):
            raise no_dataset(path)
        manifest, damaged = Manifest.read(path)
        try:
            made = cls(path, generations_of(manifest), [s.model_dump() for s in manifest.sessions])
        except (StudyError, ValueError, KeyError, TypeError, IndexError) as error:
            raise StoreError(f"{path / MANIFEST}: cannot be used: {error}; {Manifest.WAY_OUT}") from None
        made.damaged_manifest = damaged
        return made

    @classmethod
    def make(cls, path: Path, study: Study, wanted: Sequence[Box] | None = None) -> Self:
        """A new directory for a study, or for some boxes of it; `path` must exist."""
        boxes = _cut([Box.whole(study)] if wanted is None else wanted, study)
        made = cls(path, [Generation(study, boxes, 0)], [])
        made.make_folders()
        remove_temporaries(path)
        made.save()
        return made

    def make_folders(self) -> None:
        """Makes the folders of a directory where they are missing, as in a copy that left empty ones out."""
        for name in FOLDERS:
            listed(self.path / name)
            (self.path / name).mkdir(exist_ok=True)

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
        refuse_overlaps(made.boxes, study)
        made.save()
        return made

    def renamed(self, study: Study) -> Self:
        """This directory with the name and the question of a study, and all else as it was stored."""
        last = self.generations[-1]
        text = with_words(last.study.text, study.text)
        if text == last.study.text:
            return self
        again = last._replace(study=Study.stored(text))
        made = type(self)(self.path, [*self.generations[:-1], again], self.sessions)
        made.save()
        return made

    def save(self) -> None:
        """Writes the manifest, and its copy."""
        sessions = tuple(SessionEntry.model_validate(s) for s in self.sessions)
        Manifest(layout_version=LAYOUT_VERSION, generations=entries_of(self.generations), sessions=sessions).write(
            self.path
        )

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
        """What the directory holds; with `verify` every checksum is computed, else those of files that changed."""
        return survey(self.shards, self.partial, self._judge, verify)

    def _judge(self, origin: Origin) -> int | str:
        """The generation in whose study a file numbers its members, or why it is none of this run's."""
        if origin.number not in self.added:
            return "its number is not one of this run's"
        which = self._writers.get(origin.study_hash)
        if which is None:
            return "it belongs to another study"
        study = self.generations[which].study
        try:
            axes = [*json.loads(origin.study)["axes"]]
        except (ValueError, KeyError, TypeError):
            return "it holds no study"
        if axes != [*study.axes]:  # earlier identities do not say so
            return "it belongs to a study with its axes in another order"
        if which < self.added[origin.number][0] or origin.box != json.dumps(self._box(origin.number, which).runs()):
            return f"its box is not that of shard {origin.number}"
        return which

    def order(self, number: int, which: int) -> tuple[np.ndarray, ...] | None:
        """Where a box's indices stand in its file, which was written in generation `which`; None: as they are."""
        here, there = self.generations[-1].study, self.generations[which].study
        return None if here is there else self._box(number, which).order(there, here)

    def set_aside(self, path: Path) -> Path:
        """Takes a bad file out of the way without deleting it, or another that was."""
        aside = path.with_name(f"{path.name}.damaged")
        count = 1
        while os.path.lexists(aside):
            count += 1
            aside = path.with_name(f"{path.name}.{count}.damaged")
        os.replace(path, aside)
        return aside

    def trust(self, name: str) -> None:
        """Takes the word of a worker, who computed the checksum of a shard that it wrote."""
        with contextlib.suppress(FileNotFoundError):  # a file system may show it later
            written(self.shards / name)

    def mend_manifest(self) -> None:
        """Sets a damaged manifest aside, and sees to it that there are two that say the same."""
        if self.damaged_manifest and os.path.lexists(self.path / MANIFEST):
            self.set_aside(self.path / MANIFEST)
        if (self.path / COPY).is_dir():  # which nothing can be renamed to
            self.set_aside(self.path / COPY)
        if not Manifest.is_kept_twice(self.path):
            self.save()
        self.damaged_manifest = None

    def remember(self) -> None:
        """Leaves word of the files whose checksums this process computed, so that others need not."""
        with contextlib.suppress(StoreError):  # that nobody can be told is no reason to stop
            remember(self.path, [*listed(self.shards), *listed(self.partial)])

    def remove_temporaries(self) -> None:
        """Removes what killed runs and their workers left half written; only for who holds the lock."""
        for folder in (self.path, self.shards, self.partial):
            remove_temporaries(folder)
        for token in self.path.glob(".shared.*"):
            token.unlink(missing_ok=True)

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
        self.keeps += 1
        for number, results in open_results.items():
            kept = write_shard(self.partial, number, results, {**provenance, "keep": self.keeps})
            self._drop_partial(f"{number:06}", kept)
        table = flights_dataset(self.study, flights).assign_attrs(keep=self.keeps)
        kept = written(write_checked(self.partial, "flights", lambda temporary: write_netcdf(table, temporary)))
        self._drop_partial("flights", kept)

    def finish(self) -> None:
        """Removes what was kept of a run that is now complete, and shards that were written twice.

        **Raises:** `StoreError` where a box has no shard.
        """
        found = self.survey(verify=False)
        missing = self.boxes.keys() - found.stored.keys()
        if missing:
            raise StoreError(
                f"{self.path}: shard {min(missing)} is not stored ({len(missing)} are missing); run the same command "
                "again: it computes what is missing"
            )
        for path in [*found.twins, *found.partial.values(), *([found.flights] if found.flights else [])]:
            path.unlink(missing_ok=True)
        for number in found.partial:
            self._drop_partial(f"{number:06}")
        self._drop_partial("flights")

    def _drop_partial(self, stem: str, but: Path | None = None) -> None:
        for path in listed(self.partial):
            named = parse_name(path)
            if named and named[0] == stem and path != but:
                path.unlink(missing_ok=True)

    def write_progress(self, progress: Mapping[str, Any]) -> None:
        replace_file(self.path / PROGRESS, text_writer(json.dumps(progress)))

    def go_on_counting(self, found: Survey) -> None:
        """Numbers what this run keeps after all that is there."""
        there = [*found.partial.values(), *([found.flights] if found.flights else [])]
        self.keeps = max(map(_keep, there), default=0)

    def fly_on(self, found: Survey, number: int) -> bool:
        """Whether the members in flight are not newer than a box, whose records they would leave out otherwise."""
        return found.flights is not None and _keep(found.flights) <= _keep(found.partial[number])

    def read_flights(self, path: Path | None) -> tuple[Flights, ...]:
        """The members in flight that a run kept; none where they are those of an earlier study."""
        last = self.generations[-1]
        return () if path is None else read_flights(path, (last.study.hash, *last.earlier))


def _keep(path: Path) -> int:
    """The number of the keep that wrote a file; earlier versions did not count."""
    return int(attributes(path, "keep").get("keep", 0))


def write_shard(folder: Path, number: int, results: Results, provenance: Mapping[str, Any]) -> Path:
    """Writes a box as NUMBER-SHA256.nc."""
    ds = results.dataset({**provenance, "shard": number})
    return written(write_checked(folder, f"{number:06}", lambda temporary: write_netcdf(ds, temporary)))


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
