"""A run of the command on a run directory: what is there is verified first, what happens is noted."""

import contextlib
import datetime
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Work
from ..store import (
    FINISHED,
    OLD_FILE,
    Box,
    RunDirectory,
    StoreError,
    Survey,
    clear,
    in_order_of,
    is_old_file,
    lock,
    refuse_foreign,
    same_study,
    scales,
    status_counts,
    with_scales_of,
)
from ..study import Study, StudyError
from .report import Report, Reporter

_SECONDS_BETWEEN_NOTES = 5.0


@contextlib.contextmanager
def opened(
    path: Path, study: Study, overwrite: bool, say: Callable[[str], None], wanted: Sequence[Box] | None = None
) -> Iterator[tuple[RunDirectory, Survey]]:
    """The run directory for a study, locked, verified, and what is damaged in it set aside.

    With `wanted`, only these boxes are added to what it is to compute; they must be new.

    **Raises:** `StudyError` where it cannot be written, holds another study, or is no run directory and not empty;
    `StoreError` where another run is at work.
    """
    refuse_foreign(path)
    _make_folder(path)
    with lock(path):
        if not overwrite:
            _refuse_old_layout(path)
        directory = _prepare(path, study, overwrite, say, wanted)
        yield directory, _set_bad_aside(directory, say)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StudyError(f"out: got {path}, which cannot be written: {error}; take another directory") from None


def _refuse_old_layout(path: Path) -> None:
    if not RunDirectory.exists(path) and is_old_file(path / OLD_FILE):
        raise StudyError(
            f"out: {path} holds {OLD_FILE} of an earlier gd-atlas, which can be opened as it is; take another "
            "directory, or replace it with overwrite=True"
        )


def _prepare(
    path: Path, study: Study, overwrite: bool, say: Callable[[str], None], wanted: Sequence[Box] | None
) -> RunDirectory:
    """The run directory for a study: a new one, the one that is there, or that one extended."""
    if overwrite:
        clear(path)
    try:
        directory = RunDirectory.open(path)
    except FileNotFoundError:
        return RunDirectory.make(path, study, wanted)
    directory.make_folders()
    directory.remove_temporaries()
    if directory.damaged_manifest:
        say(f"{directory.damaged_manifest}; its copy is taken")
    directory.mend_manifest()
    study = with_scales_of(directory.study, in_order_of(directory.study, study))
    scaled = scales(study) != scales(directory.study)
    if same_study(directory.study, study) and not wanted and not scaled:
        return directory.renamed(study)
    before = directory.study.members
    directory = directory.extended(study, wanted)
    if study.members > before or wanted:
        say(f"{path}: extends a run of {before:,} members to {study.members:,}; computes only what is new")
    elif scaled:
        say(f"{path}: has these {before:,} members; the scales of its axes are kept with them from now on")
    else:
        say(f"{path}: has these {before:,} members with the values of its axes in another order")
    return directory


def _set_bad_aside(directory: RunDirectory, say: Callable[[str], None]) -> Survey:
    """Verifies all that a directory holds; what is damaged or foreign is renamed, said, and computed again."""
    found = directory.survey()
    for path, reason in found.bad.items():
        aside = directory.set_aside(path)
        say(f"{path}: {reason}; set aside as {aside.name}, to be computed again")
    for path in found.twins:
        path.unlink(missing_ok=True)
    directory.remember()
    if found.stored or found.partial:
        done = sum(directory.boxes[n].size for n in found.stored)
        say(
            f"{directory.path}: {len(found.stored):,} of {len(directory.boxes):,} shards verified ({done:,} members), "
            f"{len(found.partial):,} partly filled"
        )
    return found


class Session:
    """What a run of the command says of itself: to whoever watches it, to `status`, and in the manifest."""

    def __init__(
        self,
        directory: RunDirectory,
        found: Survey,
        on_progress: Callable[[Report], None],
        facts: Mapping[str, str | int | float],
    ):
        self.directory, self.facts = directory, facts
        self.missing: dict[int, Box] = {n: box for n, box in directory.boxes.items() if n not in found.stored}
        self.before = status_counts(directory, found, found.stored).sum(axis=0)
        self.before[:FINISHED] = 0
        own = sum(box.size for box in self.missing.values())
        self.reporter = Reporter(directory.study, on_progress, int(self.before.sum()), own)
        self.work, self.ended = Work(), np.zeros_like(self.before)
        self.noted = time.monotonic()
        directory.sessions.append(self._facts())
        self.note("running", {})

    def progress(self, ended: np.ndarray, work: Work, counts: Callable[[], dict[int, dict[int, list[int]]]]) -> None:
        """Takes note of the members that ended since the command began, by status.

        `counts` is asked for those in boxes that are being filled, as `Collection.counts`.
        """
        self.ended, self.work = ended, work
        self.reporter.report(self.before + ended, work.member_steps)
        if time.monotonic() - self.noted > _SECONDS_BETWEEN_NOTES:
            self.note("running", counts())

    def save(self) -> None:
        """Brings the manifest up to date, and what others may know of the files that are whole."""
        self.directory.sessions[-1] = self._facts()
        self.directory.save()
        self.directory.remember()

    def _facts(self) -> dict[str, Any]:
        return session_facts(self.facts, self.work, self.reporter.seconds)

    def note(self, state: str, counts: dict[int, dict[int, list[int]]]) -> None:
        """Leaves word for `python -m ensemble status`."""
        self.noted = time.monotonic()
        said = {
            "state": state,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": self.reporter.seconds,
            "member_steps": self.work.member_steps,
            "share": self.reporter.share(self.before + self.ended, self.work.member_steps),
            "open": counts,
        }
        with contextlib.suppress(StoreError):  # that nobody can be told is no reason to stop
            self.directory.write_progress(said)


def session_facts(facts: Mapping[str, str | int | float], work: Work, seconds: float) -> dict[str, Any]:
    """What a manifest says of one run of the command."""
    return {
        **facts,
        "wall_time": round(seconds, 3),
        "engine": ", ".join(sorted(work.kernels)),
        "member_steps": work.member_steps,
        "lane_steps": work.lane_steps,
    }
