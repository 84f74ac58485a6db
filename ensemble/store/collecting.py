"""Collecting a run directory into one file that can be passed on."""

import os
import stat
from pathlib import Path

from .directory import FOLDERS, PROGRESS, RunDirectory
from .files import remove_temporaries_of_the_dead, replace_file, write_netcdf
from .lock import FILE_NAME
from .manifest import COPY, MANIFEST
from .reading import open_dataset
from .schema import StoreError
from .sealed import SAYS, SEAL, is_sealed, seal
from .survey import VERIFIED


def collect(directory: str | os.PathLike, file: str | os.PathLike, overwrite: bool = False) -> Path:
    """Writes the dataset of a run directory as one compressed netCDF4 file; memory is that of a few shards.

    **Arguments:** `file`: a new file, or one that `collect` wrote; with `overwrite` any plain file, but never one of a
    run directory's own.

    **Raises:** those of `open_dataset`; `StoreError` where the file cannot be written, or is not this function's to
    replace.
    """
    target = Path(file)
    with open_dataset(directory) as ds:
        _refuse(target, overwrite)
        remove_temporaries_of_the_dead(target)

        def write(temporary: Path) -> None:
            write_netcdf(ds.assign_attrs({SEAL: SAYS}), temporary, compress=True)
            seal(temporary)

        import dask.config  # where nothing is collected, it need not be installed

        # One chunk after another: memory does not grow with the number of threads.
        with dask.config.set(scheduler="synchronous"):
            replace_file(target, write)
    return target


def _refuse(target: Path, overwrite: bool) -> None:
    """Lets pass where a file may be written."""
    folder = Path(os.path.realpath(target.parent))
    if not folder.is_dir():
        raise StoreError(f"{target}: cannot be written: {target.parent} is no directory; make it first")
    inside = folder.name in FOLDERS and RunDirectory.exists(folder.parent)
    own = target.name in (MANIFEST, COPY, PROGRESS, VERIFIED, FILE_NAME) and RunDirectory.exists(folder)
    if inside or own:
        raise StoreError(f"{target}: is a run directory's own place; collect into another file")
    try:
        kind = os.lstat(target).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(kind):
        raise StoreError(f"{target}: is a link, a folder, a pipe or a device; collect into another file")
    if not overwrite and not is_sealed(target):
        raise StoreError(
            f"{target}: is there already, and `collect` did not write it; take another name, or overwrite it"
        )
