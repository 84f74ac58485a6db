"""Members in flight as a file: the leaves of what moves, program by program; and those that go on from their ends."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from ..engine import ACTIVE, Flights
from ..plan import Group, stored_arrays
from ..study import Study
from .files import attributes
from .results import Results
from .schema import STATUS


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
        found.append(Flights(values[f"{i}.members"], values[f"{i}.stage"], values[f"{i}.start_step"], leaves))
    return tuple(found)


def _of_first_layout(values: dict[str, np.ndarray]) -> Flights:
    """Members of plain descent on two-layer networks, from when there were no others: a, W, step, code, record, λ,
    η."""
    count, kind = len(values["members"]), values["a"].dtype
    code, number = np.zeros(count, np.int32), np.zeros(count, kind)
    step, record = (values[name].astype(np.int32) for name in ("step", "record"))
    leaves = (values["a"], values["W"], step, code, record, number, number)
    return Flights(values["members"], values["stage"], values["start_step"], leaves)


def end_is_all(group: Group, study: Study) -> str | None:
    """Why the weights of a group's members at their ends are not all that they need to go on; None where they are."""
    stage, number = group.structure.stages[-1], group.pool_of_stage[-1]
    if number is None:
        return f"the last stage {stage.name!r} takes no step"
    moving = group.pools[number].like.moving
    if jax.tree.leaves(moving.state):
        return f"the update {stage.update.kind!r} goes by a memory of the steps before, which is not kept of members"
    if jax.tree.leaves(moving.anchor):
        return f"the stage {stage.name!r} goes by the weights with which it began, which are not kept of members"
    if not study.store_weights:
        return "their weights were not stored (store_weights = false)"
    if missing := [path for path in _leaf_paths(moving.model) if _source(path, study) is None]:
        return f"the weights {missing[0]} of their students are not stored"
    return None


def flights_of_ended(study: Study, group: Group, results: Results) -> Flights | None:
    """The members of a group whose last stage had ended and who are `running` again: in flight where they ended.

    At the last step of a stage nothing is recorded and no rule is looked at, so that a member that took all its steps
    is where one that was stopped there would be.
    """
    numbers = [study.stage_names.index(stage.name) for stage in group.structure.stages]
    ends = results.arrays["stage_end_step"]
    mine = np.isin(results.members // study.seeds, group.cells) & (results.status == STATUS["running"])
    rows = np.flatnonzero(mine & (ends[:, numbers[-1]] >= 0))
    pool = group.pool_of_stage[-1]
    if not len(rows) or pool is None:
        return None
    zeros, step = np.zeros(len(rows), np.int32), ends[rows, numbers[-1]].astype(np.int32)
    like = group.pools[pool].like.moving
    sources = [_source(path, study) for path in _leaf_paths(like.model)]
    model = [results.arrays[name][(rows, *place)] for name, place in filter(None, sources)]
    record = np.searchsorted(study.record_steps, step).astype(np.int32)
    number = zeros.astype(study.precision)  # λ and η are those of the next step, which is taken before they are asked
    leaves = (*model, step, zeros + np.int32(ACTIVE), record, number, number)
    start = ends[rows, numbers[-2]] if len(numbers) > 1 else zeros
    return Flights(results.members[rows], zeros + len(numbers) - 1, start, leaves)


def _leaf_paths(model: Any) -> list[str]:
    """The paths of a model's leaves: `W`, `layers.0.weight`."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(model)]
    return [jax.tree_util.keystr(path, simple=True, separator=".") for path in paths]


def _source(path: str, study: Study) -> tuple[str, tuple[int, ...]] | None:
    """The variable that holds a leaf, and where in it; None where none does."""
    variables = {stored.path: name for name, stored in stored_arrays(study).items()}
    if f"model.{path}" in variables:
        return variables[f"model.{path}"], ()
    layers, _, rest = path.partition(".")
    layer, _, leaf = rest.partition(".")
    stack = {"": "model.stacked", "weight": "model.stacked", "bias": "model.stacked_biases"}.get(leaf)
    if layers == "layers" and layer.isdecimal() and stack in variables:
        return variables[stack], (int(layer),)
    return None
