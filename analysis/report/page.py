"""The page: content, style, script and plotly in one HTML file."""

import html
import json
from pathlib import Path
from typing import Any

import xarray as xr
from plotly.offline import get_plotlyjs

from ..writing import replace, require_free
from .content import content
from .template import filled, text_of
from .uses import Attack

_SCRIPTS = (
    *("base", "members", "view", "controls", "map", "tables", "panel", "curves", "uses", "transfer", "neurons"),
    *("compare", "main"),
)
"""In this order: each uses what stands before it."""


def page(
    ds: xr.Dataset,
    measure: str | None = None,
    below: float | None = None,
    x: str | None = None,
    y: str | None = None,
    *,
    attack: Attack | None = None,
) -> str:
    """The page of a dataset as HTML.

    **Arguments:** `measure` < `below` is what the map counts when the page opens; `x`, `y`: its axes; `attack`: attacks
    under which networks are shown. Defaults and errors are those of `content`.
    """
    return html_of(content(ds, measure, below, x, y, attack=attack))


def html_of(said: dict[str, Any], live: dict[str, str] | None = None) -> str:
    """The page of some content. `live`: addresses that a page from `gd-atlas serve` asks whether there is more."""
    parts = {
        "title": html.escape(said["title"]),
        "style": text_of("page.css"),
        "plotly": get_plotlyjs().replace("</script", "<\\/script"),
        "content": jsontext_of(said),
        "live": jsontext_of(live),
        "script": "\n".join(text_of(f"script/{name}.js") for name in _SCRIPTS),
    }
    return filled("page.html", parts)


def jsontext_of(said: Any) -> str:
    """JSON for a script element, where nothing but "<" could end it or begin a comment."""
    return json.dumps(said, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def write_page(
    ds: xr.Dataset,
    path: Path,
    measure: str | None = None,
    below: float | None = None,
    x: str | None = None,
    y: str | None = None,
    *,
    attack: Attack | None = None,
    overwrite: bool = False,
) -> None:
    """Writes the page of a dataset; arguments and errors are those of `page`, and of `analysis.writing.replace`."""
    require_free(path, "page", overwrite)
    text = page(ds, measure, below, x, y, attack=attack)
    replace(path, "page", lambda temporary: temporary.write_text(text, encoding="utf-8"), overwrite)
