"""Shapes: the arrays that a study's dataset stores, and the sizes of their dimensions."""

# pyright: reportArgumentType=false
# Studies have a hash (`Spec.__hash__`), which pyright does not see behind pydantic's own.

import functools
from collections.abc import Iterator, Mapping

import jax
import numpy as np

from ..probes import PROBES
from ..problem.students import AbstractSizedStudent, Stored
from ..study import Study
from .groups import Group, groups
from .programs import drawn_like, measured_like


def stored_arrays(study: Study) -> Mapping[str, Stored]:
    """The arrays that a dataset with weights holds, by variable."""
    found: dict[str, Stored] = {}
    cells = {(type(point.cell.student), type(point.cell.teacher)): point.cell for point in study.points}
    for cell in cells.values():
        found |= cell.student.arrays(cell.teacher)
    return found or dict(_leaves(_groups(study.hash, study)[0], study))


def member_sizes(study: Study) -> dict[str, int]:
    """The sizes of the dimensions of what is stored and measured of a member: the largest of all cells."""
    sizes: dict[str, int] = {}
    for point in study.points:
        student, space = point.cell.student, study.space(point.cell)
        if isinstance(student, AbstractSizedStudent) and space is not None:
            _grow(sizes, student.sizes(point.cell.teacher, space))
    wanted = {dim for name in study.stored_probes for dim in PROBES[name].dims}
    if study.store_weights:
        wanted |= {dim for stored in stored_arrays(study).values() for dim in stored.dims}
    if wanted <= set(sizes):
        return sizes
    for group in _groups(study.hash, study):
        _grow(sizes, _traced(study, group))
    return sizes


def _grow(sizes: dict[str, int], others: Mapping[str, int]) -> None:
    for name, size in others.items():
        sizes[name] = max(size, sizes.get(name, 0))


@functools.lru_cache(maxsize=8)
def _groups(_hash: str, study: Study) -> list[Group]:
    return groups(study)


def _traced(study: Study, group: Group) -> dict[str, int]:
    """The sizes that a student does not say, from the shapes of what its program draws and measures."""
    like = drawn_like(group.structure.drawing(study))
    sizes: dict[str, int] = {}
    shapes = measured_like(group.structure.stages[0].penalty, study.stored_probes, like)
    for name in study.stored_probes:
        _grow(sizes, dict(zip(PROBES[name].dims, shapes[name].shape, strict=True)))
    for stored in stored_arrays(study).values() if study.store_weights else ():
        tree = like.model if stored.path.startswith("model") else like.risk
        _grow(sizes, dict(zip(stored.dims, jax.eval_shape(stored.of, tree).shape, strict=True)))
    return sizes


def _leaves(group: Group, study: Study) -> Iterator[tuple[str, Stored]]:
    """A model's leaves under their own names, for a student that names none."""
    model = drawn_like(group.structure.drawing(study)).model
    for path, leaf in jax.tree_util.tree_leaves_with_path(model):
        keys = [str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key)))) for key in path]
        name = "_".join(keys) or "model"
        dims = tuple(f"{name}_{axis}" for axis in range(np.ndim(leaf)))
        yield name, Stored(".".join(["model", *keys]), dims, f"final {name}")
