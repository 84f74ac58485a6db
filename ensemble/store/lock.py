"""One run a directory: a lock that the operating system lets go of when its process dies."""

import contextlib
import datetime
import fcntl
import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from .files import NOT_PLAIN, open_plain
from .schema import StoreError

FILE_NAME = "lock"


@contextlib.contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Holds the directory for this process.

    **Raises:** `StoreError` that names the holder (host, process, since when) where another process has it. A lock file
    left behind by a dead process is taken over: the lock is the kernel's, the file only says who.
    """
    path = directory / FILE_NAME
    handle = _opened(path)
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


def _opened(path: Path) -> int:
    """The lock file, which is no link to another file and no pipe.

    **Raises:** `StoreError`.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be opened: {error.strerror}; remove it and run the same command again"
        ) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise StoreError(f"{path}: {NOT_PLAIN}; remove it and run the same command again")
    return handle


def describe(path: Path) -> str:
    """Who holds a lock, in words."""
    who = holder(path)
    return "holder unknown" if who is None else f"host {who['host']}, process {who['pid']}, since {who['since']}"


def holder(path: Path) -> dict | None:
    """What the lock file says of its holder; None where it says nothing."""
    try:
        with open_plain(path) as file:
            who = json.loads(file.read())
        return who if isinstance(who, dict) and {"host", "pid", "since"} <= set(who) else None
    except (OSError, ValueError, TypeError):
        return None
