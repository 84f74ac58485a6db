"""What a study will take on this machine, by running a few of its members for a few steps."""

import math
import time
from typing import NamedTuple

import numpy as np

from ..plan import Group, groups
from ..store import Box
from ..study import Study, told
from .local import run_box

ENOUGH = 1.0
"""Seconds of steps after which a program's rate is believed."""
_FIRST_STEPS = 16
_MOST_LANES = 64
_MARGIN = 2.0
"""How far a machine that also does other things, fuller lanes and longer records were seen to change a rate."""


class Timing(NamedTuple):
    """Seconds that a study takes on this machine: between `low` and `high`, where no member ends by a rule earlier."""

    low: float
    high: float
    compilation: float
    """Of the first use of its programs, which is part of both."""
    engine: str
    is_bound: bool
    """Whether a rule may end members earlier, so that `low` is none."""

    def __str__(self) -> str:
        words = f"{_said(self.low)} to {_said(self.high)}"
        if self.is_bound:
            words = f"at most {_said(self.high)}, less where rules end members earlier"
        return (
            f"{words}: a few members of every program were timed on this machine now ({self.engine}; compilation "
            f"{_said(self.compilation)} of it)"
        )


def timing(study: Study, engine: str = "auto") -> Timing:
    """Times every program of a study, seconds each.

    Of every group of cells that one set of programs serves, up to 64 members of its first cell run for more and more
    steps, from the protocol's beginning, until the steps take a second. A member-step costs at least the difference of
    the last two runs and at most all of the last one, over its member-steps; a member costs beside its steps at most
    what 16 of them take. The study takes compilation + Σ member-steps · cost + Σ members · cost, with a factor of 2 to
    either side.

    **Arguments:** `study`; `engine` as in `run`.
    """
    compilation = least = most = 0.0
    kernels: set[str] = set()
    for group in groups(study):
        with told():  # who loaded the study was
            (cheap, dear), member, once, names = _of_group(study, group, engine)
        compilation += once
        steps = study.seeds * sum(study.member_cap(study.points[c].cell) for c in group.cells)
        least += cheap * steps
        most += dear * steps + member * study.seeds * len(group.cells)
        kernels |= names
    ruled = any(stage.has_rule for point in study.points for stage in point.cell.stages.stages)
    low, high = compilation + least / _MARGIN, compilation + most * _MARGIN
    return Timing(low, high, compilation, ", ".join(sorted(kernels)), ruled)


def _of_group(study: Study, group: Group, engine: str) -> tuple[tuple[float, float], float, float, set[str]]:
    """(least and most seconds a member-step, seconds a member beside them, seconds of compilation, kernels)."""
    point = study.points[group.cells[0]]
    lanes = min(study.seeds * len(group.cells), _MOST_LANES)
    cap = study.member_cap(point.cell)
    kernels: set[str] = set()

    def seconds(steps: int) -> tuple[float, int]:
        asked = study.replace(seeds=lanes, max_steps=steps, records=0)
        box = Box((*(np.array([i]) for i in point.place), np.arange(lanes)))
        begun = time.perf_counter()
        _, work = run_box(asked, box, engine)
        kernels.update(work.kernels)
        return time.perf_counter() - begun, work.member_steps

    steps = min(_FIRST_STEPS, cap)
    first, _ = seconds(steps)
    before, done = seconds(steps)
    short, once, cost = before, max(first - before, 0.0), (0.0, before / max(done, 1))
    while steps < cap:
        steps = min(4 * steps, cap)
        after, more = seconds(steps)
        if more == done:  # rules ended every member
            break
        cost = max(after - before, 0.0) / (more - done), after / more
        if after - before > ENOUGH:
            break
        before, done = after, more
    return cost, short / lanes, once, kernels


def _said(seconds: float) -> str:
    """Two digits, in seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.2g} s"
    for size, unit in ((3600 * 24, "days"), (3600, "h"), (60, "min")):
        if seconds >= size * 1.5:
            value = seconds / size
            return f"{value:.{max(0, 1 - math.floor(math.log10(value)))}f} {unit}"
    return f"{seconds:.0f} s"
