"""What a first task gives to a second one: curves over similarity, and maps over similarity and samples."""

from typing import Unpack

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..members import like
from .layout import COLUMN, PAGE, Look, sheet
from .style import axis_label, axis_positions, colours, name_ticks, of_seeds, said_at


def transfer_picture(
    result: xr.Dataset, x: str, y: str | None = None, gain: str = "forward_transfer", **look: Unpack[Look]
) -> Figure:
    """A gain of `analysis.transfer` over the axis `x`: a curve for each use of the first task, or, with `y`, a map.

    Medians over seeds with 95% order-statistic intervals; in maps a dot marks a cell whose interval is without 0.
    `look`: size in inches, texts.

    **Raises:** `ValueError` for a gain or an axis that is not there, an axis that is left open, and another result.
    """
    if "transfer" not in result:
        raise ValueError("result: got a dataset without transfer; pass that of analysis.transfer")
    gains = result["transfer_gain"].values.tolist()
    if gain not in gains:
        raise ValueError(f"gain: got {gain!r}; there are {', '.join(gains)}{like(gain, gains)}")
    along = str(result.attrs["along"])
    one = result[["value", "low", "high", "seeds"]].sel(transfer_gain=gain, drop=True)
    names = [str(d) for d in one["value"].dims]
    for name, axis in (("x", x), ("y", y)):
        if axis is not None and axis not in names:
            raise ValueError(f"{name}: got {axis!r}, which is no axis; the axes are {', '.join(names)}")
    if x == y or along in (x, y):
        raise ValueError(f"x: got {x!r} and y {y!r}; take different axes, and not {along!r}, which is told apart")
    rest = [name for name in names if name not in (x, y, along) and one.sizes[name] > 1]
    if rest:
        raise ValueError(f"at: the axis {rest[0]!r} is open; choose one of its values {one[rest[0]].values.tolist()}")
    one = one.squeeze([name for name in names if name not in (x, y, along)], drop=True).load()
    title = f"{gain.replace('_', ' ')} against {said_at({along: result.attrs['fresh']})}"
    if y is None:
        return _curves(one, x, along, title, look)
    return _maps(one, x, y, along, title, look)


def _curves(one: xr.Dataset, x: str, along: str, title: str, look: Look) -> Figure:
    labels = one[along].values.tolist()
    positions, _, logarithmic = axis_positions(one[x])
    shades = colours(len(labels))
    with sheet(1, look, width=COLUMN, height=2.6) as page:
        (ax,) = page.panels
        ax.axhline(0.0, color="0.7", linewidth=0.7)
        for i, shade in enumerate(shades):
            curve = one.isel({along: i}).transpose(x)
            value, low, high = (curve[name].values for name in ("value", "low", "high"))
            known = np.isfinite(low) & np.isfinite(high)
            bars = np.where(known, [value - low, high - value], 0.0)
            ax.errorbar(positions, value, bars, color=shade, elinewidth=0.7, marker=".", markersize=3)
        name_ticks(ax, one[x], "x")
        page.labels(axis_label(one[x], logarithmic), "median over seeds")
        page.title(f"{title}\nmedians with 95% intervals, {of_seeds(int(one['seeds'].max()))}")
        handles = [Line2D([], [], color=shade, linewidth=1.2) for shade in shades]
        page.legend(handles, [str(label) for label in labels], axis_label(one[along], logarithmic=False))
    return page.figure


def _maps(one: xr.Dataset, x: str, y: str, along: str, title: str, look: Look) -> Figure:
    labels = one[along].values.tolist()
    one = one.transpose(along, y, x)
    finite = np.abs(one["value"].values[np.isfinite(one["value"].values)])
    most = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    (across, edges_x, log_x), (up, edges_y, log_y) = (axis_positions(one[axis]) for axis in (x, y))
    sure = ((one["low"] > 0) | (one["high"] < 0)).values
    with sheet(len(labels), look, width=PAGE, height=2.3, columns=3, sharex=True, sharey=True) as page:
        meshes = []
        for i, ax in enumerate(page.panels):
            values = one["value"].values[i]
            meshes.append(ax.pcolormesh(edges_x, edges_y, values, cmap="RdBu", vmin=-most, vmax=most))
            rows, columns = np.nonzero(sure[i])
            ax.plot(across[columns], up[rows], "o", color="black", markeredgecolor="white", markersize=3.5)
            if len(labels) > 1:
                ax.set_title(str(labels[i]))
            name_ticks(ax, one[x], "x")
            name_ticks(ax, one[y], "y")
        page.labels(axis_label(one[x], log_x), axis_label(one[y], log_y))
        page.colour_bar(meshes[-1], page.panels[-1], "median over seeds")
        whose = f": {labels[0]}" if len(labels) == 1 else ""
        page.title(f"{title}{whose} (dot: 95% interval without 0)")
    return page.figure
