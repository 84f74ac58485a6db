"""What a run directory holds: which files are whole, of this run, and of which box.

A checksum is computed again only where that is asked for, or where a file changed since it was verified: size and time
of change of verified files are remembered in the process, and in the directory by the run that holds its lock.
"""

import json
import os
import stat
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from .files import (
    NOT_PLAIN,
    attributes,
    digest,
    open_plain,
    parse_name,
    refuse_references,
    replace_file,
    text_writer,
)
from .schema import StoreError

VERIFIED = "verified.json"
_LISTINGS = 100
"""How often a directory is listed anew where a run renames files in it meanwhile."""

Stamp = tuple[int, int]
"""Size and time of change (ns) of a file."""
_verified: dict[Path, Stamp] = {}


class Origin(NamedTuple):
    """What a box's file says of where it belongs."""

    number: int
    study_hash: str
    box: str
    study: str
    complete: bool
    schema_version: int


class Survey(NamedTuple):
    """What a directory holds, verified."""

    stored: dict[int, Path]
    """Shards by number."""
    partial: dict[int, Path]
    flights: Path | None
    bad: dict[Path, str]
    """Files that are not what they should be, and why."""
    twins: list[Path]
    """Whole shards of a box that is stored once more: a worker was lost after it wrote, and another computed it."""
    writers: dict[Path, int]
    """The generation whose study a file's members are numbered by."""
    schemas: dict[Path, int]
    """The version of a file's schema."""


Judge = Callable[[Origin], int | str]
"""The generation that a file belongs to, or why it belongs to none."""


def survey(shards: Path, partial: Path, judge: Judge, always: bool) -> Survey:
    """What the two folders of a directory hold; with `always` every checksum is computed.

    Another process may rename files meanwhile: where one is gone, the newer listing knows.

    **Raises:** `StoreError` where a folder cannot be read.
    """
    known = {} if always else _known(shards.parent / VERIFIED)
    for attempt in range(_LISTINGS):
        try:
            return _survey(shards, partial, judge, known, always)
        except FileNotFoundError:
            time.sleep(min(0.001 * 2**attempt, 0.05))
        except OSError as error:
            raise StoreError(f"{shards.parent}: cannot be read: {error}; make it readable and try again") from None
    raise StoreError(f"{shards.parent}: its files change faster than they can be read; try again")


def _survey(shards: Path, partial: Path, judge: Judge, known: Mapping[str, Stamp], always: bool) -> Survey:
    found = Survey({}, {}, None, {}, [], {}, {})
    # In this order: a box that is completed meanwhile is in one of the two.
    listings = [(found.partial, _named(partial), [], False), (found.stored, _named(shards), found.twins, True)]
    flights = None
    for numbered, named, older, whole in listings:
        with ThreadPoolExecutor() as pool:
            reasons = pool.map(lambda path: damage(path, known, always), named)
        for (path, stem), reason in zip(named.items(), reasons, strict=True):
            if reason is None and not stem.isdigit():
                flights = path
                continue
            verdict = reason or _judged(path, int(stem), whole, judge, found.schemas)
            if isinstance(verdict, str):
                found.bad[path] = verdict
                continue
            older += [numbered[int(stem)]] if int(stem) in numbered else []
            numbered[int(stem)] = path
            found.writers[path] = verdict
    return found._replace(flights=flights)


def _named(folder: Path) -> dict[Path, str]:
    """The checked files of a folder with what they are called, the oldest first."""
    found = [(path, name[0]) for path in listed(folder) if (name := parse_name(path))]
    return {path: stem for path, stem in found if stem.isdigit() or stem == "flights"}


def listed(folder: Path) -> list[Path]:
    """What a folder holds, the oldest first; nothing where it is none.

    **Raises:** `StoreError` where it is a link or no folder: what lies elsewhere is not this run's.
    """
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise StoreError(f"{folder}: is no folder of its own; move it away, and run the study again")
    except FileNotFoundError:
        return []

    def age(path: Path) -> int:
        try:
            return os.lstat(path).st_mtime_ns
        except FileNotFoundError:
            return 0

    return sorted(folder.iterdir(), key=lambda p: (age(p), p.name))


def _judged(path: Path, number: int, whole: bool, judge: Judge, schemas: dict[Path, int]) -> int | str:
    try:
        said = attributes(path, "shard", "study_hash", "box", "study", "complete", "schema_version")
        texts = str(said["study_hash"]), str(said["box"]), str(said["study"])
        origin = Origin(int(said["shard"]), *texts, bool(said["complete"]), int(said["schema_version"]))
    except FileNotFoundError:
        raise
    except (OSError, KeyError, ValueError, TypeError) as error:
        return f"it is no shard: {error}"
    if origin.number != number:
        return f"it is number {origin.number} under another name"
    if origin.complete != whole:
        return "its box is not full, and no shard" if whole else "its box is full: it belongs among the shards"
    schemas[path] = origin.schema_version
    return judge(origin)


# -- checksums ---------------------------------------------------------------------------------------


def damage(path: Path, known: Mapping[str, Stamp] | None = None, always: bool = False) -> str | None:
    """What is wrong with a checked file; None where its contents have the checksum of its name.

    **Arguments:** `known`: stamps of files that the directory's run verified, by name; `always`: whether the checksum
    is computed though it was before.

    **Raises:** `FileNotFoundError`.
    """
    now = _stamp(path)
    if now is None:
        return f"it {NOT_PLAIN}"
    if not always and now in (_verified.get(path), (known or {}).get(path.name)):
        return None
    named = parse_name(path)
    try:
        if named is None or digest(path) != named[1]:
            return "its checksum is wrong"
        refuse_references(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    _verified[path] = now
    return None


def is_verified(path: Path) -> bool:
    """Whether this process computed the checksum of a file, which did not change since."""
    return _stamp(path) == _verified.get(path, ())


def written(path: Path) -> Path:
    """A checked file that was just written: its checksum is that of what was written."""
    now = _stamp(path)
    if now is not None:
        _verified[path] = now
    return path


def remember(folder: Path, paths: list[Path]) -> None:
    """Leaves word of the files that this process verified, so that others need not compute their checksums."""
    stamps = {path.name: _verified[path] for path in paths if path in _verified}
    replace_file(folder / VERIFIED, text_writer(json.dumps(stamps)), sync=False)


_STAMPS = TypeAdapter(dict[str, Stamp])


def _known(file: Path) -> Mapping[str, Stamp]:
    try:
        with open_plain(file) as opened:
            return _STAMPS.validate_json(opened.read())
    except (OSError, ValidationError):
        return {}


def _stamp(path: Path) -> Stamp | None:
    found = os.lstat(path)
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None
