"""Members in flight as a file: the leaves of what moves, program by program."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import xarray as xr

from ..engine import Flights
from ..study import Study
from .files import attributes


def flights_dataset(study: Study, flights: list[Flights]) -> xr.Dataset:
    """Members in flight as one table; those of the i-th program are the variables `i.members`, …, `i.leaf.0`, …"""
    arrays: dict[str, tuple] = {}
    for i, one in enumerate(flights):
        for name in ("members", "stage", "start_step"):
            arrays[f"{i}.{name}"] = (f"member_{i}", getattr(one, name))
        for k, leaf in enumerate(one.leaves):
            arrays[f"{i}.leaf.{k}"] = ((f"member_{i}", *(f"{i}.{k}.{axis}" for axis in range(1, leaf.ndim))), leaf)
    return xr.Dataset(arrays, attrs={"study_hash": study.hash, "programs": len(flights)})


def read_flights(path: Path, hashes: Collection[str]) -> tuple[Flights, ...]:
    """What `flights_dataset` made a file of; none where it is of another study than one of `hashes`."""
    if attributes(path, "study_hash").get("study_hash") not in hashes:
        return ()
    with xr.open_dataset(path, engine="netcdf4") as table:
        values = {str(name): variable.values for name, variable in table.variables.items()}
        programs = table.attrs.get("programs")
    if programs is None:
        return (_of_first_layout(values),)
    found = []
    for i in range(int(programs)):
        count = sum(name.startswith(f"{i}.leaf.") for name in values)
        leaves = tuple(values[f"{i}.leaf.{k}"] for k in range(count))
        found.append(Flights(*(values[f"{i}.{name}"] for name in ("members", "stage", "start_step")), leaves))
    return tuple(found)


def _of_first_layout(values: dict[str, np.ndarray]) -> Flights:
    """Members of plain descent on two-layer networks, from when there were no others: a, W, step, code, record, λ, η."""
    count, kind = len(values["members"]), values["a"].dtype
    code, number = np.zeros(count, np.int32), np.zeros(count, kind)
    step, record = (values[name].astype(np.int32) for name in ("step", "record"))
    leaves = (values["a"], values["W"], step, code, record, number, number)
    return Flights(values["members"], values["stage"], values["start_step"], leaves)
