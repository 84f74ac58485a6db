"""Running a study in this process: groups one after another through the engine, results into the store."""

import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from ..engine import Watch, Work, Workload, choose, run_workloads
from ..members import groups, workload
from ..store import FINISHED, STATUS, Results, open_dataset, provenance, write_dataset
from ..store.files import dataset_path
from ..study import Study, StudyError

_SECONDS_BETWEEN_SAVES = 60.0


class Report(NamedTuple):
    """How far a run is."""

    members: int
    finished: int
    converged: int | None
    """None where no stop rule can make a member converge."""
    member_steps: int
    share: float
    """Share of the work that is done, as far as it can be known."""
    seconds: float


class PartialResult(UserWarning):
    """A run that was interrupted: the dataset holds what was finished."""


def run(
    study: Study,
    out: str | Path | None = None,
    *,
    on_progress: Callable[[Report], None] = lambda _: None,
    overwrite: bool = False,
) -> xr.Dataset:
    """Runs every member of a study and returns its dataset (docs/architecture.md, "The dataset").

    **Arguments:**

    - `study`: a `Study`.
    - `out`: a directory for the dataset; without it the dataset stays in memory.
    - `on_progress`: called about once a second with a `Report`.
    - `overwrite`: replace a dataset of another study in `out`.

    **Returns:** the dataset, in memory or, with `out`, opened lazily from disk. Where `out` holds a complete
    dataset of this very study it is returned as it is; a partial one is completed.

    Ctrl-C stops within about a second: what was finished is kept, other members have the status `running`
    or `not_run`, and the attribute `complete` is 0. With `out`, `KeyboardInterrupt` is raised after the partial
    dataset was written; without, the partial dataset is returned under a `PartialResult` warning. While a run
    goes on, `out` is brought up to date every minute.

    **Raises:** `StudyError` where `out` holds a dataset of another study or the study cannot be run.
    """
    results = Results(study)
    directory = None if out is None else Path(out)
    if directory is not None and _adopt_existing(results, directory, overwrite):
        return open_dataset(directory)
    for group in groups(study):
        choose(group.shape)
    with _stop_on_signal() as stopped:
        keeper = _Keeper(results, directory, on_progress, stopped)
        run_workloads(_workloads(study, results), keeper)
    if directory is not None:
        keeper.save()
        if stopped.is_set():
            raise KeyboardInterrupt
        return open_dataset(directory)
    if stopped.is_set():
        warnings.warn(
            f"interrupted: {int(np.sum(results.status >= FINISHED))} of {study.members} members are finished; "
            "the dataset's status says which",
            PartialResult,
            stacklevel=2,
        )
    return keeper.dataset()


def _workloads(study: Study, results: Results) -> Iterator[Workload]:
    """The members without a result, group by group."""
    for group in groups(study):
        numbers = [n for c in group.cells for n in range(c * study.seeds, (c + 1) * study.seeds)]
        members = np.array([n for n in numbers if results.status[n] < FINISHED], int)
        names = [stage.name for stage in study.points[group.cells[0]].cell.stages.stages]
        yield workload(study, group, members, results.sink([study.stage_names.index(name) for name in names]))


def _adopt_existing(results: Results, directory: Path, overwrite: bool) -> bool:
    """Whether `directory` holds this study's complete dataset; a partial one's members are taken over."""
    study = results.study
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StudyError(f"out: got {directory}, which cannot be written: {error}; take another directory") from None
    if not dataset_path(directory).exists() or overwrite:
        return False
    with open_dataset(directory) as earlier:
        if earlier.attrs["study_hash"] != study.hash:
            changed = difference(Study.from_json(earlier.attrs["study"]), study)
            raise StudyError(
                f"out: {directory} holds a dataset of another study, which differs in:\n  "
                + "\n  ".join(changed)
                + "\ntake another directory, or replace it with --overwrite"
            )
        if earlier.attrs["complete"]:
            return True
        results.adopt(earlier)
    return False


def difference(old: Study, new: Study) -> list[str]:
    """One line a field in which two studies differ."""

    def flat(prefix: str, value: object) -> Iterator[tuple[str, object]]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from flat(f"{prefix}.{key}" if prefix else str(key), inner)
        else:
            yield prefix, value

    before, after = dict(flat("", old.resolved())), dict(flat("", new.resolved()))
    names = [*before, *(n for n in after if n not in before)]
    return [
        f"{n}: {before.get(n, 'absent')} there, {after.get(n, 'absent')} here"
        for n in names
        if before.get(n) != after.get(n)
    ]


class _Keeper(Watch):
    """Reports progress, and saves from time to time."""

    def __init__(
        self,
        results: Results,
        directory: Path | None,
        on_progress: Callable[[Report], None],
        stopped: threading.Event,
    ):
        self.results, self.directory, self.on_progress, self.stopped = results, directory, on_progress, stopped
        study = results.study
        self.has_rule = any(p.cell.stages.stages[-1].has_rule for p in study.points)
        self.work = Work()
        self.total_steps = study.seeds * sum(study.member_cap(p.cell) for p in study.points)
        self.began = self.saved = time.monotonic()
        self.provenance = provenance(study)

    def wants_stop(self) -> bool:
        return self.stopped.is_set()

    def progress(self, work: Work) -> None:
        self.work = work
        status = self.results.status
        finished = int(np.sum(status >= FINISHED))
        share = max(finished / len(status), min(work.member_steps / self.total_steps, 1.0))
        now = time.monotonic()
        self.on_progress(
            Report(
                members=len(status),
                finished=finished,
                converged=int(np.sum(status == STATUS["converged"])) if self.has_rule else None,
                member_steps=work.member_steps,
                share=share,
                seconds=now - self.began,
            )
        )
        if self.directory is not None and now - self.saved > _SECONDS_BETWEEN_SAVES:
            self.save()
            self.saved = time.monotonic()

    def dataset(self) -> xr.Dataset:
        work = self.work
        efficiency = work.member_steps / work.lane_steps if work.lane_steps else 1.0
        return self.results.dataset(
            self.provenance
            | {
                "wall_time": round(time.monotonic() - self.began, 3),
                "engine": ", ".join(sorted(work.backends)),
                "member_steps": work.member_steps,
                "lane_efficiency": round(efficiency, 6),
            }
        )

    def save(self) -> None:
        assert self.directory is not None
        write_dataset(self.dataset(), self.directory)


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second signal acts as it did before."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    previous = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def handle(number, frame) -> None:
        stopped.set()
        restore()

    for number in previous:
        signal.signal(number, handle)
    try:
        yield stopped
    finally:
        restore()
