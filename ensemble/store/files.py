"""Datasets on disk: one netCDF4 file a run directory, right or absent."""

import os
from pathlib import Path

import xarray as xr

from .schema import SchemaError, check

FILE_NAME = "dataset.nc"


def dataset_path(path: str | os.PathLike) -> Path:
    """The netCDF file of a run directory; a path to a file is taken as it is."""
    path = Path(path)
    return path if path.suffix == ".nc" else path / FILE_NAME


def write_dataset(ds: xr.Dataset, directory: Path) -> Path:
    """Writes the dataset to a temporary name, syncs and renames it: readers see the old file or the new one."""
    target = dataset_path(directory)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    encoding = {}
    # Texts as characters: netCDF's variable-length strings as a coordinate crash the process when a file is
    # opened twice and one of the two is closed (netCDF4 1.7.5).
    encoding |= {name: {"dtype": "S1"} for name, v in ds.variables.items() if v.dtype.kind == "U"}
    try:
        ds.to_netcdf(temporary, engine="netcdf4", encoding=encoding)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return target


def open_dataset(path: str | os.PathLike) -> xr.Dataset:
    """Opens the dataset of a run directory (or a netCDF file of one) lazily, as dask arrays.

    A partial dataset opens too: its attribute `complete` is 0 and the status of members without a
    result is `not_run` or `running`.

    **Raises:** `FileNotFoundError` where there is none; `SchemaError` where it is no dataset of gd-atlas.
    """
    file = dataset_path(path)
    if not file.exists():
        raise FileNotFoundError(f"{path}: holds no dataset ({file.name}); make one with `python -m ensemble run`")
    try:
        ds = xr.open_dataset(file, engine="netcdf4", chunks={})
    except (OSError, ValueError) as error:
        raise SchemaError(f"{file}: cannot be read as netCDF4: {error}") from None
    try:
        check(ds, values=False)
    except (SchemaError, ValueError) as error:
        ds.close()
        raise SchemaError(f"{file}: {error}") from None
    return ds
