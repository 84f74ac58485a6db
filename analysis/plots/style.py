"""One style for every picture, how axes are placed and named, and how a figure is written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ..selection import is_log_spaced
from ..writing import marks, replace

STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "figure.dpi": 200,
    "savefig.dpi": 200,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
"""Sized for a paper; letters stay letters in PDF (TrueType, no Type 3) and SVG; read when a figure is written, too."""


def axis_positions(coordinate: xr.DataArray) -> tuple[np.ndarray, np.ndarray, bool]:
    """(centres, edges, logarithmic) of an axis's cells in plot coordinates.

    Texts are placed one apart; log-spaced values at their log10, with a zero among them one and a half steps to
    the left of the smallest (it has no place on a logarithmic axis). The scale is the axis's own, attribute `scale`,
    where its study says one.
    """
    values = coordinate.values
    if values.dtype.kind not in "fiu":
        centres = np.arange(len(values), dtype=float)
        return centres, _edges(centres), False
    values = values.astype(float)
    if not (coordinate.attrs["scale"] == "log" if "scale" in coordinate.attrs else is_log_spaced(values)):
        return values, _edges(values), False
    positive = values[values > 0]
    logs = np.log10(positive)
    step = float(np.median(np.abs(np.diff(np.sort(logs)))))
    centres = np.where(values > 0, np.log10(np.where(values > 0, values, 1.0)), logs.min() - 1.5 * step)
    return centres, _edges(centres), True


def name_ticks(ax: Axes, coordinate: xr.DataArray, which: str) -> None:
    """A coordinate's values as labels, a dozen at most; long ones stand aslant, and of very long ones the begin."""
    centres, _, _ = axis_positions(coordinate)
    values = coordinate.values
    every = -(-len(values) // 12)
    labels = [f"{v:g}" if coordinate.dtype.kind in "fiu" else str(v) for v in values]
    labels = [label if len(label) <= 24 else f"{label[:23]}…" for label in labels]
    long = sum(map(len, labels[::every])) > 24
    axis = ax.xaxis if which == "x" else ax.yaxis
    aslant = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if long and which == "x" else {}
    axis.set_ticks(centres[::every], labels[::every], **aslant)


def _edges(centres: np.ndarray) -> np.ndarray:
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def axis_label(coordinate: xr.DataArray, logarithmic: bool = True) -> str:
    """An axis in words, with its units and, where asked for, its scale: what is in brackets stays together."""
    units = coordinate.attrs.get("units", "1")
    scale = "log\u00a0scale" if logarithmic and axis_positions(coordinate)[2] else ""
    inside = ",\u00a0".join(part for part in ("" if units == "1" else units, scale) if part)
    return f"{coordinate.attrs.get('long_name', coordinate.name)}{f' ({inside})' if inside else ''}"


def units_label(long_name: str, units: str) -> str:
    """A name with its units, where it has any."""
    return long_name if units == "1" else f"{long_name} ({units})"


def colours(count: int) -> list[Any]:
    """So many colours, dark to light, from a map that reads the same with any colour vision."""
    return [mpl.colormaps["viridis"](x) for x in np.linspace(0.0, 0.88, max(count, 1))]


def of_seeds(counts: ArrayLike) -> str:
    """`1 seed`, `12 seeds`, or `10–12 seeds` of several counts."""
    least, most = np.min(np.asarray(counts)), np.max(np.asarray(counts))
    return f"{most} seed{'' if most == 1 else 's'}" if least == most else f"{least}–{most} seeds"


def said_at(at: Mapping[str, Any]) -> str:
    """Labels in words."""
    return ", ".join(
        f"{name} = {value:g}" if isinstance(value, float) else f"{name} = {value}" for name, value in at.items()
    )


def save(figure: Figure, path: Path | str, *, overwrite: bool = False) -> None:
    """Writes a figure in the format that the name's ending says, in the style of all: in PDF and SVG text stays text.

    The file appears when all of it was written. `overwrite` and errors are those of `analysis.writing.replace`.

    **Raises:** `ValueError` for an ending that is no format, too.
    """
    path = Path(path)
    kind = path.suffix.removeprefix(".").lower()
    if kind not in figure.canvas.get_supported_filetypes():
        known = ", ".join(sorted(figure.canvas.get_supported_filetypes()))
        raise ValueError(f"out: got {path.name!r}, whose ending is no format of a picture; take one of {known}")

    def write(temporary: Path) -> None:
        # Fonts are chosen when a figure is written, not when it is drawn.
        with mpl.rc_context(STYLE):
            figure.savefig(temporary, format=kind, metadata=marks(path))

    replace(path, "picture", write, overwrite)
