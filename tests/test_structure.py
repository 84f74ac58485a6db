"""The house: arrows point down, public names are the documented ones, nothing depends on its place."""

import ast
from pathlib import Path

import pytest

import analysis
import ensemble

# A module may import those to its right and itself: __main__ → launch → engine/store → study → … → activations.
LAYERS = [
    {"__main__"},
    {"console"},
    {"progress", "tables"},
    {"launch"},
    {"store"},
    {"members"},
    {"study"},
    {"axes"},
    {"errors"},
    {"engine"},
    {"stability"},
    {"probes"},
    {"certificate"},
    {"protocols"},
    {"protocol"},
    {"starts"},
    {"teachers"},
    {"schedules", "draws"},
    {"spec"},
    {"risks"},
    {"network"},
    {"activations"},
]
DEPTH = {name: depth for depth, names in enumerate(LAYERS) for name in names}
SOURCES = sorted(p for folder in ("ensemble", "analysis") for p in Path(folder).rglob("*.py"))


def room(path: Path) -> str:
    """The first part of a module's name inside its package."""
    inner = path.relative_to(path.parts[0])
    return inner.parts[0] if len(inner.parts) > 1 else inner.stem


def imports(path: Path) -> set[str]:
    """Rooms of `ensemble` that a module of `ensemble` imports, and packages by absolute name."""
    package = ("ensemble", *path.relative_to("ensemble").parts[:-1]) if path.parts[0] == "ensemble" else ()
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            target = [*base, *(node.module or "").split(".")] if node.module else list(base)
            found |= {(*target, a.name)[1] for a in node.names} if len(target) == 1 else {target[1]}
    return found


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parts[0] == "ensemble"], ids=str)
def test_arrows_point_down(path):
    here = room(path)
    if here == "__init__":
        return
    above = {name for name in imports(path) - {here} if DEPTH.get(name, 99) <= DEPTH[here] and name in DEPTH}
    assert not above, f"{path} imports {above} from above"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parts[0] == "analysis"], ids=str)
def test_analysis_knows_no_engine_store_or_launch(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ensemble"):
            inner = node.module.removeprefix("ensemble").removeprefix(".")
            mathematics = ("", "network", "activations", "certificate", "risks", "study")
            commands = ("console", "tables", "progress")  # what the commands of both sides have in common
            takes_in = inner == "__main__" and path == Path("analysis/__main__.py")
            assert inner.split(".")[0] in mathematics + commands or inner == "store.schema" or takes_in


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parts[0] == "ensemble"], ids=str)
def test_the_simulator_never_imports_the_analysis(path):
    """Inside functions neither, nor by absolute name."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        assert not [name for name in names if name.split(".")[0] == "analysis"]


def test_every_module_has_a_layer():
    rooms = {room(p) for p in SOURCES if p.parts[0] == "ensemble"} - {"__init__"}
    assert rooms == set(DEPTH)


@pytest.mark.parametrize("package", [ensemble, analysis], ids=lambda p: p.__name__)
def test_public_names_exist_and_are_documented(package):
    listed = Path("docs/architecture.md").read_text()
    for name in package.__all__:
        assert getattr(package, name).__doc__, name
        assert f"`{package.__name__}.{name}`" in listed, f"{name} is not in docs/architecture.md"


def test_documented_names_are_public():
    listed = Path("docs/architecture.md").read_text()
    for package in (ensemble, analysis):
        documented = {
            w.split(".")[1]
            for w in listed.split("`")[1::2]
            if w.startswith(f"{package.__name__}.") and w.count(".") == 1
        }
        assert documented == set(package.__all__)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_modules_say_what_they_are_and_stay_readable(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), path
    assert len(path.read_text().splitlines()) <= 400, path


def test_lock_has_no_addresses():
    lock = Path("requirements.lock").read_text()
    assert "://" not in lock and "--" not in lock
