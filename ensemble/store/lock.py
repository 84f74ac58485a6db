"""One run a directory: a lock that the operating system lets go of when its process dies."""

import contextlib
import datetime
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from .schema import StoreError

FILE_NAME = "lock"


@contextlib.contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Holds the directory for this process.

    **Raises:** `StoreError` that names the holder (host, process, since when) where another process has it. A lock file
    left behind by a dead process is taken over: the lock is the kernel's, the file only says who.
    """
    path = directory / FILE_NAME
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"{directory}: another run is at work here ({describe(path)}); wait for it, stop it, or take another "
                "directory"
            ) from None
        who = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(who).encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def describe(path: Path) -> str:
    """Who holds a lock, in words."""
    who = holder(path)
    return "holder unknown" if who is None else f"host {who['host']}, process {who['pid']}, since {who['since']}"


def holder(path: Path) -> dict | None:
    """What the lock file says of its holder; None where it says nothing."""
    try:
        who = json.loads(path.read_text())
        return who if {"host", "pid", "since"} <= set(who) else None
    except (OSError, ValueError, TypeError):
        return None
