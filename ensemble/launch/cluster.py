"""Running a study on a Dask cluster: a shard is a task, and lands in the run directory.

Workers that see the directory write their shards into it; others return them, and the client writes them. A worker
that is lost takes its shards with it, which Dask gives to others. The client holds the directory's lock and no results.
"""

import contextlib
import functools
import os
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from distributed import Client, Future, KilledWorker, LocalCluster, wait
from distributed.security import Security

from ..engine import Work, granted_cores
from ..store import (
    STATUS,
    Box,
    RunDirectory,
    StoreError,
    Survey,
    adopt_file,
    open_dataset,
    provenance,
    refuse_estimates,
    write_shard,
)
from ..study import Study, provided, texts_of
from .local import kernels_of, refuse_another_engine, run_box
from .report import Report
from .session import Session, opened
from .signals import stop_on_signal

_NONE: Any = None
"""Dask's word for "no dashboard", which its types do not know."""
_TASKS_A_WORKER = 2
"""Submitted at a time: one that runs and one that waits, so that no worker idles and memory is bounded."""
_MOST_DEATHS = 10
"""Workers that may die over one shard before the run gives up."""


class Task(NamedTuple):
    """What a worker has to know to compute any shard."""

    study: str
    parts: tuple[tuple[str, str], ...]
    """(digest, text) of the files of the user's own parts, for workers that do not see them."""
    engine: str


class Done(NamedTuple):
    """What a task says: where its shard is, and what it cost."""

    number: int
    name: str
    """The shard's file name, which holds its checksum."""
    contents: bytes | None
    """The file itself where the worker does not see the directory."""
    ended: tuple[int, ...]
    """Members by status."""
    work: Work


@contextlib.contextmanager
def connected(
    where: str,
    workers: int | None = None,
    tls_ca: Path | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
) -> Iterator[Client]:
    """A client of a Dask cluster.

    **Arguments:**

    - `where`: the address of a scheduler that runs, such as `tcp://host:8786` or `tls://host:8786`; `local` for
      processes on this machine, one a core; `slurm` for jobs, as dask-jobqueue is configured (docs/running.md).
    - `workers`: how many, for the last two.
    - `tls_ca`, `tls_cert`, `tls_key`: files for a `tls://` scheduler; what is not given is taken from Dask's
      configuration.

    **Raises:** `StoreError` where the cluster cannot be reached.
    """
    with contextlib.ExitStack() as stack:
        try:
            if where == "local":
                count = workers or granted_cores()
                share = {"GD_ATLAS_CORES": str(max(1, granted_cores() // count))}
                cluster = LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=_NONE, env=share)
                stack.enter_context(cluster)
                client = Client(cluster)
            elif where == "slurm":
                client = Client(stack.enter_context(_slurm(workers or 1)))
            else:
                security = Security(
                    tls_ca_file=str(tls_ca) if tls_ca else None,
                    tls_client_cert=str(tls_cert) if tls_cert else None,
                    tls_client_key=str(tls_key) if tls_key else None,
                    require_encryption=where.startswith("tls://"),
                )
                client = Client(where, security=security, timeout=30)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise StoreError(
                f"dask: got {where!r}, which cannot be reached: {error}; start a scheduler, or take `local`"
            ) from None
        yield stack.enter_context(client)


def _slurm(jobs: int):
    try:
        from dask_jobqueue.slurm import SLURMCluster  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise StoreError(
            "dask: got 'slurm', which needs dask-jobqueue; install it: pip install 'gd-atlas[slurm]'"
        ) from None
    cluster = SLURMCluster()
    cluster.scale(jobs=jobs)
    return cluster


def run_on_cluster(
    study: Study,
    out: str | Path,
    client: Client,
    *,
    on_progress: Callable[[Report], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    overwrite: bool = False,
    engine: str = "auto",
) -> xr.Dataset:
    """`run` on a Dask cluster: the same dataset, bit for bit, on workers of the same kind of device.

    Arguments, return and errors are those of `run`; a lost scheduler raises `StoreError`, and the same call, here or
    without a cluster, goes on from the shards that are stored. Members in flight are not kept: a shard that is
    interrupted begins anew.
    """
    kernels = kernels_of(study, engine)
    with opened(Path(out), study, overwrite, say) as (directory, found):
        refuse_another_engine(directory, kernels)
        if len(found.stored) < len(directory.boxes):
            refuse_estimates(directory, found)
            with stop_on_signal() as stopped:
                _ClusterRun(directory, found, client, on_progress, stopped, engine).run()
            if stopped.is_set():
                raise KeyboardInterrupt
    return open_dataset(Path(out))


class _ClusterRun:
    def __init__(
        self,
        directory: RunDirectory,
        found: Survey,
        client: Client,
        on_progress: Callable[[Report], None],
        stopped: threading.Event,
        engine: str,
    ):
        self.directory, self.client, self.stopped, self.engine = directory, client, stopped, engine
        self.session = Session(directory, found, on_progress, provenance(directory.study))
        self.left = list(self.session.missing)[::-1]
        self.deaths: dict[int, int] = {}
        self.ended, self.work = np.zeros(len(STATUS), np.int64), Work()

    def run(self) -> None:
        state = "failed"
        task = Task(self.directory.study.text, texts_of(self.directory.study.parts), self.engine)
        token = self.directory.path / f".shared.{uuid.uuid4().hex}"
        token.touch()
        running: dict[Future, int] = {}
        try:
            while (self.left or running) and not self.stopped.is_set():
                while self.left and len(running) < _TASKS_A_WORKER * max(1, self._workers()):
                    number = self.left.pop()
                    box = self.directory.boxes[number].runs()
                    future = self.client.submit(
                        compute_shard,
                        task,
                        box,
                        number,
                        str(token.resolve()),
                        key=f"shard-{number}-{uuid.uuid4().hex}",
                    )
                    running[future] = number
                for future in self._ended(running):
                    self._take(future, running.pop(future))
                if self.client.status not in ("running", "connecting"):
                    raise ConnectionError(f"the client is {self.client.status}")
                self.session.progress(self.ended, self.work, dict)
            self.session.save()
            if not self.stopped.is_set():
                self.directory.finish()
            state = "stopped" if self.stopped.is_set() else "complete"
        except (OSError, CancelledError) as error:
            raise StoreError(
                f"{self.directory.path}: the Dask scheduler is gone ({type(error).__name__}); what is stored is "
                "safe: the same command on another cluster, or without one, goes on from there"
            ) from error
        finally:
            with contextlib.suppress(Exception):
                self.client.cancel(list(running), force=True)
            token.unlink(missing_ok=True)
            self.session.note(state, {})

    def _ended(self, running: dict[Future, int]) -> list[Future]:
        """The tasks that ended, waited for a second at most."""
        try:
            ended: Any = wait(list(running), timeout=1.0, return_when="FIRST_COMPLETED")
        except TimeoutError:
            return []
        return list(ended.done)

    def _workers(self) -> int:
        return len(self.client.scheduler_info(n_workers=-1)["workers"])

    def _take(self, future: Future, number: int) -> None:
        if future.status == "cancelled":
            raise ConnectionError("its tasks are cancelled")
        error: Any = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            self.deaths[number] = self.deaths.get(number, 0) + 1
            if self.deaths[number] >= _MOST_DEATHS:
                raise StoreError(
                    f"shard {number}: {_MOST_DEATHS} times, workers died over it; look at their logs (memory?), then "
                    "run the same command again"
                ) from error
            self.left.append(number)
            return
        if isinstance(error, OSError | CancelledError):
            # What a task cannot do on its worker is no sign that the scheduler is gone.
            raise StoreError(
                f"shard {number}: failed on a worker: {error!r}; what is stored is safe: mend it there, then run the "
                "same command again"
            ) from error
        if error is not None:
            raise error
        done: Done = future.result()
        if done.contents is not None:
            adopt_file(self.directory.shards, done.name, done.contents)
        self.directory.trust(done.name)
        self.ended += np.array(done.ended)
        self.work = self.work.plus(done.work)


_ONE_AT_A_TIME = threading.Lock()


def compute_shard(task: Task, runs: list, number: int, token: str) -> Done:
    """Computes a shard on a worker, one at a time a process: each has all of the worker's cores or its accelerator.

    It is written beside `token` where the worker sees that file, else returned.
    """
    with _ONE_AT_A_TIME:
        parsed = _study(task)
        results, work = run_box(parsed, Box.from_runs(runs), task.engine)
        facts = provenance(parsed) | {"engine": ", ".join(sorted(work.kernels))}
        ended = tuple(np.bincount(results.status, minlength=len(STATUS)).tolist())
        if os.path.exists(token):
            path = write_shard(Path(token).parent / "shards", number, results, facts)
            return Done(number, path.name, None, ended, work)
        with tempfile.TemporaryDirectory() as folder:
            path = write_shard(Path(folder), number, results, facts)
            return Done(number, path.name, path.read_bytes(), ended, work)


@functools.lru_cache(maxsize=8)
def _study(task: Task) -> Study:
    with provided(dict(task.parts)):
        return Study.from_json(task.study)
