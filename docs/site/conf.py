"""The documentation site: `make docs` builds it from the whole checkout into build/site, and any warning fails it.

Sources are the files that a reader of the checkout sees, with the links that they have there; what is made here alone
is the reference of the public names, from docstrings (`reference.py`), which are Markdown (`docstrings.py`).
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import ensemble  # noqa: E402

project = "gd-atlas"
version = release = ensemble.__version__
copyright = "the gd-atlas developers, MIT licence"
root_doc = "docs/index"
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**"]
exclude_patterns = [".*", "build", "data", "**/__pycache__", "**/.ipynb_checkpoints"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "docstrings", "reference", "signatures"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
highlight_language = "none"  # indented blocks are equations and commands
nb_execution_mode = "off"  # `make tutorial` executes notebooks; the site shows the outputs that are in the files
nb_merge_streams = True
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
python_display_short_literal_types = True
python_maximum_signature_line_length = 88
viewcode_line_numbers = True
add_module_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"gd-atlas {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
templates_path = ["templates"]
html_additional_pages = {"index": "redirect.html"}  # README.md and docs/ keep their places, and so does the first page
