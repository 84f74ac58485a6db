"""Adaptive runs: batches of members, each placed where a boundary is uncertain by what those before it found."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr

import ensemble as ens

from ..members import finished, like, require_threshold
from .boundary import Scale, boundary
from .question import Question, keep, require_room
from .refinement import additions, first_additions

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
    study: ens.Study | str | Path,
    out: str | Path,
    x: str,
    y: str,
    measure: str,
    below: float,
    *,
    budget: int,
    width: float = 0.0,
    on_progress: Callable[[ens.Report], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    **how: Any,
) -> xr.Dataset:
    """Runs members of a study where the boundary of `measure` < `below` in y is uncertain, until it is known or the
    budget is spent.

    **Arguments:**

    - `study`: a study with the axes `x` and `y`, and others of one value; `y` sets one field, and takes values that
      its grid does not have. A path of a study file will do.
    - `out`: a run directory: a new one, or that of a refinement or run of this study, which goes on. What was asked is
      kept there, so that a page of the run opens with it.
    - `budget`: members in the directory at the end, at most.
    - `width`: a column whose band is this narrow (in units of y, or decades where y is log-spaced) gets no more.
    - `on_progress`, `say`, and `how` (such as `keep_every`): as `ensemble.run`.

    **Returns:** the dataset, whose grid spans all values and seeds that some cell has; members that were not asked for
    are `not_run`.

    **Raises:** as `ensemble.run`; `StudyError` where the study has other axes or does not store the measure, for a
    threshold that is not positive, and where the budget is too small to begin with.
    """
    study = study if isinstance(study, ens.Study) else ens.Study.from_toml(study)
    _check(study, x, y)
    if measure not in study.probes:
        stored = ", ".join(study.probes)
        raise ens.StudyError(f"measure: got {measure!r}; the study stores {stored}{like(measure, study.probes)}")
    require_threshold(below)
    require_room(Path(out))
    others = {name: 0 for name in study.axes if name not in (x, y)}  # of one value each
    grid = [float(v) for v in study.axes[y].values]
    asked = Question(x=x, y=y, measure=measure, below=below)

    def propose(ds: xr.Dataset, members: int) -> Sequence[Addition]:
        keep(Path(out), asked)
        ds = ds.isel(others)
        say(_bands_line(ds, x, y, measure, below))
        return additions(ds, x, y, measure, below, grid, members, width)

    first = first_additions(study.axes[x].values, grid)
    ds = run_batches(
        study, out, x, y, budget=budget, first=first, propose=propose, on_progress=on_progress, say=say, **how
    )
    keep(Path(out), asked)
    return ds


def _scaled(study: ens.Study, reached: ens.Study | None, y: str) -> ens.Study:
    """The study with the scale of its own y said: the values that a refinement adds may look even on another one."""
    axis = study.axes[y]
    known = axis.scale or (reached.axes[y].scale if reached is not None and y in reached.axes else None)
    scale = known or Scale.of([float(v) for v in axis.values]).name
    return study.replace(axes={**study.axes, y: axis.model_copy(update={"scale": scale})})


def _bands_line(ds: xr.Dataset, x: str, y: str, measure: str, below: float) -> str:
    """How well the boundary is known."""
    widths = boundary(ds, x, y, measure, below)["band_width"]
    open_bands = int(np.isinf(widths).sum())
    known = widths.where(np.isfinite(widths))
    return (
        f"{int(finished(ds).sum()):,} members: widest band {float(known.max()):.3g}, mean {float(known.mean()):.3g}"
        + (f"; {open_bands} of {widths.size} reach beyond the grid" if open_bands else "")
    )


def run_batches(
    study: ens.Study,
    out: str | Path,
    x: str,
    y: str,
    *,
    budget: int,
    first: Sequence[Addition],
    propose: Callable[[xr.Dataset, int], Sequence[Addition]],
    on_progress: Callable[[ens.Report], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    **how: Any,
) -> xr.Dataset:
    """Runs members of a study where `propose` asks for them, until it asks for none or the budget is spent.

    **Arguments:** `first`: what to begin with; `propose(dataset, members)`: what to run next, at most so many members;
    the others, what is returned and what is raised: as `refine`.
    """
    begin = sum(len(addition.seeds) for addition in first)
    _check(study, x, y)
    if budget < begin:
        raise ens.StudyError(f"budget: got {budget}; this study begins with {begin} members: give as many or more")
    path = Path(out)
    study = _scaled(study, _reached(path), y)
    asked: Sequence[Addition] = first
    while True:
        reached = _reached(path)
        if reached is not None:
            # What an interrupted batch left, then the question what comes next.
            ds = ens.run(_like(study, reached, y), path, on_progress=on_progress, say=say, **how)
            say = _silent
            left = budget - int(finished(ds).sum())
            # No batch is smaller than what keeps every core's lanes busy, and none is a remainder.
            batch = max(-(-(budget - begin) // BATCHES), LANES * len(ens.places()))
            asked = propose(ds, left if left < 1.5 * batch else batch) if left > 0 else []
            if not asked:
                return ds
        grown, boxes = _grown(study, reached, x, y, asked)
        ens.run(grown, path, boxes=boxes, on_progress=on_progress, say=_silent, **how)


def _reached(path: Path) -> ens.Study | None:
    """The study on the grid that a directory has reached; None where there is nothing."""
    try:
        with ens.open_dataset(path) as ds:
            return ens.Study.from_json(ds.attrs["study"])
    except FileNotFoundError:
        return None


def _silent(_: str) -> None:
    """After its first look, a refinement says nothing of the files that it wrote itself."""


def _check(study: ens.Study, x: str, y: str) -> None:
    for name, axis in (("x", x), ("y", y)):
        if axis not in study.axes:
            axes = ", ".join(study.axes) or "none"
            raise ens.StudyError(f"{name}: got {axis!r}; the study's axes are {axes}{like(axis, study.axes)}")
    if x == y:
        raise ens.StudyError(f"y: got {y!r} for both axes; take two different ones")
    others = [name for name, axis in study.axes.items() if name not in (x, y) and len(axis.values) > 1]
    if others:
        values = list(study.axes[others[0]].values)
        raise ens.StudyError(f"at: the axis {others[0]!r} is open; refine at one of its values {values}")
    axis = study.axes[y]
    if axis.field is None or any(isinstance(v, str | bool | int) for v in axis.values) or len(axis.values) < 2:
        raise ens.StudyError(
            f"y: got {y!r} with the values {list(axis.values)}; refinement needs an axis of one field "
            "and of two or more numbers with a decimal point, between which any number may be tried"
        )


def _like(study: ens.Study, other: ens.Study, y: str) -> ens.Study:
    """The study on the grid that a directory has reached."""
    values = list(other.axes[y].values) if y in other.axes else []
    return study.replace(seeds=other.seeds, axes={**study.axes, y: values or list(study.axes[y].values)})


def _grown(
    study: ens.Study, reached: ens.Study | None, x: str, y: str, asked: Sequence[Addition]
) -> tuple[ens.Study, list[ens.Box]]:
    """The study whose grid holds what was reached and what is asked for, and the boxes of the latter."""
    known = [] if reached is None else list(reached.axes[y].values)
    values = sorted({*known, *(a.y for a in asked)})
    seeds = max([a.seeds.stop for a in asked] + ([] if reached is None else [reached.seeds]))
    grown = study.replace(seeds=seeds, axes={**study.axes, y: values})
    places = {x: [*grown.axes[x].values], y: values}
    boxes = []
    for addition in asked:
        at = {x: places[x].index(addition.x), y: places[y].index(addition.y)}
        boxes.append(ens.Box((*(np.array([at.get(name, 0)]) for name in grown.axes), np.array(addition.seeds))))
    return grown, boxes
