"""Docstrings are Markdown, and autodoc reads reStructuredText: a directive stands between them.

Names of the public lists that stand in code spans become links to the reference.
"""

import re
from pathlib import Path

from docutils import nodes
from docutils.utils import new_document
from myst_parser.parsers.sphinx_ import MystParser
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

import analysis
import ensemble

PACKAGES = {"ensemble": ensemble, "ens": ensemble, "analysis": analysis}
THEORY = re.compile(r"theory\.md(?: §(\d+))?")


class MarkdownDirective(SphinxDirective):
    """Its content, read as Markdown."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        document = new_document(self.get_source_info()[0], self.state.document.settings)
        MystParser().parse("\n".join(self.content), document)
        return list(document.children)


def as_markdown(app, what, name, obj, options, lines: list[str]) -> None:
    """Puts a docstring's lines into the directive."""
    if any(line.strip() for line in lines):
        lines[:] = [".. markdown::", "", *(f"   {line}".rstrip() for line in lines), ""]


class LinkNames(SphinxTransform):
    """Turns code spans such as `analysis.phase`, `ens.run(study)` or `AbstractPenalty` into links to the reference."""

    default_priority = 900

    def apply(self, **_) -> None:
        page = self.env.docname
        if page.startswith("docs/api/"):
            self.link_theory()
        for literal in list(self.document.findall(nodes.literal)):
            target = self.target(literal.astext(), in_table=page == "docs/analysis" and bool(_parent(literal)))
            if target and not isinstance(literal.parent, nodes.reference | addnodes.pending_xref):
                link = addnodes.pending_xref(
                    "", refdomain="py", reftype="obj", reftarget=target, refexplicit=True, refwarn=True, refdoc=page
                )
                literal.replace_self(link)
                link += literal

    def link_theory(self) -> None:
        """Turns `theory.md §5` in a docstring's sentence into a link to that section."""
        headings = re.findall(r"(?m)^## (\d+)\. (.*)$", (Path(self.env.srcdir) / "docs/theory.md").read_text())
        sections = {number: f"#{nodes.make_id(title)}" for number, title in headings}
        for text in list(self.document.findall(nodes.Text)):
            found = THEORY.search(text)
            if found and not isinstance(text.parent, nodes.literal | nodes.reference | nodes.literal_block):
                uri = f"../theory.html{sections.get(found[1], '')}"
                link = nodes.reference(found[0], found[0], refuri=uri, internal=True)
                parts = [nodes.Text(text[: found.start()]), link, nodes.Text(text[found.end() :])]
                text.parent.replace(text, parts)

    @staticmethod
    def target(text: str, in_table: bool) -> str | None:
        """The full name of the public object that a code span is of, or None."""
        package, _, name = text.partition(".")
        name = re.match(r"\w*", name)[0]
        if package in PACKAGES and name in PACKAGES[package].__all__:
            return f"{PACKAGES[package].__name__}.{name}"
        # A word may be a field or a variable, too: only what looks like a class, or stands in the list of functions.
        for found in (ensemble, analysis):
            if text in found.__all__ and (text[0].isupper() or (in_table and found is analysis)):
                return f"{found.__name__}.{text}"
        return None


def _parent(node: nodes.Node) -> nodes.Node | None:
    while node is not None and not isinstance(node, nodes.entry):
        node = node.parent
    return node


def skip(app, what, name, obj, skip, options) -> bool | None:
    """Leaves out what pydantic and JAX add to every class."""
    return True if name in ("model_config", "model_post_init", "model_fields", "model_computed_fields") else None


def setup(app) -> dict[str, bool]:
    app.add_directive("markdown", MarkdownDirective)
    app.connect("autodoc-process-docstring", as_markdown)
    app.connect("autodoc-skip-member", skip)
    app.add_transform(LinkNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
