"""Files that are right or absent: written to a temporary name, synced, and renamed to one that holds their checksum."""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import xarray as xr
from h5py import h5d, h5l, h5o  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without stubs
from xarray.backends import NetCDF4DataStore
from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

from .schema import StoreError

_TEMPORARY = re.compile(r"\..+\.[^.]+\.[0-9]{1,9}\.tmp")
_CHECKED = re.compile(r"(?P<stem>[a-z0-9]+)-(?P<digest>[0-9a-f]{64})\.nc")


def write_netcdf(ds: xr.Dataset, path: Path, compress: bool = False) -> None:
    """A netCDF4 file of the dataset; texts as characters.

    netCDF's variable-length strings as a coordinate crash the process when a file is opened twice and one of the two
    is closed (netCDF4 1.7.5).
    """
    encoding: dict[Any, dict[str, Any]] = {n: {"dtype": "S1"} for n, v in ds.variables.items() if v.dtype.kind == "U"}
    if compress:
        encoding |= {name: {"zlib": True, "complevel": 1} for name, v in ds.data_vars.items() if v.ndim}
    if any(v.chunks for v in ds.variables.values()):
        ds.to_netcdf(path, engine="netcdf4", encoding=encoding)
        return
    # The same without asking Dask who computes: xarray imports `distributed` to ask, of values in memory, too.
    store = NetCDF4DataStore.open(path, mode="w", lock=NETCDF4_PYTHON_LOCK)
    try:
        ds.dump_to_store(store, encoding=encoding)
    finally:
        store.close()


def replace_file(target: Path, write: Callable[[Path], None], sync: bool = True) -> None:
    """Has `target` written by `write(temporary path)`: readers see the old file or the whole new one.

    `sync`: whether it must outlive a loss of power.

    **Raises:** `StoreError` where it cannot be written, with what helps; the old file stays.
    """
    with _written(target.parent, target.name, write, sync) as temporary:
        os.replace(temporary, target)


def write_checked(folder: Path, stem: str, write: Callable[[Path], None]) -> Path:
    """Has `stem`-SHA256.nc in `folder` written by `write(temporary path)`; the name is the file's own checksum."""
    with _written(folder, stem, write) as temporary:
        target = folder / f"{stem}-{digest(temporary)}.nc"
        os.replace(temporary, target)
    return target


def adopt_file(folder: Path, name: str, contents: bytes) -> None:
    """Writes a checked file that was made elsewhere.

    **Raises:** `StoreError` where its contents do not have the checksum of its name.
    """
    named = parse_name(Path(name))
    if named is None or hashlib.sha256(contents).hexdigest() != named[1]:
        raise StoreError(f"{name}: was damaged on its way here; run the same command again")
    replace_file(folder / name, lambda temporary: (temporary.write_bytes(contents), None)[1])


@contextlib.contextmanager
def _written(folder: Path, name: str, write: Callable[[Path], None], sync: bool = True) -> Iterator[Path]:
    temporary = folder / f".{name}.{socket.gethostname()}.{os.getpid()}.tmp"
    try:
        temporary.unlink(missing_ok=True)  # a link of that name would have its target written
        write(temporary)
        if sync:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        yield temporary
        if sync:
            sync_folder(folder)
    except (OSError, RuntimeError) as error:  # netCDF4 says RuntimeError where HDF5 cannot write
        raise StoreError(_cannot_write(folder, name, error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _cannot_write(folder: Path, name: str, error: Exception) -> str:
    said = f"{folder / name}: cannot be written: {error}"
    number = getattr(error, "errno", None)
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return f"{said}; the directory is not there or cannot be read: bring it back and run the same command again"
    if number in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"{said}; make {folder} writable and run the same command again"
    if number in (errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY):
        return f"{said}; move away what is in its place and run the same command again"
    return (
        f"{said}; the disk has {free / 2**20:,.0f} MiB left: make space and run the same command again, "
        "it goes on from what is stored"
    )


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_plain(path: Path) -> BufferedReader:
    """Opens a plain file for reading, without following a link and without waiting for who writes to a pipe.

    **Raises:** `FileNotFoundError`; `OSError` that says what it is where it is no plain file.
    """
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise OSError(errno.EINVAL, NOT_PLAIN)
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    return os.fdopen(handle, "rb")


NOT_PLAIN = "is a link, a folder, a pipe or a device, no plain file"


def digest(path: Path) -> str:
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_name(path: Path) -> tuple[str, str] | None:
    """(stem, checksum) that a checked file's name says; None for other files."""
    match = _CHECKED.fullmatch(path.name)
    return (match["stem"], match["digest"]) if match else None


def remove_temporaries(folder: Path) -> None:
    """Removes what killed programs left half written; only for who holds the directory's lock."""
    for path in folder.glob(".*.tmp"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def remove_temporaries_of_the_dead(target: Path) -> None:
    """Removes what programs of this machine left half written of one file before they were killed."""
    begin = f".{target.name}.{socket.gethostname()}."
    for path in target.parent.iterdir():
        process = path.name.removeprefix(begin).removesuffix(".tmp")
        if path.name == f"{begin}{process}.tmp" and process.isdecimal() and not is_alive(int(process)):
            path.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Whether a process of this machine lives."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def text_writer(text: str) -> Callable[[Path], None]:
    return lambda path: (path.write_text(text, encoding="utf-8"), None)[1]


def attributes(path: Path, *names: str) -> dict[str, Any]:
    """Those of the global attributes `names` that a netCDF4 file has.

    **Raises:** `OSError` where it is no such file.
    """
    with _said_as_os_error(), _opened(path) as file:
        found = {name: np.asarray(file.attrs[name]).reshape(-1)[0] for name in names if name in file.attrs}
        return {k: v.decode() if isinstance(v, bytes) else v for k, v in found.items()}


def has_variable(path: Path, name: str) -> bool:
    """Whether a netCDF4 file has a variable of that name.

    **Raises:** `OSError` where it is no such file.
    """
    with _said_as_os_error(), _opened(path) as file:
        return name in file


def refuse_references(path: Path) -> None:
    """Lets a netCDF4 file pass whose values are all its own: a checksum says nothing of those in other files.

    **Raises:** `OSError`.
    """
    with _said_as_os_error(), _opened(path) as file:
        for name in file.id:
            link = file.id.links.get_info(name)
            found: Any = h5o.open(file.id, name) if link.type == h5l.TYPE_HARD else None
            own = isinstance(found, h5d.DatasetID)
            how = found.get_create_plist() if own else None
            if how is None or how.get_external_count() or how.get_layout() == h5d.VIRTUAL:
                raise OSError(errno.EINVAL, f"the values of {name.decode()} are not in this file")


def _opened(path: Path) -> h5py.File:
    """**Raises:** `FileNotFoundError` where a file is gone, also where HDF5 was about to open it."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if not os.path.lexists(path):
            raise FileNotFoundError(errno.ENOENT, "is gone", str(path)) from None
        raise error


@contextlib.contextmanager
def _said_as_os_error() -> Iterator[None]:
    """What h5py says of damage depends on its place."""
    try:
        yield
    except (RuntimeError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise OSError(errno.EINVAL, f"cannot be read as netCDF4: {error}") from None


def read_variable(path: Path, name: str, where: Any = ...) -> np.ndarray:
    """Part of a variable of a netCDF4 file. h5py opens a file in a twentieth of the time that netCDF4 takes."""
    with _opened(path) as file:
        return np.asarray(cast(h5py.Dataset, file[name])[where])
