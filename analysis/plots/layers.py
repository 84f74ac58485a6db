"""Maps of layers over steps: a quantity of every layer, mode or pair of layers along the run."""

from typing import Unpack

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from ..alignment import trajectory
from ..layers import LAYERS, depths_of
from ..members import PARTS, finished, standard
from ..selection import open_axis
from .layout import COLUMN, PAGE, Look, sheet, width_of
from .style import of_seeds, said_at, units_label


def layer_picture(ds: xr.Dataset, measure: str, along: str | None = None, **look: Unpack[Look]) -> Figure:
    """A map of one probe over steps (right) and layers, or modes or pairs of layers (up): medians over seeds.

    Layers are numbered from 0, the first one, at the bottom. A layer that a cell's students do not have is left white;
    so is a median that is 0 where all others are positive and span more than a decade, whose colours are logarithmic.

    **Arguments:** `measure`, a probe with one dimension of parts, such as `layer_norm` (`layer`), `feature_change`
    (`hidden_layer`), `layer_alignment` (`layer_pair`) or `mode_strength` (`mode`); a dataset with one open axis at
    most, `along`: a panel for each of its values. `look`: size in inches, axes to draw on, texts.

    **Raises:** `ValueError` where no history was recorded, another axis is open, or the probe has no parts or several
    kinds of them.
    """
    ds = standard(ds)
    along = open_axis(ds, along)
    medians = trajectory(ds, measure, (0.5,))["value"].isel(quantile=0).load()
    parts = [dim for dim in medians.dims if dim in PARTS]
    if len(parts) != 1:
        has = f"those of {' and '.join(map(repr, parts))}" if parts else "no value for each layer, pair or mode"
        way = f"choose one of the latter, `isel({parts[-1]}=0)`" if parts else f"take one of {', '.join(PARTS)}"
        raise ValueError(f"measure: got {measure!r}, which has {has}; {way}")
    part = str(parts[0])
    count = 1 if along is None else ds.sizes[along]
    panels = _panels(ds, medians, part, along)
    norm = _scale(panels)
    steps = ds["step"].values.astype(float)
    columns = 1 if count == 1 else 3 if width_of(look, PAGE) >= 5.0 else 2
    width, height = (COLUMN, 2.2) if count == 1 else (PAGE, 2.1)
    with sheet(count, look, width=width, height=height, columns=columns, sharey=True) as page:
        for i, (ax, values) in enumerate(zip(page.panels, panels, strict=True)):
            edges = _step_edges(steps)
            mesh = ax.pcolormesh(
                edges, np.arange(len(values) + 1) - 0.5, values, norm=norm, cmap=mpl.colormaps["viridis"]
            )
            mesh.set_rasterized(True)
            ax.set_xscale("log")
            ax.set_yticks(range(len(values)))
            if along is not None and count > 1:
                ax.set_title(said_at({along: ds[along].values[i].item()}))
            ax.tick_params(labelbottom=True)
            # One scale serves all panels: a bar beside a row that is not full would push the full ones apart.
            if (i + 1) % columns == 0 or (count < columns and i == count - 1):
                page.colour_bar(mesh, ax, units_label(measure, ds[measure].attrs["units"]))
        page.labels("descent steps (log\u00a0scale)", part.replace("_", " "))
        page.title(f"{ds[measure].attrs['long_name']}\nmedian of {of_seeds(finished(ds).sum('seed'))}")
    return page.figure


def _panels(ds: xr.Dataset, medians: xr.DataArray, part: str, along: str | None) -> list[np.ndarray]:
    """(part, record) of every panel; NaN for what its students do not have."""
    depths = depths_of(ds).ravel()
    found = []
    for i, depth in enumerate(depths):
        values = medians if along is None else medians.isel({along: i})
        shape = ds.sizes[part], ds.sizes["record"]
        made = values.transpose(part, "record", ...).values.reshape(shape).astype(float)  # other axes have one value
        if part in LAYERS and depth:
            made[depth + LAYERS[part] :] = np.nan
        found.append(made)
    return found


def _scale(panels: list[np.ndarray]) -> Normalize:
    """One colour scale of all panels: logarithmic where positive medians span more than a decade."""
    shown = np.concatenate([values[np.isfinite(values)] for values in panels])
    positive = shown[shown > 0]
    if len(positive) and (shown >= 0).all() and positive.max() > 10.0 * positive.min():
        return LogNorm(float(positive.min()), float(positive.max()))
    return Normalize(float(shown.min(initial=0.0)), float(shown.max(initial=1e-300)))


def _step_edges(steps: np.ndarray) -> np.ndarray:
    """Edges between records on a logarithmic axis; step 0 takes the place of half of the first one after it."""
    placed = np.log(np.where(steps > 0, steps, 0.5))
    middle = 0.5 * (placed[1:] + placed[:-1])
    ends = (placed[:1], placed[-1:]) if len(placed) > 1 else (placed - 0.5, placed + 0.5)
    return np.exp(np.concatenate([ends[0], middle, ends[1]]))
