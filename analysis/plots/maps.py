"""Maps over two axes, curves over one, small multiples over three: phase diagrams, order parameters, differences."""

from typing import Any, Literal, Unpack

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.text import Text

from ..members import with_units
from .layout import COLUMN, PAGE, Look, Sheet, sheet, width_of
from .predicted import draw_predictions
from .style import axis_label, axis_positions, name_ticks, of_seeds, said_at, units_label

_ROW = 2.5
"""Height of a row of small multiples, in inches."""


def phase_picture(
    result: xr.Dataset,
    boundary: xr.Dataset | None = None,
    *,
    panels: Literal[1, 2] = 2,
    predictions: xr.Dataset | None = None,
    **look: Unpack[Look],
) -> Figure:
    """A phase diagram: the share with its boundary and, beside it, the half-width of its intervals.

    **Arguments:** the dataset of `analysis.phase`. With dimensions (y, x) two panels, or the map alone (`panels=1`);
    with a third dimension before them one map a value of it; with one dimension a curve with its interval. `boundary`:
    the dataset of `analysis.boundary`, drawn with its band; for small multiples with the third dimension, too; without
    it the 50% contour of the shares. `predictions`: the dataset of `analysis.predictions`, whose places on an axis are
    drawn, but for small multiples. `look`: size in inches, axes to draw on, texts.

    **Raises:** `ValueError` for a size that is none, and `ax` for several panels.
    """
    *over, y, x = _dims(result["share"])
    result = _sorted(result, x, y)
    title = f"share of seeds with {_threshold(result)}"
    counted = of_seeds(result["seeds"])
    if y is None:
        shown = result.where(result["seeds"] > 0)
        said = f"{title}\n95% intervals, {counted}"
        return _curve(shown, "share", x, said, "share of seeds", look, (0.0, 1.0), found=predictions)
    style = {"vmin": 0.0, "vmax": 1.0, "cmap": "cividis"}
    if over:
        said = f"{title} ({'line: 50%, 95% band, ' if boundary is not None else ''}{counted} a cell)"
        places = result["share"], x, y, over[0]
        return _multiples(*places, said, "share of seeds", look, boundary=boundary, counts=True, **style)
    default = PAGE if panels == 2 and "ax" not in look else COLUMN
    width = width_of(look, default)
    columns = panels if width >= 5.0 else 1
    with sheet(panels, look, width=default, height=2.9 if width < 5.0 else 3.1, columns=columns) as page:
        left = page.panels[0]
        mesh = _draw_map(left, result["share"], x, y, **style)
        _annotate(page, left, result["share"], x, y, boundary)
        line = _draw_line(left, result, boundary, x, y)
        # Over one panel the title counts the seeds; over two, each panel has its own.
        left.set_title(look.get("title", title + line + (f", {counted} a cell" if panels == 1 else "")))
        left.set_ylabel(axis_label(result[y]))
        page.colour_bar(mesh, left, "share of seeds")
        draw_predictions(page, left, predictions, result, x, y, "")
        if panels == 2:
            right = page.panels[1]
            half = result["half_width"].where(result["seeds"] > 0)
            mesh = _draw_map(right, half, x, y, vmin=0.0, vmax=None, cmap="Greys")
            right.set_title(f"half-width of 95% intervals, {counted} a cell")
            page.colour_bar(mesh, right, "half-width (Wilson)")
            if columns == 1:
                right.set_ylabel(axis_label(result[y]))
            else:
                right.set_yticklabels([])
    return page.figure


def _draw_line(ax: Axes, result: xr.Dataset, boundary: xr.Dataset | None, x: str, y: str) -> str:
    """Draws where half of the seeds are below; what a title says of it."""
    if boundary is None:
        return " (line: 50%)" if _draw_half_contour(ax, result["share"], x, y) else ""
    _draw_boundary(ax, boundary, result, x, y)
    return " (line: 50%, 95% band)"


def order_picture(result: xr.Dataset, *, predictions: xr.Dataset | None = None, **look: Unpack[Look]) -> Figure:
    """An order parameter over one, two or three axes, the dataset of `analysis.order_parameter`.

    Logarithmic where it spans decades. `predictions`: drawn over a curve. `look` and errors as `phase_picture`.
    """
    *over, y, x = _dims(result["value"])
    result = _sorted(result, x, y)
    values = result["value"]
    finite = values.values[np.isfinite(values.values)]
    wide = len(finite) > 0 and finite.min() > 0 and finite.max() > 30 * finite.min()
    quantile = result.attrs["quantile"]
    title = f"{'median' if quantile == 0.5 else f'{quantile:g} quantile'} over seeds of {result.attrs['measure']}"
    label = units_label(result.attrs["measure"], result.attrs["measure_units"])
    if y is None:
        said = "95% intervals" if int(result["seeds"].max()) > 1 else "one seed"
        return _curve(result, "value", x, f"{title}\n{said}", label, look, logarithmic=wide, found=predictions)
    style: dict[str, Any] = {"norm": LogNorm(finite.min(), finite.max())} if wide else {}
    if over:
        return _multiples(values, x, y, over[0], title, label, look, cmap="viridis", **style)
    return _one(values, x, y, title, label, look, cmap="viridis", **style)


def difference_picture(result: xr.Dataset, x: str, y: str | None = None, **look: Unpack[Look]) -> Figure:
    """How shares differ between two studies: the dataset of `analysis.difference`; dots: intervals without 0.

    Over `x` alone a curve with its interval. `look` as `phase_picture`.

    **Raises:** as `phase_picture`, and for an axis that is not there or is left open.
    """
    open_axes = [str(d) for d in result["difference"].dims]
    for name, axis in (("x", x), ("y", y)):
        if axis is not None and axis not in open_axes:
            raise ValueError(f"{name}: got {axis!r}, which is no axis; the axes are {', '.join(open_axes) or 'none'}")
    left = [d for d in open_axes if d not in (x, y)]
    if left:
        raise ValueError(f"{left[0]}: the axis is open; choose one of its values {result[left[0]].values.tolist()}")
    result = _sorted(result, x, y)
    title = f"difference of shares with {result.attrs['measure']} < {result.attrs['below']:g}"
    if y is None:
        return _curve(result, "difference", x, f"{title}\n95% intervals", "second minus first", look, zero=True)
    values = result["difference"].transpose(y, x)
    sure = ((result["low"] > 0) | (result["high"] < 0)).transpose(y, x).values
    rows, columns = np.nonzero(sure)
    centres = axis_positions(values[x])[0][columns], axis_positions(values[y])[0][rows]
    style: dict[str, Any] = {"vmin": -1.0, "vmax": 1.0, "cmap": "RdBu"}
    return _one(values, x, y, f"{title} (dot: interval without 0)", "second minus first", look, dots=centres, **style)


def _dims(values: xr.DataArray) -> tuple[Any, ...]:
    """([over,] y, x), y being None where there is one dimension."""
    names = tuple(str(d) for d in values.dims)
    return (None, *names) if len(names) == 1 else names


def _sorted(result: xr.Dataset, x: str, y: str | None) -> xr.Dataset:
    numeric = [d for d in (x, y) if d is not None and result[d].dtype.kind in "fiu"]
    return result.sortby(numeric) if numeric else result


def _threshold(result: xr.Dataset) -> str:
    return f"{result.attrs['measure']} < {with_units(result.attrs['below'], result.attrs['measure_units'])}"


def _curve(
    result: xr.Dataset,
    name: str,
    x: str,
    title: str,
    label: str,
    look: Look,
    bounds: tuple[float, float] | None = None,
    *,
    logarithmic: bool = False,
    zero: bool = False,
    found: xr.Dataset | None = None,
) -> Figure:
    """A variable along one axis with its interval."""
    with sheet(1, look, width=COLUMN, height=2.4) as page:
        ax = page.panels[0]
        centres, edges, _ = axis_positions(result[x])
        middle, low, high = (result[part].values for part in (name, "low", "high"))
        finite = np.isfinite(middle)
        ends = np.nanmin(np.where(finite, middle, np.nan), initial=np.inf), np.nanmax(middle[finite], initial=-np.inf)
        spread = max(ends[1] - ends[0], 1e-300)
        # An end that the seeds cannot bound is drawn beyond the frame.
        beyond = (ends[0] / 100, ends[1] * 100) if logarithmic else (ends[0] - 9 * spread, ends[1] + 9 * spread)
        below = middle - np.where(np.isfinite(low), low, beyond[0])
        above = np.where(np.isfinite(high), high, beyond[1]) - middle
        bounded = np.isfinite(low).any() or np.isfinite(high).any()
        bars = np.nan_to_num(np.abs(np.stack([below, above])), nan=0.0) if bounded else None
        joined = "o-" if result[x].dtype.kind in "fiu" else "o"
        ax.errorbar(centres, middle, bars, fmt=joined, color="black", markersize=3, capsize=2)
        if logarithmic:
            ax.set_yscale("log")
        if zero:
            ax.axhline(0.0, color="0.7", linewidth=0.6, zorder=0)
        if bounds is not None:
            margin = 0.03 * (bounds[1] - bounds[0])
            ax.set_ylim(bounds[0] - margin, bounds[1] + margin)
        ax.set_xlim(edges.min(), edges.max())
        name_ticks(ax, result[x], "x")
        ax.set_xlabel(axis_label(result[x]))
        ax.set_ylabel(label)
        draw_predictions(page, ax, found, result, x, None, result.attrs["measure"])
        page.title(title)
    return page.figure


def _one(values: xr.DataArray, x: str, y: str, title: str, label: str, look: Look, dots=None, **style) -> Figure:
    with sheet(1, look, width=COLUMN, height=2.9) as page:
        ax = page.panels[0]
        mesh = _draw_map(ax, values, x, y, **style)
        ax.set_ylabel(axis_label(values[y]))
        if dots is not None:
            ax.plot(*dots, ".", color="black", markersize=4)
        page.title(title)
        page.colour_bar(mesh, ax, label)
    return page.figure


def _multiples(
    values: xr.DataArray,
    x: str,
    y: str,
    over: str,
    title: str,
    label: str,
    look: Look,
    *,
    boundary: xr.Dataset | None = None,
    counts: bool = False,
    **style,
) -> Figure:
    """A map for every value of a third axis, on one scale."""
    count = values.sizes[over]
    # Two in a row where three would have no room for numbers.
    columns = (2 if values.sizes[x] > 5 or count in (2, 4) else 3) if width_of(look, PAGE) >= 5.0 else 1
    with sheet(count, look, width=PAGE, height=_ROW, columns=columns) as page:
        if "norm" not in style:
            style = {"vmin": np.nanmin(values), "vmax": np.nanmax(values)} | style
        for i, ax in enumerate(page.panels):
            one = values.isel({over: i})
            _draw_map(ax, one, x, y, **style)
            place = {over: values[over].values[i]}
            own = None if boundary is None else boundary.sel(place)
            if counts:
                _annotate(page, ax, one, x, y, own)
            if own is not None:
                _draw_boundary(ax, own, one, x, y)
            ax.set_title(said_at({over: values[over].values[i].item()}))
        page.labels(axis_label(values[x]), axis_label(values[y]))
        page.bars.append(page.figure.colorbar(page.panels[0].collections[0], ax=page.panels, label=label, aspect=30).ax)
        if count > 1:
            page.title(title)
        else:
            page.panels[0].set_title(look.get("title", f"{title}\n{page.panels[0].get_title()}"))
    return page.figure


def _draw_boundary(ax: Axes, boundary: xr.Dataset, result: xr.Dataset | xr.DataArray, x: str, y: str) -> None:
    """The boundary and its band at the centres of the columns; ends beyond the grid are drawn at its edge."""
    centres = axis_positions(result[x])[0]
    line, low, high = _places(boundary, result, x, y)
    # White behind black: seen on dark cells, too.
    for colour, more in (("white", 1.2), ("black", 0.0)):
        ax.vlines(centres, low, high, color=colour, linewidth=0.8 + more, zorder=2.1)
        ax.plot(centres, line, color=colour, linewidth=1.2 + more, zorder=2.2)
    ax.plot(centres, line, "o", color="black", markersize=3, zorder=2.3, markeredgecolor="white", markeredgewidth=0.4)


def _places(boundary: xr.Dataset, result: Any, x: str, y: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(boundary, lower end, upper end of its band) of every column, in plot coordinates; NaN: nothing to draw."""
    boundary = boundary.reindex({x: result[x].values})
    _, edges, logarithmic = axis_positions(result[y])

    def place(name: str) -> np.ndarray:
        values = boundary[name].values
        with np.errstate(divide="ignore", invalid="ignore"):
            at = np.where(values == -np.inf, -np.inf, np.log10(values)) if logarithmic else values
        return np.clip(at, edges[0], edges[-1])

    line = np.where(np.isfinite(boundary["boundary"].values), place("boundary"), np.nan)
    inside = boundary["low"].values < boundary["high"].values
    low, high = (np.where(inside, place(name), np.nan) for name in ("low", "high"))
    return line, low, high


def _draw_map(ax: Axes, values: xr.DataArray, x: str, y: str, **style):
    (_, x_edges, x_log), (_, y_edges, y_log) = axis_positions(values[x]), axis_positions(values[y])
    mesh = ax.pcolormesh(x_edges, y_edges, np.ma.masked_invalid(values.values), shading="flat", **style)
    name_ticks(ax, values[x], "x")
    name_ticks(ax, values[y], "y")
    for name, logarithmic, line in ((x, x_log, ax.axvline), (y, y_log, ax.axhline)):
        if logarithmic and np.any(values[name].values == 0):
            edges = x_edges if name == x else y_edges
            line(edges[1], color="white", linewidth=2.5)
    ax.set_xlabel(axis_label(values[x]))
    return mesh


def _annotate(page: Sheet, ax: Axes, values: xr.DataArray, x: str, y: str, boundary: xr.Dataset | None) -> None:
    """Writes the shares into the cells, over everything else, where every one of them has room in its own cell.

    Where the boundary lies in a cell, the number moves to the cell's other half.
    """
    (centres_x, edges_x, _), (centres_y, edges_y, _) = axis_positions(values[x]), axis_positions(values[y])
    line = np.full(len(centres_x), np.nan) if boundary is None else _places(boundary, values, x, y)[0]
    numbers: list[tuple[Text, np.ndarray]] = []
    colour = ax.collections[0].cmap
    for i, row in enumerate(values.values):
        low, high = sorted((edges_y[i], edges_y[i + 1]))
        for j, value in enumerate(row):
            if not np.isfinite(value):
                continue
            moved = 0.0 if not low <= line[j] <= high else np.copysign(0.25 * (high - low), centres_y[i] - line[j])
            # On a patch of the cell's own colour, so that no line runs through the number.
            text = ax.text(
                *(centres_x[j], centres_y[i] + moved, f"{value:.2f}"),
                **{"ha": "center", "va": "center", "size": 5.5, "zorder": 5},
                color="white" if value < 0.5 else "black",
                bbox={"facecolor": colour(float(value)), "edgecolor": "none", "pad": 0.6},
            )
            numbers.append((text, np.array([[edges_x[j], edges_y[i]], [edges_x[j + 1], edges_y[i + 1]]])))

    def keep_what_fits() -> None:
        for text, corners in numbers:
            box, cell = text.get_window_extent(), np.abs(np.diff(ax.transData.transform(corners), axis=0))[0]
            crowded = box.height > (0.48 if boundary is not None else 0.9) * cell[1]
            if box.width > 0.92 * cell[0] or crowded:
                for other, _ in numbers:
                    other.remove()
                return

    page.measured.append(keep_what_fits)


def _draw_half_contour(ax: Axes, values: xr.DataArray, x: str, y: str) -> bool:
    """The 50% contour between cell centres, apart from the column or row of a zero on a log axis.

    None between texts, whose order says nothing.
    """
    if any(values[d].dtype.kind not in "iuf" for d in (x, y)):
        return False
    keep = {d: values[d].values > 0 for d in (x, y) if axis_positions(values[d])[2]}
    centres = {d: axis_positions(values[d])[0][keep[d]] if d in keep else axis_positions(values[d])[0] for d in (x, y)}
    inner = values.isel({d: np.flatnonzero(k) for d, k in keep.items()}).values
    if min(inner.shape) < 2 or not np.isfinite(inner).any() or not (np.nanmin(inner) < 0.5 < np.nanmax(inner)):
        return False
    ax.contour(centres[x], centres[y], inner, levels=[0.5], colors="white", linewidths=2.6)
    ax.contour(centres[x], centres[y], inner, levels=[0.5], colors="black", linewidths=1.2)
    return True
