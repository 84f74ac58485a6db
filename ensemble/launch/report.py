"""What a run says while it goes on."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..store import FINISHED, STATUS
from ..study import Study


class Report(NamedTuple):
    """How far a run is."""

    members: int
    finished: int
    converged: int | None
    """None where no stop rule can make a member converge."""
    member_steps: int
    """Of this run of the command."""
    share: float
    """Share of the work that is done, as far as it can be known."""
    seconds: float


class Reporter:
    """Makes reports out of what the engine and the collection count."""

    def __init__(
        self, study: Study, on_progress: Callable[[Report], None], before: int = 0, members: int | None = None
    ):
        """`before`: members that had a result when this run began; `members`: those that it works on."""
        self.study, self.on_progress, self.before = study, on_progress, before
        self.has_rule = any(p.cell.stages.stages[-1].has_rule for p in study.points)
        self.members = study.members if members is None else before + members
        of_all = study.seeds * sum(study.member_cap(p.cell) for p in study.points)
        self.most_steps = of_all * (1.0 if members is None else members / study.members)
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def share(self, ended: np.ndarray, member_steps: int) -> float:
        """How much of this run's work is done: by members, or by steps where that says more."""
        own = self.members - self.before
        by_members = (int(ended[FINISHED:].sum()) - self.before) / own if own else 1.0
        return max(by_members, min(member_steps / self.most_steps, 1.0))

    def report(self, ended: np.ndarray, member_steps: int) -> Report:
        """Passes a report on and returns it; `ended` counts all members with a result by status."""
        made = Report(
            members=self.members,
            finished=int(ended[FINISHED:].sum()),
            converged=int(ended[STATUS["converged"]]) if self.has_rule else None,
            member_steps=member_steps,
            share=self.share(ended, member_steps),
            seconds=self.seconds,
        )
        self.on_progress(made)
        return made
