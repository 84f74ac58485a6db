"""Making one member again from a file alone, and comparing it bit for bit."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..store import FINISHED, Box, open_dataset
from ..study import Study, StudyError
from .local import run_box


class Comparison(NamedTuple):
    """A stored member beside the same one computed anew."""

    labels: dict[str, object]
    different: dict[str, float]
    """The largest difference of each variable that is not bit for bit the same (NaN where only one is NaN)."""
    variables: int
    engine: str
    """What computed it, then and now."""


def reproduce(path: str | Path, at: Mapping[str, object]) -> Comparison:
    """Runs one member of a dataset again, from the study that the dataset holds, and compares every variable.

    **Arguments:** `path`: a run directory or one file of it; `at`: the value of every axis that has more than one, and
    `seed`; texts that write a value will do.

    **Raises:** `StudyError` for labels that the dataset does not have, or a member without a result.
    """
    with open_dataset(path) as ds:
        study = Study.from_json(ds.attrs["study"])
        places = _places(ds, (*study.axes, "seed"), at)
        member = ds.isel({name: [place] for name, place in places.items()}).load()
        engine = str(ds.attrs.get("engine", ""))
    found = {name: member[name].values[0].item() for name in places}
    if member["status"].values.item() < FINISHED:
        raise StudyError(f"at: {_said(found)} has no result yet; finish the run first")
    indices = [np.array([list(axis.values).index(found[name])]) for name, axis in study.axes.items()]
    # What computed the file is asked for, where it was one alone.
    asked = "auto" if not engine or ", " in engine else engine
    results, work = run_box(study, Box((*indices, np.array([found["seed"]]))), asked)
    again = results.dataset({})
    different = {}
    for name in results.variables.keys() & member.data_vars.keys():  # a file may be older than a variable
        before, after = member[name].values, again[name].values
        if not np.array_equal(before, after, equal_nan=before.dtype.kind == "f"):
            different[name] = float(np.max(np.abs(before.astype(float) - after.astype(float))))
    now = ", ".join(sorted(work.kernels))
    return Comparison(
        found,
        different,
        len(results.variables.keys() & member.data_vars.keys()),
        now if now == engine else f"{engine} then, {now} now",
    )


def _places(ds, names: tuple[str, ...], at: Mapping[str, object]) -> dict[str, int]:
    unknown = set(at) - set(names)
    if unknown:
        raise StudyError(f"at: got {sorted(unknown)[0]!r}; the labels of a member are {', '.join(names)}")
    places = {}
    for name in names:
        values = ds[name].values.tolist()
        if name not in at and len(values) > 1:
            raise StudyError(f"at: got no {name}; a member has a value of each of {', '.join(names)}")
        matches = [i for i, v in enumerate(values) if name not in at or _same(v, at[name])]
        if not matches:
            raise StudyError(f"at: got {name} = {at[name]!r}; its values are {values}")
        places[name] = matches[0]
    return places


def _same(value: object, given: object) -> bool:
    if str(value) == str(given):
        return True
    try:
        return isinstance(value, int | float) and float(str(given)) == float(value)
    except ValueError:
        return False


def _said(labels: dict[str, object]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in labels.items())
