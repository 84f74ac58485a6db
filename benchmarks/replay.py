"""Refinement without an engine: outcomes of members are read from a dense table, so that a replay takes seconds.

A table is a run directory of a study at many levels of y and many seeds (`python -m benchmarks.refine --table DIR`).
A root is an order of the table's seeds: the uniform grid has the first of them in every cell, a refined column takes
one after the other, as members of a run do. Between two levels of the table a member has the outcome of one of them,
drawn by the distance: the share is linear there.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import xarray as xr

import ensemble as ens
from analysis.boundaries.boundary import Scale
from analysis.boundaries.refine import BATCHES, LANES
from analysis.boundaries.refinement import Addition, additions, first_additions


class Table(NamedTuple):
    """Which members of a study are below a threshold."""

    study: ens.Study
    """Its own grid: not that of the table."""
    x: str
    y: str
    measure: str
    below: float
    at: np.ndarray
    """Levels of the table (y), increasing."""
    inside: np.ndarray
    """(column, level, seed)"""

    @classmethod
    def read(cls, study: ens.Study, ds: xr.Dataset, x: str, y: str, measure: str, below: float) -> Self:
        """From a dataset that holds all values of x, and all seeds of each cell."""
        ds = ds.sortby(y).sel({x: list(study.axes[x].values)}).transpose(x, y, "seed", ...)
        if not bool((ds["status"] >= ens.STATUS["converged"]).all()):
            raise ValueError("table: some members are not run; run it to its end")
        return cls(study, x, y, measure, below, ds[y].values.astype(float), ds[measure].values < below)

    @property
    def scale(self) -> Scale:
        return Scale.of(np.array(self.study.axes[self.y].values, float))

    def shares(self, heights: Sequence[float]) -> np.ndarray:
        """(column, height): the share of the table's seeds."""
        positions = self.scale.positions
        places, shares = positions(self.at), self.inside.mean(axis=-1)
        return np.array([np.interp(positions(np.array(heights)), places, row) for row in shares])

    def outcome(self, column: int, height: float, seed: int, generator: np.random.Generator) -> bool:
        """That of a member."""
        own = np.interp(self.scale.positions(np.array(height)), self.scale.positions(self.at), np.arange(len(self.at)))
        level = int(np.floor(own) + (generator.random() < own - np.floor(own)))
        return bool(self.inside[column, level, seed % self.inside.shape[-1]])

    def dataset(self, heights: np.ndarray, inside: np.ndarray, counted: np.ndarray) -> xr.Dataset:
        """As a run of the study has it: booleans (column, height, seed)."""
        dims = (self.x, self.y, "seed")
        value = np.where(inside, 0.5 * self.below, 2.0 * self.below)
        status = np.where(counted, ens.STATUS["converged"], ens.STATUS["not_run"])
        coordinates = {self.x: list(self.study.axes[self.x].values), self.y: heights, "seed": range(inside.shape[-1])}
        attributes = {"study": self.study.text, "study_hash": self.study.hash}
        return xr.Dataset({self.measure: (dims, value), "status": (dims, status)}, coordinates, attributes)

    def uniform(self, root: int) -> xr.Dataset:
        """The study's own grid, with as many seeds as it says."""
        order, generator = self._drawn(root)
        heights = np.sort(np.array(self.study.axes[self.y].values, float))
        inside = np.array(
            [
                [[self.outcome(x, y, s, generator) for s in order[: self.study.seeds]] for y in heights]
                for x in range(len(self.inside))
            ]
        )
        return self.dataset(heights, inside, np.ones_like(inside))

    def refined(self, root: int, budget: int, cores: int = 2) -> xr.Dataset:
        """What a refinement of so many members finds."""
        order, generator = self._drawn(root)
        values, grid = list(self.study.axes[self.x].values), [float(v) for v in self.study.axes[self.y].values]
        asked: list[Addition] = first_additions(values, grid)
        begin = sum(len(a.seeds) for a in asked)
        batch = max(-(-(budget - begin) // BATCHES), LANES * cores)
        seen: list[tuple[int, float, int, bool]] = []
        while True:
            for a in asked:
                column = values.index(a.x)
                seen += [(column, a.y, s, self.outcome(column, a.y, order[s % len(order)], generator)) for s in a.seeds]
            ds = self._seen(seen)
            left = budget - len(seen)
            members = left if left < 1.5 * batch else batch
            asked = additions(ds, self.x, self.y, self.measure, self.below, grid, members) if left > 0 else []
            if not asked:
                return ds

    def _drawn(self, root: int) -> tuple[np.ndarray, np.random.Generator]:
        generator = np.random.default_rng(root)
        return generator.permutation(self.inside.shape[-1]), generator

    def _seen(self, seen: list[tuple[int, float, int, bool]]) -> xr.Dataset:
        columns, heights, seeds, outcomes = (np.array(v) for v in zip(*seen, strict=True))
        levels = np.unique(heights)
        at = columns, np.searchsorted(levels, heights), seeds
        inside = np.zeros((len(self.inside), len(levels), int(seeds.max()) + 1), bool)
        counted = inside.copy()
        inside[at], counted[at] = outcomes, True
        return self.dataset(levels, inside, counted)
