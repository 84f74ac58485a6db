"""Shapes: the arrays that a study's dataset stores, and the sizes of their dimensions."""

# pyright: reportArgumentType=false
# Studies have a hash (`Spec.__hash__`), which pyright does not see behind pydantic's own.

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from ..parts import is_own
from ..probes import PROBES, AbstractProbe
from ..problem.students import AbstractSizedStudent, Stored
from ..study import Point, Study, StudyError
from .groups import Group, groups
from .programs import drawn_like, measured_like


def stored_arrays(study: Study) -> Mapping[str, Stored]:
    """The arrays that a dataset with weights holds, by variable."""
    return _arrays(study.hash, study)


@functools.lru_cache(maxsize=8)
def _arrays(_hash: str, study: Study) -> Mapping[str, Stored]:
    found: dict[str, Stored] = {}
    cells = {(type(point.cell.student), type(point.cell.teacher)): point.cell for point in study.points}
    for cell in cells.values():
        found |= cell.student.arrays(cell.teacher)
    return found or dict(_leaves(_groups(study.hash, study)[0], study))


def member_sizes(study: Study) -> Mapping[str, int]:
    """The sizes of the dimensions of what is stored and measured of a member: the largest of all cells."""
    return _sizes(study.hash, study)


@functools.lru_cache(maxsize=8)
def _sizes(_hash: str, study: Study) -> Mapping[str, int]:
    sizes: dict[str, int] = {}
    for point in study.points:
        _grow(sizes, _said(study, point))
    wanted = {dim for name in study.stored_probes for dim in PROBES[name].dims}
    if study.store_weights:
        wanted |= {dim for stored in stored_arrays(study).values() for dim in stored.dims}
    if wanted <= set(sizes):
        return sizes
    for group in _groups(study.hash, study):
        _grow(sizes, _traced(study, group))
    return sizes


def check_shapes(study: Study) -> None:
    """**Raises:** `StudyError` for a user's own probe that does not return the shape that it declares."""
    if all(is_own(PROBES[name]) for name in study.stored_probes):
        return
    for group in _groups(study.hash, study):
        _traced(study, group)


def _said(study: Study, point: Point) -> dict[str, int]:
    """The sizes that a student says of itself."""
    student, space = point.cell.student, study.space(point.cell)
    if not isinstance(student, AbstractSizedStudent) or space is None:
        return {}
    return student.sizes(point.cell.teacher, space)


def _grow(sizes: dict[str, int], others: Mapping[str, int]) -> None:
    for name, size in others.items():
        sizes[name] = max(size, sizes.get(name, 0))


@functools.lru_cache(maxsize=8)
def _groups(_hash: str, study: Study) -> list[Group]:
    return groups(study)


def _traced(study: Study, group: Group) -> dict[str, int]:
    """The sizes of a group's members: those that a student does not say from the shapes of what its program draws and
    measures.

    **Raises:** `StudyError` as `check_shapes` does.
    """
    like = drawn_like(group.structure.drawing(study))
    sizes = _said(study, study.points[group.cells[0]])
    for stored in stored_arrays(study).values() if study.store_weights else ():
        tree = like.model if stored.path.startswith("model") else like.risk
        _grow(sizes, dict(zip(stored.dims, jax.eval_shape(stored.of, tree).shape, strict=True)))
    shapes = measured_like(group.structure.stages[0].penalty, study.stored_probes, like)
    # What a user's own probe returns is held against what all others say.
    for name in sorted(study.stored_probes, key=lambda name: not is_own(PROBES[name])):
        probe = PROBES[name]
        if not is_own(probe):
            _require_fit(probe, shapes[name], sizes)
        _grow(sizes, dict(zip(probe.dims, shapes[name].shape, strict=True)))
    return sizes


def _require_fit(probe: AbstractProbe, like: Any, sizes: Mapping[str, int]) -> None:
    """**Raises:** `StudyError` for a probe that returns something like `like`, where it is to have these sizes."""
    shape = getattr(like, "shape", None)
    if shape is not None and len(shape) == len(probe.dims):
        if all(sizes.get(dim, size) == size for dim, size in zip(probe.dims, shape, strict=True)):
            return
    dims = ", ".join(f"{dim} ({sizes[dim]})" if dim in sizes else dim for dim in probe.dims) or "none"
    found = f"a {type(like).__name__}" if shape is None else f"an array of shape {shape}"
    raise StudyError(
        f"probes: got {probe.name!r}, which declares the dimensions {dims} and returns {found}; declare one for every "
        "dimension of the array that it returns, and another name for each that is of another size"
    )


def _leaves(group: Group, study: Study) -> Iterator[tuple[str, Stored]]:
    """A model's leaves under their own names, for a student that names none."""
    model = drawn_like(group.structure.drawing(study)).model
    for path, leaf in jax.tree_util.tree_leaves_with_path(model):
        keys = [str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key)))) for key in path]
        name = "_".join(keys) or "model"
        dims = tuple(f"{name}_{axis}" for axis in range(np.ndim(leaf)))
        yield name, Stored(".".join(["model", *keys]), dims, f"final {name}")
