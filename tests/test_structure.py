"""The house: arrows point down, public names are the documented ones, nothing depends on its place."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import analysis
import ensemble

# A module may import those below it and its own room: __main__ → launch → store → plan → … → problem → numerics.
LAYERS = [
    {"__main__"},
    {"console"},
    {"progress", "tables"},
    {"launch"},
    {"store"},
    {"plan"},
    {"study"},
    {"engine"},
    {"probes"},
    {"dynamics"},
    {"problem"},
    {"parts"},
    {"spec"},
    {"numerics", "memory"},
]
DEPTH = {name: depth for depth, names in enumerate(LAYERS) for name in names}
# The same inside the analysis: commands → page → pictures → maps → reductions → members.
ANALYSIS_LAYERS = [
    {"__main__"},
    {"commands"},
    {"console", "report"},
    {"plots"},
    {"phase", "summary"},
    {"alignment", "boundaries", "learning_curves", "modes", "online", "predictions", "times", "two_layer", "uses"},
    {"networks", "tables"},
    {"layers"},
    {"problems", "selection"},
    {"members", "statistics", "writing"},
]
ANALYSIS_DEPTH = {name: depth for depth, names in enumerate(ANALYSIS_LAYERS) for name in names}
SOURCES = sorted(p for folder in ("ensemble", "analysis") for p in Path(folder).rglob("*.py"))


def room(path: Path) -> str:
    """The first part of a module's name inside its package."""
    inner = path.relative_to(path.parts[0])
    return inner.parts[0] if len(inner.parts) > 1 else inner.stem


def imports(path: Path) -> set[str]:
    """Full names of what a module imports of the two packages, relative or absolute, inside functions too."""
    package = path.parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("ensemble", "analysis")}


def rooms(path: Path) -> set[str]:
    """The rooms of `ensemble` that a module imports; a public name of the package counts as the top of it."""
    parts = [name.split(".") for name in imports(path)]
    return {p[1] if p[1] in DEPTH else "__init__" for p in parts if p[0] == "ensemble" and len(p) > 1}


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parts[0] == "ensemble"], ids=str)
def test_arrows_point_down(path):
    here = room(path)
    if here == "__init__":
        return
    assert not {name for name in imports(path) if name.split(".")[0] == "analysis"}, f"{path} imports the analysis"
    above = {name for name in rooms(path) - {here, "__init__"} if DEPTH[name] <= DEPTH[here]}
    assert not above, f"{path} imports {above} from above"
    if "__init__" in rooms(path):
        assert here == "__main__", f"{path} imports the package's own public names, which stand above it"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parts[0] == "analysis"], ids=str)
def test_arrows_point_down_inside_the_analysis(path):
    here = room(path)
    if here == "__init__":
        return
    below = {name.split(".")[1] for name in imports(path) if name.startswith("analysis.")} - {here}
    above = {name for name in below if ANALYSIS_DEPTH[name] <= ANALYSIS_DEPTH[here]}
    assert not above, f"{path} imports {above} from above"


def test_the_structure_test_sees_absolute_imports(tmp_path, monkeypatch):
    """What it could not see before: an absolute import, and one inside a function."""
    monkeypatch.chdir(tmp_path)
    module = Path("ensemble/engine/x.py")
    module.parent.mkdir(parents=True)
    module.write_text(
        "import ensemble.store.schema\n\n\ndef f():\n    from analysis.boundaries.refinement import additions\n"
    )
    assert imports(module) == {"ensemble.store.schema", "analysis.boundaries.refinement.additions"}
    assert rooms(module) == {"store"}


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parts[0] == "analysis"], ids=str)
def test_analysis_knows_no_engine_store_or_launch(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ensemble"):
            inner = node.module.removeprefix("ensemble").removeprefix(".")
            mathematics = ("", "numerics", "problem", "dynamics", "probes", "study")
            commands = ("console", "tables", "progress")  # what the commands of both sides have in common
            takes_in = inner == "__main__" and path == Path("analysis/__main__.py")
            assert inner.split(".")[0] in mathematics + commands or inner == "store.schema" or takes_in


def test_every_module_has_a_layer():
    for package, depth in (("ensemble", DEPTH), ("analysis", ANALYSIS_DEPTH)):
        assert {room(p) for p in SOURCES if p.parts[0] == package} - {"__init__"} == set(depth)


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
    assert len(path.read_text().splitlines()) <= 350, path
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        words = len((ast.get_docstring(function, clean=False) or "").splitlines())
        size = function.end_lineno - function.lineno + 1 - words  # pyright: ignore[reportOptionalOperand]
        assert size <= 60 or function.name in WHOLE, f"{path}: {function.name}"


WHOLE = ("advance_blocks", "advance_sampled")
"""The two SIMD kernels: every part of their loop over blocks needs the same dozens of places in one scratch array."""


def modules():
    for path in SOURCES:
        if path.stem != "__main__":
            yield importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))


def concrete(cls: type, name: str) -> bool:
    """Whether a class itself gives a method or property, and not only its declaration."""
    found = vars(cls).get(name)
    function = getattr(found, "fget", None) or getattr(found, "__func__", None) or found
    return inspect.isfunction(function) and not getattr(found, "__isabstractmethod__", False)


def test_nothing_overrides_a_concrete_method():
    overridden = {
        f"{cls.__qualname__}.{name} over {base.__qualname__}"
        for module in modules()
        for cls in vars(module).values()
        if inspect.isclass(cls) and cls.__module__ == module.__name__
        for name in vars(cls)
        if not name.startswith("__") and (concrete(cls, name) or name in getattr(cls, "__abstractmethods__", ()))
        for base in cls.__mro__[1:]
        if base.__module__.split(".")[0] in ("ensemble", "analysis") and concrete(base, name)
    }
    assert not overridden


def test_lock_has_no_addresses():
    lock = Path("requirements.lock").read_text()
    assert "://" not in lock and "--" not in lock
