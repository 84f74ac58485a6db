"""The command `gd-atlas`: the commands of the simulator and of the analysis under one name.

It stands above both, so that a run does not wait for the pictures' libraries to be imported.
"""

import sys


def main() -> None:
    """The entry point; its help, and its answer to a name that is no command, know both sides."""
    try:
        from ensemble.__main__ import app as simulator
        from ensemble.memory import collect_seldom
    except ImportError as error:
        if not str(error).startswith("gd-atlas: "):
            raise
        sys.exit(f"error: {error}")
    names = {command.name or getattr(command.callback, "__name__", "") for command in simulator.registered_commands}
    if sys.argv[1:2] and sys.argv[1] in names:
        app = simulator
    else:
        from analysis.__main__ import app
    collect_seldom()
    app(prog_name="gd-atlas")
