"""Files that the analysis writes: whole or not at all, and in the place of nothing but what it wrote itself."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path

MARK = "gd-atlas"
"""Stands with a file's kind, such as `gd-atlas picture`, near the begin or the end of every file that is written."""
_SEARCHED = 2**20
_MANIFEST = "manifest.json"
_OF_A_RUN = ("manifest.json", "manifest.copy.json", "progress.json", "verified.json", "lock")
_WHO = {".png": "Software", ".pdf": "Creator", ".svg": "Creator", ".eps": "Creator", ".ps": "Creator"}
"""The field of a picture's own metadata that says who wrote it."""


def replace(path: Path, kind: str, write: Callable[[Path], object], overwrite: bool = False) -> None:
    """Has a file written under a temporary name and renames it; what stood there before stays whole until then.

    **Arguments:** `write(temporary)` writes the file, with the mark of its `kind` in it; the temporary name ends as the
    file's own does. `overwrite`: replace any plain file.

    **Raises:** `ValueError` where something is there that is no file of this kind, and for the files of a run
    directory; `OSError` where it cannot be written.
    """
    require_free(path, kind, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    except RuntimeError as error:  # what netCDF4 makes of a full disk
        raise OSError(f"{path}: cannot be written: {error}; free some space, or take another place") from None
    except ValueError as error:  # such as an ending that is no format
        raise ValueError(str(error).replace(temporary.name, path.name)) from None
    finally:
        temporary.unlink(missing_ok=True)


def marks(path: Path) -> dict[str, str] | None:
    """The metadata with which a picture is marked; None for a format that has none for it."""
    field = _WHO.get(path.suffix.lower())
    return None if field is None else {field: f"{MARK} picture"}


def require_free(path: Path, kind: str, overwrite: bool = False) -> None:
    """**Raises:** `ValueError` where `replace` would; to be asked before work that takes long."""
    if _is_of_a_run(path):
        raise ValueError(f"out: got {path}, which a run directory keeps for itself; take another name")
    if not os.path.lexists(path):
        return
    if not path.is_file():
        raise ValueError(f"out: got {path}, which is there and is no plain file; take another name")
    if not overwrite and not _is_marked(path, kind):
        raise ValueError(
            f"out: got {path}, which is there and is no {kind} of {MARK}; take another name, or replace it with "
            "overwrite=True"
        )


def _is_of_a_run(path: Path) -> bool:
    path = path.absolute()
    inner = path.parent.name in ("shards", "partial") and (path.parent.parent / _MANIFEST).exists()
    return inner or (path.name in _OF_A_RUN and (path.parent / _MANIFEST).exists())


def _is_marked(path: Path, kind: str) -> bool:
    with path.open("rb") as file:
        begin = file.read(_SEARCHED)
        file.seek(max(0, path.stat().st_size - _SEARCHED))
        return f"{MARK} {kind}".encode() in begin + file.read()
