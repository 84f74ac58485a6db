"""Boxes: rectangular parts of a study's grid of axes × seeds, of which each shard holds one."""

import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from ..study import Study


class Box(NamedTuple):
    """Increasing indices along every axis of a study and along its seeds."""

    indices: tuple[np.ndarray, ...]

    @classmethod
    def whole(cls, study: Study) -> Self:
        return cls(tuple(np.arange(n) for n in grid(study)))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(i) for i in self.indices)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def members(self, study: Study) -> np.ndarray:
        """The members' numbers, increasing."""
        return np.ravel_multi_index(np.ix_(*self.indices), grid(study)).ravel()

    def runs(self) -> list[list[list[int]]]:
        """As JSON: every dimension as a list of [first, last + 1]."""
        found = []
        for indices in self.indices:
            cuts = np.flatnonzero(np.diff(indices) != 1) + 1
            found.append([[int(part[0]), int(part[-1]) + 1] for part in np.split(indices, cuts)])
        return found

    @classmethod
    def from_runs(cls, runs: Any, study: Study | None = None) -> Self:
        """The box that JSON describes, of a study's grid where one is given.

        **Raises:** `ValueError` where it is no box.
        """
        sizes = (sys.maxsize,) * len(runs) if study is None else grid(study)
        if not isinstance(runs, list | tuple) or len(runs) != len(sizes):
            raise ValueError(f"box: got {str(runs)[:80]}; needs {len(sizes)} dimensions")
        for dimension, size in zip(runs, sizes, strict=True):
            if not _is_increasing(dimension, size):
                raise ValueError(
                    f"box: got {str(dimension)[:80]}; needs increasing parts [first, last + 1] of 0 to {size}"
                )
        return cls(tuple(np.concatenate([np.arange(*run) for run in dimension]) for dimension in runs))

    def moved(self, old: Study, new: Study) -> Self:
        """The same labels in a study that extends the one of this box, whatever the order of its values."""
        return type(self)(tuple(np.sort(place) for place in self._places(old, new)))

    def order(self, old: Study, new: Study) -> tuple[np.ndarray, ...] | None:
        """Where the labels of `moved` stand in this box, along every dimension; None where they keep their order."""
        found = tuple(np.argsort(place) for place in self._places(old, new))
        return None if all(np.array_equal(o, np.arange(len(o))) for o in found) else found

    def _places(self, old: Study, new: Study) -> list[np.ndarray]:
        return [place[i] for place, i in zip(positions(old, new), self.indices, strict=True)]

    def overlaps(self, other: Self) -> bool:
        """Whether two boxes of a study have members in common."""
        return all(len(np.intersect1d(a, b)) for a, b in zip(self.indices, other.indices, strict=True))


def _is_increasing(dimension: Any, size: int) -> bool:
    """Whether these are parts [first, last + 1] of 0 … size that do not touch: a box has one text."""
    if not isinstance(dimension, list | tuple) or not dimension:
        return False
    if any(not isinstance(run, list | tuple) or len(run) != 2 for run in dimension):
        return False
    ends = [end for run in dimension for end in run]
    if any(type(end) is not int for end in ends) or ends[0] < 0 or ends[-1] > size:
        return False
    return all(a < b for a, b in itertools.pairwise(ends))


def grid(study: Study) -> tuple[int, ...]:
    """Points along every axis, and seeds."""
    return (*(len(axis.values) for axis in study.axes.values()), study.seeds)


def positions(old: Study, new: Study) -> list[np.ndarray]:
    """Where the labels of a study's axes and seeds stand in a study that extends it; in any order there."""
    found = [
        np.array([new.axes[name].values.index(value) for value in axis.values], int) for name, axis in old.axes.items()
    ]
    return [*found, np.arange(old.seeds)]


def cut(region: Sequence[np.ndarray], most: int) -> Iterator[Box]:
    """A region as boxes of at most `most` members, in the order of members.

    The last dimensions stay whole, one is split evenly, those before it have one index a box: so boxes are
    consecutive members, and lie on a regular grid.
    """
    whole, first = 1, len(region)
    while first > 0 and whole * len(region[first - 1]) <= most:
        first -= 1
        whole *= len(region[first])
    pieces = [[indices] for indices in region]
    if first > 0:
        count = -(-len(region[first - 1]) // max(1, most // whole))
        pieces[first - 1] = np.array_split(region[first - 1], count)
        pieces[: first - 1] = [np.array_split(i, len(i)) for i in region[: first - 1]]
    for place in np.ndindex(*map(len, pieces)):
        yield Box(tuple(piece[i] for piece, i in zip(pieces, place, strict=True)))


def regions_beyond(old: Study, new: Study) -> Iterator[tuple[np.ndarray, ...]]:
    """The part of a study's grid that the study it extends does not have, as disjoint regions."""
    known = positions(old, new)
    whole = [np.arange(n) for n in grid(new)]
    for i, everything in enumerate(whole):
        added = np.setdiff1d(everything, known[i])
        if len(added):
            yield (*(np.sort(k) for k in known[:i]), added, *whole[i + 1 :])
