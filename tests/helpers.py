"""Questions that several tests ask."""

import time
from pathlib import Path

import numpy as np
import xarray as xr


def assert_same_members(ds: xr.Dataset, other: xr.Dataset) -> None:
    """Every variable of `ds` is bit for bit that of `other` at the same labels."""
    assert set(ds.data_vars) == set(other.data_vars)
    for name in ds.data_vars:
        labels = {d: ds[d].values for d in ds[name].dims if d in ds.coords and d != "stage"}
        np.testing.assert_array_equal(ds[name].values, other[name].sel(labels).values, err_msg=name)


def assert_identical(ds: xr.Dataset, expected: xr.Dataset) -> None:
    """Every variable of the one is bit for bit that of the other, at the same place."""
    assert set(ds.variables) == set(expected.variables)
    for name in expected.variables:
        np.testing.assert_array_equal(ds[name].values, expected[name].values, err_msg=str(name))


def shards(path: Path) -> list[Path]:
    """The shards of a run directory, by number."""
    return sorted(p for p in (path / "shards").iterdir() if p.suffix == ".nc")


def wait_for(what, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
