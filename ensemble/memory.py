"""Memory: what this process may have, known without the libraries that need much of it themselves."""

import gc
import os
import resource
from collections.abc import Callable
from pathlib import Path

LIBRARIES = 3 * 2**29
"""Bytes of address space below which the libraries cannot be loaded (1.5 GiB; seen on two cores)."""


def memory() -> float:
    """Bytes that this process may have: the machine's, cut by a cgroup's limit and by `ulimit -v`."""
    found = [float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")), address_space()]
    try:
        found.append(float(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no cgroup v2, or the limit is "max"
        pass
    return min(found)


def address_space() -> float:
    """Bytes of address space that this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return float("inf") if soft == resource.RLIM_INFINITY else float(soft)


def in_words(size: float) -> str:
    """A size in GiB or TiB."""
    gibibytes = size / 2**30
    return f"{gibibytes:,.1f} GiB" if gibibytes < 1024 else f"{gibibytes / 1024:,.3g} TiB"


def require_room() -> None:
    """**Raises:** `ImportError` where the process may not have the memory that the libraries themselves take."""
    if (room := address_space()) < LIBRARIES:
        raise ImportError(
            f"gd-atlas: this process may have {in_words(room)} of address space (ulimit -v), and its libraries need "
            f"{in_words(LIBRARIES)} before anything is computed; raise the limit"
        )


def pause_collector() -> Callable[[], None]:
    """Has Python look for no cycles of garbage until what this returns is called: modules that are imported have none,
    and the search goes through all of their objects again and again."""
    if not gc.isenabled():
        return lambda: None
    gc.disable()
    return gc.enable


def collect_seldom() -> None:
    """For a process that is a command of ours: what it has by now stays, and programs that are traced make hundreds of
    thousands of objects of which hardly any is garbage. Looking for it took a sixth of a small study's time."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
