"""The page of all runs under some folders: what each asks, how far it is, and its map as a small picture."""

import html
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.colors import to_hex

from ..members import axes, below, finished, standard
from ..statistics import share
from .measures import Opening
from .runs import Runs, State
from .template import filled, text_of

_MOST_CELLS = 10_000


def index(runs: Runs, found: Mapping[str, Path]) -> str:
    """The page as HTML; every text is escaped."""
    cards = "\n".join(_card(key, path, runs.state(key, path)) for key, path in found.items())
    folders = ", ".join(str(folder) for folder in runs.folders)
    said = f"{len(found)} {'run' if len(found) == 1 else 'runs'} under {folders}"
    return filled(
        "index.html",
        {
            "style": text_of("page.css"),
            "folders": html.escape(said),
            "runs": cards or f"<p>No run lies under {html.escape(folders)} yet.</p>",
        },
    )


def _card(key: str, path: Path, state: State | str) -> str:
    address = quote(key)
    if isinstance(state, str):
        return (
            f'<article><div></div><div><h2>{html.escape(path.name)}</h2><p class="note">{html.escape(state)}</p>'
            f'<p class="quiet">{html.escape(str(path))}</p></div></article>'
        )
    question = html.escape(state.question or "no question stated")
    return (
        f'<article><img src="/picture/{address}" alt="" width="150" height="110">'
        f'<div><h2><a href="/run/{address}">{html.escape(state.name)}</a></h2><p>{question}</p>'
        f'<p class="quiet"><progress value="{state.share:.4f}"></progress> '
        f'{html.escape(state.line)}</p><p class="quiet">{html.escape(str(path))}</p></div></article>'
    )


def picture(ds: xr.Dataset, first: Opening) -> str:
    """The map that a page opens with as an SVG without words: a rectangle a cell, none where nothing is finished."""
    ds = standard(ds)
    x, y = first.x, first.y
    ds = ds.isel({name: 0 for name in axes(ds) if name not in (x, y)})
    own = first.measure.of(ds)
    shares = share(below(own, first.measure.name, first.below), among=finished(own))["share"]
    grid = shares.transpose(*(name for name in (y, x) if name is not None)).values
    rows = np.atleast_2d(grid)
    if y is not None and ds[y].dtype.kind in "fiu":
        rows = rows[np.argsort(-ds[y].values)]
    if x is not None and ds[x].dtype.kind in "fiu":
        rows = rows[:, np.argsort(ds[x].values)]
    step = [-(-size // int(np.sqrt(_MOST_CELLS))) for size in rows.shape]
    rows = rows[:: step[0], :: step[1]]
    colour = mpl.colormaps["cividis"]
    cells = "".join(
        f'<rect x="{j}" y="{i}" width="1.02" height="1.02" fill="{to_hex(colour(float(value)))}"/>'
        for (i, j), value in np.ndenumerate(rows)
        if np.isfinite(value)
    )
    height, width = rows.shape
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" preserveAspectRatio="none" '
        f'width="150" height="110"><rect width="{width}" height="{height}" fill="#8884"/>{cells}</svg>'
    )
