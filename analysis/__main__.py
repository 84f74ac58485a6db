"""gd-atlas: run studies of feature learning, look at what they found, and refine it.

These are the commands of the simulator, which `python -m ensemble` has alone, and of the analysis.
"""

import typer

from ensemble.__main__ import app as simulator
from ensemble.__main__ import collect_seldom

from .commands import app as analyses

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
app.registered_commands = [*simulator.registered_commands, *analyses.registered_commands]


if __name__ == "__main__":
    collect_seldom()
    app()
