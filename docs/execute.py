"""Executes a notebook in place of a reader: `python docs/execute.py NOTEBOOK [--write]`; fails where a cell does."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main(path: Path, write: bool) -> None:
    """Runs every cell in the notebook's folder, as Jupyter does; with `write` keeps the outputs in the file."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    if write:
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
        nbformat.write(notebook, path)
    print(f"{path}: {sum(cell.cell_type == 'code' for cell in notebook.cells)} cells ran")


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--write" in sys.argv)
