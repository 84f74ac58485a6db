"""The command `gd-atlas`: the commands of the simulator and of the analysis under one name.

It stands above both, so that a run does not wait for the pictures' libraries to be imported.
"""

import sys

from ensemble.__main__ import app as simulator

_OF_THE_SIMULATOR = {
    command.name or getattr(command.callback, "__name__", "") for command in simulator.registered_commands
}


def main() -> None:
    """The entry point; its help, and its answer to a name that is no command, know both sides."""
    if sys.argv[1:2] and sys.argv[1] in _OF_THE_SIMULATOR:
        app = simulator
    else:
        from analysis.__main__ import app
    app(prog_name="gd-atlas")
