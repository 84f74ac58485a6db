"""The runs under some folders: found by their manifests, looked at without a lock, and never outside these folders."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ensemble import STATUS, SchemaError, StoreError, StudyError, status

_MANIFEST = "manifest.json"
_DEEPEST = 8
_MOST = 2000
_SECONDS = 4.0
"""How long a look at a run that goes on is believed."""
TROUBLE = (ValueError, SchemaError, StoreError, StudyError, OSError)
"""What reading a directory may raise, each with a sentence."""


class State(NamedTuple):
    """How far a run is."""

    name: str
    question: str
    words: str
    """Such as `complete`, or `running` with where and since when."""
    finished: int
    members: int
    running: bool
    complete: bool
    share: float
    """Of the work that is done, from 0 to 1: members that end together are finished at once, and late."""

    @property
    def line(self) -> str:
        work = f", about {self.share:.0%} of the work is done" if self.running else ""
        return f"{self.finished:,} of {self.members:,} members are finished{work}; {self.words}"


class Runs:
    """Runs by a key, which is the number of a folder and the way from it: `0/recovery`."""

    def __init__(self, folders: Sequence[Path]):
        """**Raises:** `ValueError` for what is no folder."""
        for folder in folders:
            if not folder.is_dir():
                raise ValueError(f"dir: got {folder}, which is no folder; give run directories, or folders of them")
        self.folders = [folder.resolve() for folder in folders]
        self._states: dict[str, tuple[str, float, State | str]] = {}

    def found(self) -> dict[str, Path]:
        """What lies there now. Links are not followed, and a folder whose name begins with a dot is left alone."""
        made = {}
        for number, folder in enumerate(self.folders):
            for run in _below(folder):
                way = run.relative_to(folder).as_posix()
                made[f"{number}/{way}".removesuffix("/.")] = run
                if len(made) >= _MOST:
                    return made
        return made

    def state(self, key: str, path: Path) -> State | str:
        """How far a run is, or in a sentence why nobody can say."""
        stamp, now = stamp_of(path, progress=True), time.monotonic()
        known = self._states.get(key)
        if known is not None and known[0] == stamp:
            settled = isinstance(known[2], State) and known[2].complete
            if settled or now - known[1] < _SECONDS:
                return known[2]
        try:
            found: State | str = _look(path)
        except TROUBLE as error:
            found = str(error)
        self._states[key] = (stamp, now, found)
        return found


def stamp_of(path: Path, progress: bool = False) -> str:
    """Changes where the files of a run do; with `progress`, where it says something new, too."""
    names = (_MANIFEST, "shards", "partial", "refinement.json", *(("progress.json",) if progress else ()))
    times = []
    for name in names:
        try:
            times.append(os.lstat(path / name).st_mtime_ns)
        except OSError:
            times.append(0)
    return "-".join(f"{moment:x}" for moment in times)


def _below(folder: Path) -> Iterator[Path]:
    for here, inner, files in os.walk(folder):
        place = Path(here)
        if _MANIFEST in files and not (place / _MANIFEST).is_symlink():
            yield place
            inner.clear()  # a run holds no runs
        deep = len(place.relative_to(folder).parts) >= _DEEPEST
        inner[:] = [] if deep else sorted(name for name in inner if not name.startswith("."))


def _look(path: Path) -> State:
    now = status(path)
    counts, study = now.counts.sum(axis=0), now.directory.study
    finished, members = int(counts[STATUS["converged"] :].sum()), int(counts.sum())
    running = now.state.startswith("running")
    return State(
        name=study.name,
        question=study.question,
        words=now.state,
        finished=finished,
        members=members,
        running=running,
        complete=now.state == "complete",
        share=now.progress.share if running and now.progress is not None else finished / max(members, 1),
    )
