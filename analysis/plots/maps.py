"""Maps over two axes: phase diagrams with their boundaries, order parameters, differences of two studies."""

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from ..members import with_units
from .style import COLUMN, STYLE, TEXT, axis_label, axis_positions, panels, said_at, units_label, wrapped


def phase_picture(result: xr.Dataset, boundary: xr.Dataset | None = None) -> Figure:
    """A phase diagram (the share with its boundary) and, beside it, the half-width of its intervals.

    **Arguments:** the dataset of `analysis.phase`, with dimensions (y, x), sorted along both axes first; with a third
    dimension before them, one map a value of it, without half-widths. `boundary`: the dataset of
    `analysis.boundary`, drawn with its band; without it, the 50% contour of the shares.
    """
    *over, y, x = (str(d) for d in result["share"].dims)
    result = _sorted(result, x, y)
    title = f"share of seeds with {_threshold(result)}"
    if over:
        return _multiples(result["share"], x, y, over[0], title, "share of seeds", vmin=0.0, vmax=1.0, cmap="cividis")
    seeds = result["seeds"].values
    counted = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()}–{seeds.max()}"
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(TEXT, 3.1), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1.0), sharey=True)
        mesh = _draw_map(left, result["share"], x, y, vmin=0.0, vmax=1.0, cmap="cividis")
        _annotate(left, result["share"], x, y, "{:.2f}")
        if boundary is None:
            line = " (line: 50%)" if _draw_half_contour(left, result["share"], x, y) else ""
        else:
            _draw_boundary(left, boundary, result, x, y)
            line = " (line: 50%, 95% band)"
        left.set_title(title + line)
        left.set_ylabel(axis_label(result[y]))
        figure.colorbar(mesh, ax=left, label="share of seeds")
        half = _draw_map(
            right, result["half_width"].where(result["seeds"] > 0), x, y, vmin=0.0, vmax=None, cmap="Greys"
        )
        right.set_title(f"half-width of 95% intervals, {counted} seeds a cell")
        figure.colorbar(half, ax=right, label="half-width (Wilson)")
    return figure


def order_picture(result: xr.Dataset) -> Figure:
    """A map of an order parameter, the dataset of `analysis.order_parameter`; logarithmic where it spans decades."""
    *over, y, x = (str(d) for d in result["value"].dims)
    result = _sorted(result, x, y)
    values = result["value"]
    finite = values.values[np.isfinite(values.values)]
    wide = len(finite) > 0 and finite.min() > 0 and finite.max() > 30 * finite.min()
    style = {"norm": LogNorm(finite.min(), finite.max())} if wide else {}
    quantile = result.attrs["quantile"]
    title = f"{'median' if quantile == 0.5 else f'{quantile:g} quantile'} over seeds of {result.attrs['measure']}"
    label = units_label(result.attrs["measure"], result.attrs["measure_units"])
    if over:
        return _multiples(values, x, y, over[0], title, label, cmap="viridis", **style)
    return _one(values, x, y, title, label, cmap="viridis", **style)


def difference_picture(result: xr.Dataset, x: str, y: str) -> Figure:
    """How shares differ between two studies: the dataset of `analysis.difference`; dots: intervals without 0."""
    result = _sorted(result, x, y)
    values = result["difference"].transpose(y, x)
    title = f"difference of shares with {result.attrs['measure']} < {result.attrs['below']:g} (dot: interval without 0)"
    figure = _one(values, x, y, title, "second minus first", vmin=-1.0, vmax=1.0, cmap="RdBu")
    sure = ((result["low"] > 0) | (result["high"] < 0)).transpose(y, x).values
    rows, columns = np.nonzero(sure)
    with mpl.rc_context(STYLE):
        centres = axis_positions(values[x])[0][columns], axis_positions(values[y])[0][rows]
        figure.axes[0].plot(*centres, ".", color="black", markersize=4)
    return figure


def _sorted(result: xr.Dataset, x: str, y: str) -> xr.Dataset:
    numeric = [d for d in (x, y) if result[d].dtype.kind in "fiu"]
    return result.sortby(numeric) if numeric else result


def _threshold(result: xr.Dataset) -> str:
    return f"{result.attrs['measure']} < {with_units(result.attrs['below'], result.attrs['measure_units'])}"


def _one(values: xr.DataArray, x: str, y: str, title: str, label: str, **style) -> Figure:
    with mpl.rc_context(STYLE):
        figure, (ax,) = panels(1, COLUMN, 2.9)
        mesh = _draw_map(ax, values, x, y, **style)
        ax.set_ylabel(axis_label(values[y]))
        ax.set_title(wrapped(title, COLUMN))
        figure.colorbar(mesh, ax=ax, label=label)
    return figure


def _multiples(values: xr.DataArray, x: str, y: str, over: str, title: str, label: str, **style) -> Figure:
    with mpl.rc_context(STYLE):
        figure, maps = panels(values.sizes[over], TEXT, 2.3, columns=3)
        for i, ax in enumerate(maps):
            one = values.isel({over: i})
            mesh = _draw_map(ax, one, x, y, **style)
            ax.set_ylabel(axis_label(values[y]))
            ax.set_title(said_at({over: values[over].values[i].item()}))
            figure.colorbar(mesh, ax=ax, label=label)
        figure.suptitle(title, size=8)
    return figure


def _draw_boundary(ax: Axes, boundary: xr.Dataset, result: xr.Dataset, x: str, y: str) -> None:
    """The boundary and its band at the centres of the columns; ends beyond the grid are drawn at its edge."""
    centres = axis_positions(result[x])[0]
    boundary = boundary.reindex({x: result[x].values})
    edges, logarithmic = axis_positions(result[y])[1:]

    def place(name: str) -> np.ndarray:
        values = boundary[name].values
        with np.errstate(divide="ignore", invalid="ignore"):
            at = np.where(values == -np.inf, -np.inf, np.log10(values)) if logarithmic else values
        return np.clip(at, edges[0], edges[-1])

    line = np.where(np.isfinite(boundary["boundary"].values), place("boundary"), np.nan)
    inside = boundary["low"].values < boundary["high"].values
    low, high = (np.where(inside, place(name), np.nan) for name in ("low", "high"))
    ax.fill_between(centres, low, high, color="white", alpha=0.25, linewidth=0)
    ax.vlines(centres, low, high, color="black", linewidth=0.8)
    ax.plot(centres, line, "o-", color="black", markersize=2.5, linewidth=1.2)


def _draw_map(ax: Axes, values: xr.DataArray, x: str, y: str, **style):
    (_, x_edges, x_log), (_, y_edges, y_log) = axis_positions(values[x]), axis_positions(values[y])
    mesh = ax.pcolormesh(x_edges, y_edges, np.ma.masked_invalid(values.values), shading="flat", **style)
    _ticks(ax, values[x], "x")
    _ticks(ax, values[y], "y")
    for name, logarithmic, line in ((x, x_log, ax.axvline), (y, y_log, ax.axhline)):
        if logarithmic and np.any(values[name].values == 0):
            edges = x_edges if name == x else y_edges
            line(edges[1], color="white", linewidth=2.5)
    ax.set_xlabel(axis_label(values[x]))
    return mesh


def _ticks(ax: Axes, coordinate: xr.DataArray, which: str) -> None:
    centres, _, _ = axis_positions(coordinate)
    values = coordinate.values
    every = -(-len(values) // 12)
    labels = [f"{v:g}" if coordinate.dtype.kind in "fiu" else str(v) for v in values]
    long = sum(map(len, labels)) > 24
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_ticks(centres[::every], labels[::every], rotation=35 if long and which == "x" else 0)


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
