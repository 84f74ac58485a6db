"""The way of a member's neurons: where each started, where it ended, and the planes to look at it in."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ensemble import Study, initial
from ensemble.study import Cell

from ..problems import cells
from ..selection import one_member


class Plane(NamedTuple):
    """The plane of two teacher neurons: along the first, and across."""

    first: int
    second: int
    rows: np.ndarray
    """Two orthonormal rows."""


class Paths(NamedTuple):
    """Neurons of one member as points |a_i| w_i, shape (neuron, input)."""

    begin: np.ndarray
    """NaN where it was not drawn."""
    end: np.ndarray
    sign: np.ndarray
    """Of a_i at the end."""
    teacher: np.ndarray
    planes: list[Plane]
    labels: dict[str, Any]


def neuron_paths(ds: xr.Dataset) -> Paths:
    """Start and end of every neuron of the one member that is left (the first finished seed where seeds are open).

    The start is drawn again, bit for bit, from the study; a neuron of an even activation is given at that end of its
    line which is nearer to its teacher neuron. `planes`: that of the two teacher neurons whose lines are closest, and
    of the closest two among the others.

    **Raises:** `ValueError` where weights were not stored, an axis is open, or the teacher spans no plane.
    """
    member, labels = one_member(ds)
    arrays = {name: member[name].values for name in ARRAYS}
    return paths_of(arrays, labels, cells(member).flat[0], Study.from_json(ds.attrs["study"]))


ARRAYS = ("a", "W", "teacher_a", "teacher_W")


def paths_of(arrays: Mapping[str, np.ndarray], labels: dict[str, Any], cell: Cell, study: Study | None) -> Paths:
    """The same of one member's `ARRAYS` and labels. Without its study the start, whose drawing takes 10 ms, is NaN."""
    end = _points(arrays["a"], arrays["W"])
    begin = np.full(end.shape, np.nan)
    if study is not None:
        at = {name: value for name, value in labels.items() if name != "seed"}
        student, _ = initial(study, labels["seed"], **at)
        begin = _points(np.asarray(student.a), np.asarray(student.W))
    width, inputs = len(begin), len(begin[0])  # beyond them a cell has zeros
    end, many = end[:width, :inputs], cell.teacher.shape()[0]
    directions = arrays["teacher_W"][:many, :inputs]
    stars = _points(arrays["teacher_a"][:many], directions)
    found = planes(directions)
    if not found:
        raise ValueError("teacher: got one direction; neurons are drawn on a teacher's plane, of two")
    if cell.teacher.sigma.symmetry == "line":
        overlap = end @ stars.T
        nearest = overlap[np.arange(width), np.abs(overlap).argmax(axis=1)]
        end = np.where(nearest < 0, -1.0, 1.0)[:, None] * end
        begin = np.where(np.sum(begin * end, axis=1) < 0, -1.0, 1.0)[:, None] * begin
    return Paths(begin, end, np.sign(arrays["a"][:width]), stars, found, labels)


def _points(a: np.ndarray, W: np.ndarray) -> np.ndarray:
    """|a| w of every neuron."""
    return W * np.abs(a)[:, None]


def vanished(paths: Paths) -> np.ndarray:
    """Which neurons have no mass left at the end: below 1e-3 of the largest teacher mass, as in the probe `active`."""
    return np.linalg.norm(paths.end, axis=1) < 1e-3 * np.linalg.norm(paths.teacher, axis=1).max()


def in_view(stars: np.ndarray, plane: Plane) -> list[int]:
    """Teacher neurons to draw in a plane: its two first, then others whose projection is no point.

    A teacher that is seen end on would stand on the neurons that vanished, and say nothing.
    """
    pair, lengths = [plane.first, plane.second], np.linalg.norm(stars, axis=1)
    return pair + [j for j in range(len(stars)) if j not in pair and lengths[j] > 0.1 * lengths.max()]


def planes(teacher_W: np.ndarray) -> list[Plane]:
    """Up to two planes of pairs of teacher neurons, the closest lines first; no neuron is in both pairs."""
    unit = teacher_W / np.linalg.norm(teacher_W, axis=1, keepdims=True)
    left, found = list(range(len(unit))), []
    while len(left) >= 2 and len(found) < 2:
        cosines = [(abs(float(unit[i] @ unit[j])), i, j) for n, i in enumerate(left) for j in left[n + 1 :]]
        pairs = [(round(c, 9), -i, -j) for c, i, j in cosines if c < 1 - 1e-12]
        if not pairs:
            break
        _, i, j = max(pairs)
        i, j = -i, -j
        across = unit[j] - (unit[i] @ unit[j]) * unit[i]
        found.append(Plane(i, j, np.stack([unit[i], across / np.linalg.norm(across)])))
        left = [k for k in left if k not in (i, j)]
    return found
