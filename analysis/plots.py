"""Pictures, in one style, drawn from labelled results alone."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .members import is_log_spaced

STYLE: dict[Any, Any] = {
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
"""Sized for a paper's text width; `cividis` reads the same with any colour vision."""


def axis_positions(coordinate: xr.DataArray) -> tuple[np.ndarray, np.ndarray, bool]:
    """(centres, edges, logarithmic) of an axis's cells in plot coordinates.

    Texts are placed one apart; log-spaced values at their log10, with a zero among them one and a half steps to
    the left of the smallest (it has no place on a logarithmic axis).
    """
    values = coordinate.values
    if values.dtype.kind not in "fiu":
        centres = np.arange(len(values), dtype=float)
        return centres, _edges(centres), False
    values = values.astype(float)
    if not is_log_spaced(values):
        return values, _edges(values), False
    positive = values[values > 0]
    logs = np.log10(positive)
    step = float(np.median(np.abs(np.diff(np.sort(logs)))))
    centres = np.where(values > 0, np.log10(np.where(values > 0, values, 1.0)), logs.min() - 1.5 * step)
    return centres, _edges(centres), True


def _edges(centres: np.ndarray) -> np.ndarray:
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def phase_picture(result: xr.Dataset) -> Figure:
    """A phase diagram (the share with its 50% contour) and, beside it, the half-width of its intervals.

    **Arguments:** the dataset of `analysis.phase`, with dimensions (y, x), sorted along both axes first.
    """
    y, x = (str(d) for d in result["share"].dims)
    numeric = [d for d in (x, y) if result[d].dtype.kind in "fiu"]
    result = result.sortby(numeric) if numeric else result
    seeds = result["seeds"].values
    counted = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()}–{seeds.max()}"
    units = result.attrs["measure_units"]
    threshold = f"{result.attrs['measure']} < {result.attrs['below']:g}{'' if units == '1' else f' {units}'}"
    with mpl.rc_context(STYLE):
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(6.8, 3.1), width_ratios=(1.25, 1.0), layout="constrained", sharey=True
        )
        mesh = _draw_map(left, result["share"], x, y, vmin=0.0, vmax=1.0, cmap="cividis")
        _annotate(left, result["share"], x, y, "{:.2f}")
        contour = _draw_half_contour(left, result["share"], x, y)
        left.set_title(f"share of seeds with {threshold}{' (line: 50%)' if contour else ''}")
        left.set_ylabel(_axis_label(result[y]))
        figure.colorbar(mesh, ax=left, label="share of seeds")
        half = _draw_map(right, result["half_width"], x, y, vmin=0.0, vmax=None, cmap="Greys")
        right.set_title(f"half-width of 95% intervals, {counted} seeds a cell")
        figure.colorbar(half, ax=right, label="half-width (Wilson)")
    return figure


def _draw_map(ax: Axes, values: xr.DataArray, x: str, y: str, **style):
    (_, x_edges, x_log), (_, y_edges, y_log) = axis_positions(values[x]), axis_positions(values[y])
    mesh = ax.pcolormesh(x_edges, y_edges, np.ma.masked_invalid(values.values), shading="flat", **style)
    _ticks(ax, values[x], "x")
    _ticks(ax, values[y], "y")
    for name, logarithmic, line in ((x, x_log, ax.axvline), (y, y_log, ax.axhline)):
        if logarithmic and np.any(values[name].values == 0):
            edges = x_edges if name == x else y_edges
            line(edges[1], color="white", linewidth=2.5)
    ax.set_xlabel(_axis_label(values[x]))
    return mesh


def _ticks(ax: Axes, coordinate: xr.DataArray, which: str) -> None:
    centres, _, _ = axis_positions(coordinate)
    values = coordinate.values
    every = -(-len(values) // 12)
    labels = [f"{v:g}" if coordinate.dtype.kind in "fiu" else str(v) for v in values]
    long = sum(map(len, labels)) > 24
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_ticks(centres[::every], labels[::every], rotation=35 if long and which == "x" else 0)


def _axis_label(coordinate: xr.DataArray) -> str:
    units = coordinate.attrs.get("units", "1")
    scale = "log scale" if axis_positions(coordinate)[2] else ""
    inside = ", ".join(part for part in ("" if units == "1" else units, scale) if part)
    return f"{coordinate.attrs.get('long_name', coordinate.name)}{f' ({inside})' if inside else ''}"


def _annotate(ax: Axes, values: xr.DataArray, x: str, y: str, text: str) -> None:
    """Writes the numbers into the cells where there is room for them."""
    if values.sizes[x] > 8 or values.sizes[y] > 12:
        return
    centres_x, centres_y = axis_positions(values[x])[0], axis_positions(values[y])[0]
    for i, row in enumerate(values.values):
        for j, value in enumerate(row):
            if np.isfinite(value):
                colour = "white" if value < 0.5 else "black"
                ax.text(
                    centres_x[j],
                    centres_y[i],
                    text.format(value),
                    ha="center",
                    va="center",
                    color=colour,
                    size=5.5,
                )


def _draw_half_contour(ax: Axes, values: xr.DataArray, x: str, y: str) -> bool:
    """The 50% contour between cell centres, apart from the column or row of a zero on a log axis."""
    keep = {d: values[d].values > 0 for d in (x, y) if axis_positions(values[d])[2]}
    centres = {d: axis_positions(values[d])[0][keep[d]] if d in keep else axis_positions(values[d])[0] for d in (x, y)}
    inner = values.isel({d: np.flatnonzero(k) for d, k in keep.items()}).values
    if min(inner.shape) < 2 or not (np.nanmin(inner) < 0.5 < np.nanmax(inner)):
        return False
    ax.contour(centres[x], centres[y], inner, levels=[0.5], colors="white", linewidths=2.6)
    ax.contour(centres[x], centres[y], inner, levels=[0.5], colors="black", linewidths=1.2)
    return True


def save(figure: Figure, path: Path) -> None:
    """Writes a figure in the format that the name's ending says, and closes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        figure.savefig(path)
    except ValueError as error:
        raise ValueError(f"out: got {path.name!r}: {error}") from None
    finally:
        plt.close(figure)
