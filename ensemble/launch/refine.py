"""Adaptive runs: batches of members, each placed by what those before it found."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import xarray as xr

from ..engine import places
from ..store import FINISHED, Box, RunDirectory
from ..study import Study, StudyError
from .local import SECONDS_BETWEEN_KEEPS, run
from .report import Report

BATCHES = 10
"""A budget is spent in about so many batches."""
LANES = 8
"""Members that a core advances side by side."""


class Addition(Protocol):
    """Seeds to run at one grid point."""

    @property
    def x(self) -> float | str: ...
    @property
    def y(self) -> float: ...
    @property
    def seeds(self) -> range: ...


def refine(
    study: Study,
    out: str | Path,
    x: str,
    y: str,
    *,
    budget: int,
    first: Sequence[Addition],
    propose: Callable[[xr.Dataset, int], Sequence[Addition]],
    on_progress: Callable[[Report], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    keep_every: float = SECONDS_BETWEEN_KEEPS,
) -> xr.Dataset:
    """Runs members of a study where `propose` asks for them, until it asks for none or the budget is spent.

    **Arguments:**

    - `study`: a study with the axes `x` and `y`, and others of one value; `y` sets one field, and takes values that
      its grid does not have.
    - `out`: a run directory: a new one, or that of a refinement or run of this study, which goes on.
    - `budget`: members in the directory at the end, at most.
    - `first`: what to begin with; `propose(dataset, members)`: what to run next, at most so many members.

    **Returns:** the dataset, whose grid spans all values and seeds that some cell has; members that were not asked for
    are `not_run`.

    **Raises:** as `run`; `StudyError` where the study has other axes, and where the budget is too small to begin with.
    """
    begin = sum(len(addition.seeds) for addition in first)
    _check(study, x, y, budget, begin)
    path = Path(out)
    asked: Sequence[Addition] = first
    while True:
        try:
            directory = RunDirectory.open(path)
        except FileNotFoundError:
            directory = None
        if directory is not None:
            # What an interrupted batch left, then the question what comes next.
            ds = run(_like(study, directory.study, y), path, on_progress=on_progress, say=say, keep_every=keep_every)
            say = _silent
            done = int((ds["status"] >= FINISHED).sum())
            left = budget - done
            # No batch is smaller than what keeps every core's lanes busy, and none is a remainder.
            batch = max(-(-(budget - begin) // BATCHES), LANES * len(places()))
            asked = propose(ds, left if left < 1.5 * batch else batch) if left > 0 else []
            if not asked:
                return ds
        grown, boxes = _grown(study, directory.study if directory else None, x, y, asked)
        run(grown, path, boxes=boxes, on_progress=on_progress, say=_silent, keep_every=keep_every)


def _silent(_: str) -> None:
    """After its first look, a refinement says nothing of the files that it wrote itself."""


def _check(study: Study, x: str, y: str, budget: int, begin: int) -> None:
    for name, axis in (("x", x), ("y", y)):
        if axis not in study.axes:
            raise StudyError(f"{name}: got {axis!r}; the study's axes are {', '.join(study.axes) or 'none'}")
    if x == y:
        raise StudyError(f"y: got {y!r} for both axes; take two different ones")
    others = [name for name, axis in study.axes.items() if name not in (x, y) and len(axis.values) > 1]
    if others:
        raise StudyError(f"only: the axis {others[0]!r} is open; restrict it with --only {others[0]}=value")
    axis = study.axes[y]
    if axis.field is None or any(isinstance(v, str | bool | int) for v in axis.values) or len(axis.values) < 2:
        raise StudyError(
            f"y: got {y!r} with the values {list(axis.values)}; refinement needs an axis of one field "
            "and of two or more numbers with a decimal point, between which any number may be tried"
        )
    if budget < begin:
        raise StudyError(f"budget: got {budget}; this study begins with {begin} members: give as many or more")


def _like(study: Study, other: Study, y: str) -> Study:
    """The study on the grid that a directory has reached."""
    values = list(other.axes[y].values) if y in other.axes else []
    return study.replace(seeds=other.seeds, axes={**study.axes, y: values or list(study.axes[y].values)})


def _grown(study: Study, reached: Study | None, x: str, y: str, asked: Sequence[Addition]) -> tuple[Study, list[Box]]:
    """The study whose grid holds what was reached and what is asked for, and the boxes of the latter."""
    known = [] if reached is None else list(reached.axes[y].values)
    values = sorted({*known, *(a.y for a in asked)})
    seeds = max([a.seeds.stop for a in asked] + ([] if reached is None else [reached.seeds]))
    grown = study.replace(seeds=seeds, axes={**study.axes, y: values})
    places = {x: [*grown.axes[x].values], y: values}
    boxes = []
    for addition in asked:
        at = {x: places[x].index(addition.x), y: places[y].index(addition.y)}
        boxes.append(Box((*(np.array([at.get(name, 0)]) for name in grown.axes), np.array(addition.seeds))))
    return grown, boxes
