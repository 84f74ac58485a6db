"""How far a run directory is, asked from outside: reads, and never writes or locks."""

import datetime
import json
import os
import socket
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..store import PROGRESS, STATUS, RunDirectory, Survey, status_counts


class Status(NamedTuple):
    """A run directory at a moment."""

    directory: RunDirectory
    found: Survey
    counts: np.ndarray
    """Members by (cell, status)."""
    progress: dict[str, Any] | None
    """What the run said last."""
    state: str


def status(path: str | Path) -> Status:
    """Members by cell and status, shards stored, missing and damaged, and what the run said last.

    **Raises:** `FileNotFoundError`, `StoreError` as `open_dataset` does.
    """
    directory = RunDirectory.open(Path(path))
    progress = _progress(directory)
    found = directory.survey()
    counts = status_counts(directory, found.stored)
    alive = progress is not None and progress["state"] == "running" and _is_alive(progress)
    if progress is not None and alive:
        for number, cells in progress["open"].items():
            if int(number) not in found.stored:
                for cell, row in cells.items():
                    counts[int(cell)] += np.array(row)
    else:
        counts += status_counts(directory, {n: p for n, p in found.partial.items() if n not in found.stored})
    counts[:, STATUS["not_run"]] = directory.study.seeds - counts[:, STATUS["not_run"] + 1 :].sum(axis=1)
    return Status(directory, found, counts, progress, _state(directory, found, progress, alive))


def _state(directory: RunDirectory, found: Survey, progress: dict[str, Any] | None, alive: bool) -> str:
    if len(found.stored) == len(directory.boxes):
        return "complete"
    if progress is None:
        return "begun; the run has said nothing yet"
    who = f"host {progress['host']}, process {progress['pid']}"
    heard = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(progress["written"])
    ago = f"last heard of {max(0, round(heard.total_seconds()))} s ago"
    if progress["state"] != "running":
        return f"{progress['state']} ({who}); the same `run` command goes on"
    return (
        f"running ({who}), {ago}" if alive else f"ended without a word ({who}, {ago}); the same `run` command goes on"
    )


def _progress(directory: RunDirectory) -> dict[str, Any] | None:
    try:
        return json.loads((directory.path / PROGRESS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _is_alive(progress: dict[str, Any]) -> bool:
    """Whether the process that wrote lives; of another host's, whether it was heard of in the last minute."""
    if progress["host"] != socket.gethostname():
        heard = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(progress["written"])
        return abs(heard.total_seconds()) < 60
    try:
        os.kill(progress["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
