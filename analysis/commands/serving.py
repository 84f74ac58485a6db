"""The command that shows runs while they go."""

from pathlib import Path
from typing import Annotated

import typer

from ..console import say
from .options import Analysis, app


@app.command(cls=Analysis)
def serve(
    dirs: Annotated[list[Path], typer.Argument(metavar="DIR…", help="run directories, or folders of them")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="port of this machine; 0: any that is free")] = 8300,
) -> None:
    """Show runs in a browser on this machine while they go: an index of all, and the page of each. It writes nothing.

    Only this machine can reach it, and nothing outside the folders is read. Ctrl-C ends it.
    """
    from ..report.serving import Server  # plotly is read only where it is used

    with Server(dirs, port) as server:
        found = len(server.runs.found())
        say(f"{found} {'run' if found == 1 else 'runs'}: {server.address} (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("ended; runs that were looked at go on without it")
