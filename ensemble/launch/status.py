"""How far a run directory is, asked from outside: reads, and never writes or locks."""

import datetime
import socket
import time
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import AwareDatetime, BaseModel, Field, NonNegativeInt, ValidationError

from ..store import MANIFEST, PROGRESS, STATUS, RunDirectory, StoreError, Survey, is_alive, open_plain, status_counts

_LISTINGS = 20


class Progress(BaseModel, allow_inf_nan=False):
    """What a run says of itself while it goes on."""

    state: Literal["running", "stopped", "complete", "failed"]
    host: str
    pid: Annotated[int, Field(ge=1, lt=2**31)]
    written: AwareDatetime
    seconds: Annotated[float, Field(ge=0)]
    member_steps: NonNegativeInt
    share: Annotated[float, Field(ge=0, le=1)]
    open: dict[int, dict[NonNegativeInt, Annotated[tuple[NonNegativeInt, ...], Field(min_length=5, max_length=5)]]]
    """Members by status, of every cell of a box that is being filled."""


class Status(NamedTuple):
    """A run directory at a moment."""

    directory: RunDirectory
    found: Survey
    counts: np.ndarray
    """Members by (cell, status)."""
    progress: Progress | None
    """What the run said last."""
    state: str


def status(path: str | Path) -> Status:
    """Members by cell and status, shards stored, missing and damaged, and what the run said last.

    Checksums are computed of files that changed since a run verified them, and of no others: a directory of any size is
    looked at within seconds. `run` computes all of them.

    **Raises:** `FileNotFoundError`, `StoreError` as `open_dataset` does.
    """
    for _ in range(_LISTINGS):
        try:
            return _status(RunDirectory.open(Path(path)))
        except FileNotFoundError:
            if not RunDirectory.exists(Path(path)):
                raise
            time.sleep(0.01)  # a file was renamed by the run at work
    raise StoreError(f"{path}: its files change faster than they can be read; try again")


def _status(directory: RunDirectory) -> Status:
    progress = _progress(directory)
    found = directory.survey(verify=False)
    if directory.damaged_manifest:
        found.bad[directory.path / MANIFEST] = f"{directory.damaged_manifest}; its copy is taken"
    counts = status_counts(directory, found, found.stored)
    alive = progress is not None and progress.state == "running" and _is_alive(progress)
    if progress is not None and alive:
        for number, cells in progress.open.items():
            if number not in found.stored:
                for cell, row in cells.items():
                    counts[cell] += np.array(row)
    else:
        partial = {n: p for n, p in found.partial.items() if n not in found.stored}
        counts += status_counts(directory, found, partial)
    counts[:, STATUS["not_run"]] = directory.study.seeds - counts[:, STATUS["not_run"] + 1 :].sum(axis=1)
    return Status(directory, found, counts, progress, _state(directory, found, progress, alive))


def _state(directory: RunDirectory, found: Survey, progress: Progress | None, alive: bool) -> str:
    if len(found.stored) == len(directory.boxes):
        return "complete"
    if progress is None:
        return "begun; the run has said nothing yet"
    who = f"host {progress.host}, process {progress.pid}"
    heard = datetime.datetime.now(datetime.UTC) - progress.written
    ago = f"last heard of {max(0, round(heard.total_seconds()))} s ago"
    if progress.state != "running":
        # A run that said "complete", and whose shards are gone, is not.
        state = "incomplete" if progress.state == "complete" else progress.state
        return f"{state} ({who}); the same `run` command goes on"
    return (
        f"running ({who}), {ago}" if alive else f"ended without a word ({who}, {ago}); the same `run` command goes on"
    )


def _progress(directory: RunDirectory) -> Progress | None:
    """What the run said last; None where it said nothing, or nothing that fits to the directory."""
    try:
        with open_plain(directory.path / PROGRESS) as file:
            progress = Progress.model_validate_json(file.read())
    except (OSError, ValidationError):
        return None
    for number, cells in progress.open.items():
        table = np.zeros((len(directory.study.points), len(STATUS)), np.int64)
        for cell, row in cells.items():
            if cell >= len(table):
                return None
            table[cell] = row
        if number not in directory.boxes or table.sum() > directory.boxes[number].size:
            return None
    return progress


def _is_alive(progress: Progress) -> bool:
    """Whether the process that wrote lives; of another host's, whether it was heard of in the last minute."""
    if progress.host != socket.gethostname():
        heard = datetime.datetime.now(datetime.UTC) - progress.written
        return abs(heard.total_seconds()) < 60
    return is_alive(progress.pid)
