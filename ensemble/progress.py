"""Progress on a terminal as a bar, in a notebook as a line that is kept up to date, elsewhere as plain lines."""

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from .launch import Report

_SECONDS_BETWEEN_LINES = 10.0
_SHARE_THAT_TELLS = 0.02
"""Before so much is done, compilation is most of the time and the time left cannot be told."""


class ProgressShow:
    """A context manager whose `update` takes the reports of a run.

    with ens.ProgressShow() as show:
        ds = ens.run(study, on_progress=show.update)
    """

    def __init__(self, console: Console | None = None):
        self.console = console or Console()
        self.line: Any = None
        self.bar: Progress | None = None
        self.last_line = float("-inf")
        self.reports = 0

    def __enter__(self) -> "ProgressShow":
        if (display := _of_notebook()) is not None:
            self.line = display(_text("compiling"), raw=True, display_id=True)
        elif self.console.is_terminal:
            columns = TextColumn("{task.description}"), BarColumn(), Elapsed(), TextColumn("{task.fields[say]}")
            self.bar = Progress(*columns, console=self.console)
            self.bar.start()
            self.task = self.bar.add_task("compiling", total=1.0, say="")
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()

    def update(self, report: Report) -> None:
        self.reports += 1
        say = describe(report)
        if self.line is not None:
            self.line.update(_text(f"[{report.share:4.0%}] {_clock(report.seconds)} elapsed, {say}"), raw=True)
        elif self.bar is not None:
            self.bar.update(self.task, completed=report.share, description="running", say=say)
        elif report.seconds - self.last_line >= _SECONDS_BETWEEN_LINES or report.share >= 1.0:
            self.console.print(f"[{report.share:4.0%}] {say}", highlight=False, markup=False, soft_wrap=True)
            self.last_line = report.seconds


def _of_notebook() -> Any:
    """IPython's `display` where this runs in the kernel of a notebook; None elsewhere."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import display  # it is there: a kernel runs in it

    return display


def _text(line: str) -> dict[str, str]:
    """What IPython shows as it is."""
    return {"text/plain": line}


class Elapsed(ProgressColumn):
    """The time since the command began, and that it is this."""

    def render(self, task: Task) -> Text:
        return Text(f"{_clock(task.elapsed or 0.0)} elapsed", style="progress.elapsed")


def describe(report: Report) -> str:
    """Members finished, member-steps a second, share that a stop rule ended (converged), time left."""
    rate = report.member_steps / max(report.seconds, 1e-9)
    parts = [f"{report.finished:,}/{report.members:,} members", f"{_short(rate)} member-steps/s"]
    if report.finished and report.converged is not None:
        parts.append(f"{report.converged / report.finished:.0%} of them converged")
    if _SHARE_THAT_TELLS <= report.share < 1.0:
        parts.append(f"{_clock(report.seconds * (1.0 - report.share) / report.share)} left")
    return ", ".join(parts)


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
