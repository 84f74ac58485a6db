"""Running a study in this process: members through the engine, results into memory or a run directory."""

import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..engine import (
    EngineError,
    Flights,
    Watch,
    Work,
    Workload,
    choose,
    kernel_name,
    missing,
    run_workloads,
    slow_float64,
)
from ..plan import Group, check_shapes, groups, refuse_many, workload
from ..store import (
    STATUS,
    Box,
    Collection,
    Results,
    RunDirectory,
    StoreError,
    Survey,
    bytes_a_member,
    flights_of_ended,
    of_sessions,
    open_box,
    open_dataset,
    provenance,
    refuse_estimates,
)
from ..study import Study, StudyError, StudyWarning
from .report import Report, Reporter
from .session import Session, opened, session_facts
from .signals import stop_on_signal

SECONDS_BETWEEN_KEEPS = 300.0

BYTES_A_MEMBER = 20
"""What is held of every member beside its results, from the beginning to the end of a run: its number and its box."""
_WRITES_BEHIND = 4
"""Shards that may wait to be written."""
_OPEN_BYTES = 2**28
"""Memory that the boxes which a run begins together may take."""


class PartialResult(UserWarning):
    """A run that was interrupted: the dataset holds what was finished."""


def run(
    study: Study | str | Path,
    out: str | Path | None = None,
    *,
    on_progress: Callable[[Report], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    overwrite: bool = False,
    keep_every: float = SECONDS_BETWEEN_KEEPS,
    boxes: Sequence[Box] | None = None,
    engine: str = "auto",
) -> xr.Dataset:
    """Runs every member of a study and returns its dataset (docs/dataset.md).

    **Arguments:**

    - `study`: a `Study`, or the path of a study file.
    - `out`: a run directory; without it the dataset stays in memory.
    - `on_progress`: called about once a second with a `Report`.
    - `say`: called with a line of text for each thing that is done with a directory that exists already.
    - `overwrite`: replace what `out` holds.
    - `keep_every`: seconds after which members in flight and unfinished shards are kept on disk; at most so much
      work is lost when the process is killed.
    - `boxes`: with `out`, only these parts of the grid, which the directory does not have yet, are added to it; the
      dataset's other members are `not_run`.
    - `engine`: the kernel that advances members: `simd`, `fused`, `xla`, or `auto`, which takes the fastest that
    serves. Two of
      them agree to rounding; a run directory is of one.

    **Returns:** the dataset, in memory or, with `out`, opened lazily from disk. What `out` holds already of this very
    study, or of one with fewer seeds or axis values, is verified and not computed again.

    Ctrl-C and SIGTERM stop within seconds. With `out`, everything is kept, members in flight included, and
    `KeyboardInterrupt` is raised: the same call goes on with the same bits. Without, the partial dataset is returned
    under a `PartialResult` warning: the status of other members is `running` or `not_run`, its attribute `complete` 0.

    **Raises:** `StudyError` where `out` holds another study or the study cannot be run; `StoreError` where `out` cannot
    be written or another run is at work there.
    """
    for name, given in (("overwrite", overwrite), ("boxes", boxes is not None)):
        if given and out is None:
            raise StudyError(
                f"{name}: got a value without `out`; it is of a run directory: give `out`, or leave it out"
            )
    study = _study_of(study)
    _see_the_accelerator(study)
    kernels = kernels_of(study, engine)
    if out is None:
        refuse_many(study, BYTES_A_MEMBER + bytes_a_member(study), "the dataset without `out`")
        return _run_in_memory(study, on_progress, engine)
    refuse_many(study, BYTES_A_MEMBER, "the list")
    with opened(Path(out), study, overwrite, say, boxes) as (directory, found):
        refuse_another_engine(directory, kernels)
        if len(found.stored) < len(directory.boxes):
            refuse_estimates(directory, found)
            with stop_on_signal() as stopped:
                _LocalRun(directory, found, on_progress, say, stopped, keep_every, engine).run()
            if stopped.is_set():
                raise KeyboardInterrupt
    return open_dataset(Path(out))


def _see_the_accelerator(study: Study) -> None:
    """**Raises:** `EngineError` where a card is asked for and none is used; warns of one that is slow in float64."""
    if reason := missing():
        raise EngineError(reason)
    if expectation := slow_float64(study.precision):
        warnings.warn(expectation, StudyWarning, stacklevel=3)


def _study_of(study: Any) -> Study:
    if isinstance(study, str | Path):
        return Study.from_toml(study)
    if not isinstance(study, Study):
        raise StudyError(f"study: got {study!r:.80}; give a Study, or the path of a study file")
    return study


def kernels_of(study: Study, engine: str) -> set[str]:
    """The kernels that would run a study.

    **Raises:** `EngineError` where the one that is asked for does not exist or cannot; `StudyError` for a probe that
    does not return what it declares, which nobody else could say before the first record.
    """
    check_shapes(study)
    return {choose(pool, engine).name for group in groups(study) for pool in group.pools}


def refuse_another_engine(directory: RunDirectory, kernels: set[str]) -> None:
    """**Raises:** `EngineError` where a directory's members were advanced by other kernels: bits would be mixed."""
    names = {kernel_name(name) for s in directory.sessions for name in s.get("engine", "").split(", ") if name}
    if names - kernels and names and kernels - names:
        raise EngineError(
            f"engine: got {', '.join(sorted(kernels))}, but {directory.path} holds members that "
            f"{', '.join(sorted(names))} advanced, "
            "to other bits; ask for that one, or take another directory"
        )


def run_box(study: Study, box: Box, engine: str = "auto") -> tuple[Results, Work]:
    """The results of the members of a box, and what they cost."""
    filled: list[Results] = []
    collection = Collection(study, {0: box}, lambda _, results: filled.append(results))
    work = run_workloads(workloads(collection, groups(study), [0], engine=engine))
    return filled[0], work


def _run_in_memory(study: Study, on_progress: Callable[[Report], None], engine: str) -> xr.Dataset:
    facts = provenance(study)
    reporter = Reporter(study, on_progress)
    filled: list[Results] = []
    collection = Collection(study, {0: Box.whole(study)}, lambda _, results: filled.append(results))
    with stop_on_signal() as stopped:

        def progress(work: Work) -> None:
            reporter.report(collection.ended, work.member_steps)

        work = run_workloads(workloads(collection, groups(study), [0], engine=engine), Watch(progress, stopped.is_set))
    if not filled:
        warnings.warn(
            f"interrupted: {int(collection.ended.sum())} of {study.members} members are finished; "
            "the dataset's status says which",
            PartialResult,
            stacklevel=3,
        )
    results = (filled or [collection.open[0]])[0]
    return results.dataset(of_sessions([session_facts(facts, work, reporter.seconds)]))


def workloads(
    collection: Collection,
    of_groups: list[Group],
    boxes: list[int],
    flights: tuple[Flights, ...] = (),
    engine: str = "auto",
) -> Iterator[Workload]:
    """The members of some boxes without a result, group by group; `flights`: those that go on from where they were."""
    study = collection.study
    members = np.sort(np.concatenate([collection.boxes[number].members(study) for number in boxes]))
    members = collection.unfinished(members)
    for group in of_groups:
        mine = members[np.isin(members // study.seeds, group.cells)]
        if not len(mine):
            continue
        names = [stage.name for stage in group.structure.stages]
        sink = collection.sink([study.stage_names.index(name) for name in names])
        yield workload(study, group, mine, sink, _chosen(flights, mine), engine)


def _chosen(flights: Iterable[Flights], members: np.ndarray) -> tuple[Flights, ...]:
    """Those of the members in flight that are among `members`."""
    chosen = []
    for one in flights:
        mine = np.isin(one.members, members)
        if mine.any():
            leaves = tuple(leaf[mine] for leaf in one.leaves)
            chosen.append(Flights(one.members[mine], one.stage[mine], one.start_step[mine], leaves))
    return tuple(chosen)


class _LocalRun:
    """Fills the missing boxes of a directory."""

    def __init__(
        self,
        directory: RunDirectory,
        found: Survey,
        on_progress: Callable[[Report], None],
        say: Callable[[str], None],
        stopped: threading.Event,
        keep_every: float,
        engine: str,
    ):
        self.engine = engine
        self.directory, self.found, self.say, self.stopped = directory, found, say, stopped
        self.keep_every = keep_every
        directory.go_on_counting(found)
        self.facts = provenance(directory.study)
        self.session = Session(directory, found, on_progress, self.facts)
        self.groups = groups(directory.study)
        self.facts["engine"] = ", ".join(sorted(kernels_of(directory.study, engine)))
        self.collection = Collection(directory.study, self.session.missing, self._store)
        self.writes: deque[Future[Path]] = deque()
        self.kept = time.monotonic()

    def run(self) -> None:
        state = "failed"
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="gd-atlas-writer") as self.writer:
                try:
                    run_workloads(
                        self._workloads(), Watch(self.progress, self.stopped.is_set, self.wants_flights, self.keep)
                    )
                except Exception as error:
                    self._say_failed_writes(error)
                    raise
                self._await_writes()
            self.session.save()
            if not self.stopped.is_set():
                self.directory.finish()
            state = "stopped" if self.stopped.is_set() else "complete"
        finally:
            self.session.note(state, {})

    def _say_failed_writes(self, error: Exception) -> None:
        """Raises what went wrong with a shard that was being written when the engine failed."""
        for write in self.writes:
            failed = write.exception()
            if failed is not None:
                raise StoreError(f"{failed} (and the computation failed: {error})") from error

    def _workloads(self) -> Iterator[Workload]:
        """Boxes in order, so many at a time that their results fit into memory."""
        directory, study = self.directory, self.directory.study
        flights = directory.read_flights(self.found.flights)
        if flights:
            flying = sum(len(one.members) for one in flights)
            self.say(f"{directory.path}: {flying:,} members go on from where they were")
        numbers = list(self.collection.boxes)
        a_member = bytes_a_member(study)
        while numbers:
            begun, size = [], 0
            while numbers and (not begun or size + self.collection.boxes[numbers[0]].size * a_member <= _OPEN_BYTES):
                size += self.collection.boxes[numbers[0]].size * a_member
                begun.append(numbers.pop(0))
            yield from workloads(self.collection, self.groups, begun, self._adopt_partial(begun, flights), self.engine)

    def _adopt_partial(self, numbers: list[int], flights: tuple[Flights, ...]) -> tuple[Flights, ...]:
        """Takes over the boxes that were kept partly filled; returns the flights whose records these have, and those of
        members that go on from their ends."""
        flying, ended = [], []
        for number in numbers:
            if number not in self.found.partial:
                continue
            results = Results(self.directory.study, self.collection.boxes[number])
            with open_box(self.directory, self.found, number) as ds:
                results.adopt(ds)
            if self.directory.fly_on(self.found, number):
                flying.append(results.members[results.status == STATUS["running"]])
            ended += [flights_of_ended(self.directory.study, group, results) for group in self.groups]
            self.collection.adopt(number, results)
        going_on = tuple(one for one in ended if one is not None)
        return (*_chosen(flights, np.concatenate(flying)), *going_on) if flying else going_on

    # -- what the engine asks and says ---------------------------------------------------------------

    def progress(self, work: Work) -> None:
        self.session.progress(self.collection.ended, work, self.collection.counts)

    def wants_flights(self) -> bool:
        return self.stopped.is_set() or time.monotonic() - self.kept > self.keep_every

    def keep(self, flights: list[Flights]) -> None:
        self._await_writes()
        self.directory.write_partial(self.collection.open, flights, self.facts)
        self.session.save()
        self.kept = time.monotonic()

    def _store(self, number: int, results: Results) -> None:
        """Has a shard written while the engine goes on; so many at a time that memory stays bounded."""
        self._await_writes(_WRITES_BEHIND - 1)
        self.writes.append(self.writer.submit(self.directory.write_shard, number, results, self.facts))

    def _await_writes(self, but: int = 0) -> None:
        """Waits until at most `but` shards are being written; what went wrong with one is raised here."""
        while len(self.writes) > but:
            self.writes.popleft().result()
