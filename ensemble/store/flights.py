"""Members in flight as a table of a file."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import xarray as xr

from ..engine import Flights
from ..study import Study
from .files import attributes
from .schema import sizes


def read_flights(path: Path, hashes: Collection[str]) -> Flights | None:
    """The members in flight that a run kept; None where they are those of another study than one of `hashes`."""
    if attributes(path, "study_hash").get("study_hash") not in hashes:
        return None
    with xr.open_dataset(path, engine="netcdf4") as table:
        return Flights(*(table[name].values for name in Flights._fields))


def flights_dataset(study: Study, flights: list[Flights]) -> xr.Dataset:
    """Members in flight as one table; neurons and inputs that a member does not have are zeros."""
    size = sizes(study)
    count = sum(len(f.members) for f in flights)
    precision = np.dtype(study.precision)
    arrays: dict[str, np.ndarray] = {name: np.zeros(count, np.int64) for name in Flights._fields[:5]}
    arrays["a"] = np.zeros((count, size["neuron"]), precision)
    arrays["W"] = np.zeros((count, size["neuron"], size["input"]), precision)
    begin = 0
    for one in flights:
        rows = slice(begin, begin + len(one.members))
        for name, values in one._asdict().items():
            arrays[name][(rows, *(slice(0, n) for n in values.shape[1:]))] = values
        begin += len(one.members)
    dims = ("member", "neuron", "input")
    return xr.Dataset(
        {name: (dims[: array.ndim], array) for name, array in arrays.items()}, attrs={"study_hash": study.hash}
    )
