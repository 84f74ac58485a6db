"""The reference: in pages of docs/api the line `% names of PACKAGE` becomes an entry for every public name.

Names stand under the room (of `ensemble`) or the module (of `analysis`) that the package has them from, so that a new
name needs no line here.
"""

import ast
import importlib
import inspect
import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ensemble

MARK = re.compile(r"(?m)^% names of (\w+)$")
ROOMS = {
    "study": "What is asked",
    "launch": "Running",
    "progress": "How far it is",
    "store": "Reading what was run",
    "plan": "Members outside a run",
    "engine": "Where it runs",
    "problem": "What is learned, by what",
    "dynamics": "How it moves",
    "probes": "What is measured",
    "parts": "Parts of your own",
    "numerics": "Draws",
}
"""Headings of the rooms of `ensemble`, in the order of the page."""


def rooms(package: types.ModuleType) -> dict[str, list[str]]:
    """The public names by the room or module that the package imports them from, in the order of the imports."""
    found: dict[str, list[str]] = {}
    for node in ast.parse(inspect.getsource(package)).body:
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            for alias in node.names:
                name = alias.asname or alias.name
                if name in package.__all__:
                    found.setdefault((node.module or alias.name).split(".")[0], []).append(name)
    return found


def heading(package: types.ModuleType, room: str) -> tuple[str, str]:
    """What a section is called, and what its room says of itself."""
    says = (importlib.import_module(f"{package.__name__}.{room}").__doc__ or "").split("\n\n")[0].replace("\n", " ")
    return ROOMS[room] if package is ensemble else re.split(r"[:;,.]", says)[0], says


def entry(package: types.ModuleType, name: str) -> Iterator[str]:
    """The lines of one name, in reStructuredText, for autodoc."""
    found, full = getattr(package, name), f"{package.__name__}.{name}"
    if inspect.ismodule(found):
        yield from (f".. py:module:: {full}", "", ".. markdown::", "")
        yield from (f"   {line}".rstrip() for line in (inspect.getdoc(found) or "").split("\n"))
        yield ""
        for inner, member in vars(found).items():
            if inspect.isfunction(member) and member.__module__ == found.__name__ and not inner.startswith("_"):
                yield f".. autofunction:: {full}.{inner}"
        yield from ("", ".. py:currentmodule:: None")
    elif inspect.isclass(found):
        yield from (f".. autoclass:: {full}", "   :members:", "   :undoc-members:", "   :show-inheritance:")
    elif callable(found):
        yield f".. autofunction:: {full}"
    else:
        yield from (f".. py:data:: {full}", "", "   .. markdown::", "")
        yield from (f"      {line}".rstrip() for line in table(found))
    yield ""


def table(registry: Mapping[str, Any]) -> list[str]:
    """What a public mapping holds, as a table in Markdown."""
    if all(isinstance(value, ensemble.AbstractProbe) for value in registry.values()):
        head = ("probe", "what it is", "units", "dimensions of its own", "measured at")
        rows = [(f"`{name}`", p.long_name, p.units, ", ".join(p.dims), p.when) for name, p in registry.items()]
    elif all(isinstance(value, ensemble.AbstractActivation) for value in registry.values()):
        head = ("name", "activation")
        rows = [(f"`{name}`", (type(a).__doc__ or "").split("\n")[0]) for name, a in registry.items()]
    else:
        head, rows = ("name", "value"), [(f"`{name}`", str(value)) for name, value in registry.items()]
    cells = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]


def page(package: types.ModuleType) -> str:
    """The Markdown of every public name of a package."""
    found = rooms(package)
    missing = set(package.__all__) - {name for names in found.values() for name in names}
    if missing:
        raise ValueError(f"{package.__name__}: no import of its __init__ has the public names {sorted(missing)}")
    order = [room for room in ROOMS if room in found] if package is ensemble else list(found)
    lines = []
    for room in order:
        title, says = heading(package, room)
        lines += [f"## {title}", "", says, "", "```{eval-rst}"]
        lines += [line for name in found[room] for line in entry(package, name)]
        lines += ["```", ""]
    return "\n".join(lines)


def read(app, docname: str, source: list[str]) -> None:
    """Puts the entries into a page that asks for them."""
    if Path(docname).parent.name == "api":
        source[0] = MARK.sub(lambda mark: page(importlib.import_module(mark[1])), source[0])


def setup(app) -> dict[str, bool]:
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
