"""Sealed files: the SHA-256 of a netCDF file behind its end, where HDF5 does not look.

A shard's checksum is in its name; a file that is passed on is called what people like, and so holds its own.
"""

import hashlib
import os
import re
from pathlib import Path

from .files import attributes, open_plain

SEAL = "seal"
"""Attribute of a file that has a checksum behind its end."""
SAYS = "SHA-256 of the file, behind its end"
_BEGIN = b"\ngd-atlas sha256 "
_LENGTH = len(_BEGIN) + 64 + 1
_PATTERN = re.compile(re.escape(_BEGIN) + rb"([0-9a-f]{64})\n")
_verified: dict[Path, tuple[int, int]] = {}


def seal(path: Path) -> None:
    """Appends a file's checksum to it."""
    with open(path, "rb+") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, os.SEEK_END)
        file.write(_BEGIN + found.encode() + b"\n")


def verify_sealed(path: Path) -> None:
    """Compares a file with the checksum behind its end, once a process as long as it does not change.

    Files without one pass: earlier versions wrote none, and other programs leave it out.

    **Raises:** `OSError` where it is another one, or missing though the file says that it has one.
    """
    state = path.stat()
    stamp = (state.st_size, state.st_mtime_ns)
    if _verified.get(path) == stamp:
        return
    match = None
    if state.st_size > _LENGTH:
        with open(path, "rb") as file:
            file.seek(-_LENGTH, os.SEEK_END)
            match = _PATTERN.fullmatch(file.read())
            if match and _digest(path, state.st_size - _LENGTH) != match[1].decode():
                raise OSError("its checksum is wrong: it was changed or damaged since it was written; collect it again")
    if match is None and attributes(path, SEAL):
        raise OSError("its checksum is missing: it was changed or damaged since it was written; collect it again")
    _verified[path] = stamp


def is_sealed(path: Path) -> bool:
    """Whether `collect` wrote a file."""
    try:
        open_plain(path).close()
        return bool(attributes(path, SEAL))
    except OSError:
        return False


def _digest(path: Path, size: int) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while size > 0:
            block = file.read(min(size, 2**24))
            found.update(block)
            size = size - len(block) if block else 0
    return found.hexdigest()
