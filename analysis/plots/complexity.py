"""Sample complexity: the n at which half of the seeds recover, against the dimension, and the power law of it."""

from typing import Unpack

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from .layout import COLUMN, Look, sheet
from .style import axis_label


def complexity_picture(result: xr.Dataset, **look: Unpack[Look]) -> Figure:
    """Places of half recovery with their simultaneous sets, and the fitted power law: `analysis.sample_complexity`.

    A set that goes on beyond the grid is drawn to an arrow at the grid's end. `look`: size in inches, axes to draw on,
    texts.
    """
    along = str(result["boundary"].dims[0])
    result = result.sortby(along)
    position = result[along].values.astype(float)
    ends = result["low"].values, result["high"].values
    place = result["boundary"].values
    known = np.concatenate([x[np.isfinite(x)] for x in (*ends, place)] + [np.asarray(result.attrs["samples_range"])])
    lowest, highest = known.min(), known.max()
    with sheet(1, look, width=COLUMN, height=2.6) as page:
        (ax,) = page.panels
        shown = np.clip(np.nan_to_num(ends[0], nan=lowest), lowest, highest)
        ax.vlines(position, shown, np.clip(np.nan_to_num(ends[1], nan=highest), lowest, highest), color="black")
        for marker, beyond, at in (("v", ~(ends[0] > -np.inf), lowest), ("^", ~(ends[1] < np.inf), highest)):
            ax.plot(position[beyond], np.full(beyond.sum(), at), marker, color="black", markersize=4)
        inside = np.isfinite(place)
        ax.plot(position[inside], place[inside], "o", color="black", markersize=3)
        if np.isfinite(result["exponent"]):
            ax.plot(position, result["fitted"], color="0.4", linewidth=0.9, linestyle=(0, (4, 3)))
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xticks(position, [f"{value:g}" for value in position])
        ax.minorticks_off()
        page.labels(axis_label(result[along]), f"{result.attrs['y']} (log\u00a0scale)")
        page.title(f"{result['boundary'].attrs['long_name']}\n{said_of(result)}")
    return page.figure


def said_of(result: xr.Dataset) -> str:
    """The power law in words."""
    p, low, high = (float(result[name]) for name in ("exponent", "exponent_low", "exponent_high"))
    if not bool(result["is_power_law"]):
        return f"no power of {result['boundary'].dims[0]} passes through all {result.attrs['level']:.0%} sets"
    ends = ", ".join("−∞" if x == -np.inf else "∞" if x == np.inf else f"{x:.2f}" for x in (low, high))
    fitted = "" if np.isnan(p) else f" p = {p:.2f}"
    return f"power of {result['boundary'].dims[0]}:{fitted} [{ends}], {result.attrs['level']:.0%} interval"
