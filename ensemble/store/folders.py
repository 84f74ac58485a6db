"""Folders that a run is given: which it may take, and what of them it may remove."""

from pathlib import Path

from ..study.errors import StudyError
from .directory import FOLDERS, PROGRESS, RunDirectory
from .files import attributes, open_plain, parse_name
from .lock import FILE_NAME
from .manifest import COPY, MANIFEST
from .survey import VERIFIED, listed

OLD_FILE = "dataset.nc"
"""The one file of the layout before shards."""
_OURS = (MANIFEST, COPY, PROGRESS, VERIFIED, FILE_NAME)


def refuse_foreign(path: Path) -> None:
    """Lets pass what is a run directory, empty, or holds nothing but what a run writes.

    **Raises:** `StudyError` where a folder is no run directory and holds other files.
    """
    if not path.is_dir() or RunDirectory.exists(path) or is_old_file(path / OLD_FILE):
        return
    for entry in sorted(path.iterdir()):
        if not _is_ours(entry):
            raise StudyError(
                f"out: got {path}, which is no run directory and holds other files ({entry.name}); take a new or an "
                "empty directory"
            )


def _is_ours(entry: Path) -> bool:
    if entry.name in FOLDERS and entry.is_dir() and not entry.is_symlink():
        return all(parse_name(inner) or inner.suffix in (".tmp", ".damaged") for inner in entry.iterdir())
    leftover = entry.name.startswith((".shared.", ".writable.")) or (entry.name[0] == "." and entry.suffix == ".tmp")
    return entry.name in _OURS or leftover


def clear(path: Path) -> None:
    """Removes what the manifest of a run knows, or the file of the layout before; all other files stay.

    **Raises:** `StoreError` where the manifest cannot be read, so that nobody knows what a run wrote.
    """
    if RunDirectory.exists(path):
        known = RunDirectory.open(path)
        for file in (*listed(known.shards), *listed(known.partial)):
            named = parse_name(file)
            if named and (named[0] == "flights" or (named[0].isdigit() and int(named[0]) in known.boxes)):
                file.unlink(missing_ok=True)
        for name in (PROGRESS, VERIFIED, MANIFEST, COPY):
            (path / name).unlink(missing_ok=True)
    elif is_old_file(path / OLD_FILE):
        (path / OLD_FILE).unlink()


def is_old_file(file: Path) -> bool:
    """Whether a file is a dataset of the layout before shards."""
    try:
        open_plain(file).close()
        said = attributes(file, "study_hash", "schema_version")
        return len(said) == 2 and int(said["schema_version"]) == 1
    except (OSError, ValueError):
        return False
