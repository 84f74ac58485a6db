"""What documents point at is there: files, headings, sections, targets, tests, every public name of the reference."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

import analysis
import ensemble

PAGES = sorted([*Path().glob("*.md"), *Path("docs").rglob("*.md"), *Path("docs").rglob("*.ipynb")])
SOURCES = [p for folder in ("ensemble", "analysis", "studies", "tests", "docs") for p in Path(folder).rglob("*.*")]
MADE = ("build/", "data/")
"""Folders of what commands make."""


def text(path: Path) -> str:
    """The Markdown of a page, or of a notebook's cells."""
    if path.suffix == ".md":
        return path.read_text()
    cells = json.loads(path.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    prose = re.sub(r"(?ms)^```.*?^```", "", text(path))
    slugs = [re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in re.findall(r"(?m)^#+ (.*)$", prose)]
    return {slug + (f"-{n}" if n else "") for slug in slugs for n in range(slugs.count(slug))}


def links(path: Path) -> list[str]:
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text(path)) if "://" not in target]


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_links_lead_somewhere(path):
    for link in links(path):
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), f"{path} links to {link}, which is not there"
        assert not anchor or anchor in anchors(target), f"{path} links to {link}: {target} has no such heading"


def test_the_test_of_links_sees_dead_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.md").write_text("# One\n\n```\n# no heading\n```\n## Two & three\n[x](a.md#two--three) [y](#no-heading)\n")
    assert anchors(Path("a.md")) == {"one", "two--three"} and links(Path("a.md")) == ["a.md#two--three", "#no-heading"]
    with pytest.raises(AssertionError, match="no such heading"):
        test_links_lead_somewhere(Path("a.md"))


def test_sections_of_the_theory_that_code_names_are_there():
    there = set(re.findall(r"(?m)^## (\d+)\. ", Path("docs/theory.md").read_text()))
    for path in SOURCES:
        if path.suffix in (".py", ".md", ".toml"):
            named = re.findall(r"theory\.md §(\d+)(?:, §(\d+))?", path.read_text())
            assert {n for pair in named for n in pair if n} <= there, f"{path} names a section that is not there"


@pytest.mark.parametrize("path", [p for p in PAGES if p.suffix == ".md"], ids=str)
def test_what_pages_name_is_there(path):
    """Files in code spans, make's targets, tests."""
    told = text(path)
    targets = set(re.findall(r"(?m)^([a-z-]+):", Path("Makefile").read_text()))
    assert set(re.findall(r"`make ([a-z-]+)", told)) <= targets
    tests = "\n".join(p.read_text() for p in Path("tests").rglob("*.py"))
    for name in re.findall(r"`(test_\w+?)(?:…)?`", told):
        assert f"def {name}" in tests, f"{path} names the test {name}, which is not there"
    for name in re.findall(r"`([\w./-]+/[\w./-]+\.(?:py|md|toml|ipynb|json))`", told):
        places = [Path(name), Path("docs") / name, Path("ensemble") / name, Path("analysis") / name]
        made = name.startswith(MADE)
        assert made or any(p.exists() for p in places), f"{path} names the file {name}, which is not there"


def test_the_reference_has_every_public_name():
    spec = importlib.util.spec_from_file_location("reference", "docs/site/reference.py")
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    for package in (ensemble, analysis):
        page = reference.page(package)
        for name in package.__all__:
            entry = rf"(?m)^\.\. (py:module|py:data|autoclass|autofunction):: {package.__name__}\.{name}$"
            assert len(re.findall(entry, page)) == 1, name
        assert reference.MARK.search(Path(f"docs/api/{package.__name__}.md").read_text())[1] == package.__name__


def test_locks_agree():
    """The site's packages come beside those that everything else was tested with, and change none of them."""
    first, second = (
        dict(re.findall(r"(?m)^([\w.-]+)==(\S+)", Path(name).read_text()))
        for name in ("requirements.lock", "requirements-docs.lock")
    )
    assert {name: second[name] for name in first} == first
    assert not re.search("://|--", Path("requirements-docs.lock").read_text())
