"""Executes notebooks in place of a reader: `python docs/execute.py [NOTEBOOK …] [--write]`; fails where a cell does."""

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

DOCS = Path(__file__).parent


def main(path: Path, write: bool) -> None:
    """Runs every cell in the notebook's folder, as Jupyter does; with `write` keeps the outputs in the file."""
    begin = time.monotonic()
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    if write:
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
        nbformat.write(notebook, path)
    count = sum(cell.cell_type == "code" for cell in notebook.cells)
    print(f"{path}: {count} cells ran in {time.monotonic() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    named = [Path(argument) for argument in sys.argv[1:] if argument != "--write"]
    for one in named or [DOCS / "tutorial.ipynb", *sorted(DOCS.glob("notebooks/*.ipynb"))]:
        main(one, "--write" in sys.argv)
