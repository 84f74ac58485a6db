"""What theory says, drawn over what was measured, and labelled with its source."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ensemble import Study

from ..predictions import places
from .layout import Sheet
from .style import axis_positions

_COLOURS = ("#e4572e", "#17907a", "#b03bb0")
_DASHES = ("--", ":", "-.")


def draw_predictions(
    page: Sheet, ax: Axes, found: xr.Dataset | None, result: xr.Dataset, x: str, y: str | None, measure: str
) -> None:
    """The lines of `analysis.predictions` that belong to a map over (y, x), or to a curve of a measure over x.

    A prediction of the measure is a dashed curve; a place on an axis a straight line across it, or on a map a curve.

    **Raises:** `ValueError` where the predictions are over more axes than the picture.
    """
    if found is None:
        return
    found = found.squeeze([d for d in found.dims if d not in (x, y) and found.sizes[d] == 1], drop=True)
    open_axes = [str(d) for d in found.dims if d not in (x, y)]
    if open_axes:
        raise ValueError(f"predictions: the axis {open_axes[0]!r} is open; select the values that the picture shows")
    found = found.sel({d: result[d] for d in (x, y) if d is not None})
    study = Study.from_json(result.attrs["study"])
    lines = [] if y is not None else [(n, None) for n in found.data_vars if found[n].attrs.get("probe") == measure]
    lines += [(n, axis) for axis in (x, y) if axis is not None for n in places(found, study, axis)]
    handles = []
    for i, (name, axis) in enumerate(lines):
        style: dict[str, Any] = {"color": _COLOURS[i % 3], "linestyle": _DASHES[i % 3], "linewidth": 1.4}
        if _draw(ax, found[name], result, x, y, axis, style):
            label = f"{found[name].attrs['long_name']} ({found[name].attrs['source']})"
            handles.append(Line2D([], [], label=label, **style))
    if handles:
        page.legend(handles, [str(handle.get_label()) for handle in handles])


def _draw(
    ax: Axes, values: xr.DataArray, result: xr.Dataset, x: str, y: str | None, axis: str | None, style: dict[str, Any]
) -> bool:
    """Draws one prediction: a curve of the measure where `axis` is None; whether there was something to draw."""
    centres = axis_positions(result[x])[0]
    if axis is None:
        ax.plot(centres, values.transpose(x).values, zorder=3, **style)
        return bool(np.isfinite(values).any())
    _, edges, logarithmic = axis_positions(result[axis])
    other = next((d for d in (x, y) if d is not None and d != axis), None)
    at = values.max(axis).values  # the same all along the axis on which it is a place
    with np.errstate(divide="ignore", invalid="ignore"):
        at = np.log10(at) if logarithmic else at
    low, high = sorted((edges[0], edges[-1]))
    at = np.where((at >= low) & (at <= high), at, np.nan)
    if not np.isfinite(at).any():
        return False
    if other is None:
        ax.axvline(float(at), zorder=2.5, **style)
        return True
    # A step across each cell: what theory says is of the cell's own value.
    _, ends, _ = axis_positions(result[other])
    along = np.repeat(ends, 2)[1:-1]
    across = np.repeat(at, 2)
    ax.plot(*((across, along) if axis == x else (along, across)), zorder=2.4, **style)
    return True
