"""The page: content, style, script and plotly in one HTML file."""

import html
import json
import re
from importlib.resources import files
from pathlib import Path

import xarray as xr
from plotly.offline import get_plotlyjs

from ..writing import replace, require_free
from .content import content

_HERE = files("analysis.report")


def page(ds: xr.Dataset, measure: str, below: float, x: str | None = None, y: str | None = None) -> str:
    """The page of a dataset as HTML.

    **Arguments:** `measure` < `below` is what the map counts; `x`, `y`: its axes, by default the study's two longest.

    **Raises:** `ValueError` for a measure or an axis that is not there.
    """
    said = content(ds, measure, below, x, y)
    parts = {
        "title": html.escape(said["title"]),
        "style": _text("page.css"),
        "plotly": get_plotlyjs().replace("</script", "<\\/script"),
        # Inside a script element nothing but "<" could end it or begin a comment.
        "content": json.dumps(said, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"),
        "script": _text("page.js"),
    }
    # In one pass: what a part says is never looked at again, whatever it looks like.
    return re.sub(r"/\*\{(\w+)\}\*/", lambda found: parts[found[1]], _text("page.html"))


def write_page(
    ds: xr.Dataset,
    path: Path,
    measure: str,
    below: float,
    x: str | None = None,
    y: str | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Writes the page of a dataset; arguments and errors are those of `page`, and of `analysis.writing.replace`."""
    require_free(path, "page", overwrite)
    text = page(ds, measure, below, x, y)
    replace(path, "page", lambda temporary: temporary.write_text(text, encoding="utf-8"), overwrite)


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
