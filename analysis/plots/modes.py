"""Mode curves of deep linear networks, with the exact ones over them."""

from typing import Unpack

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..alignment import trajectory
from ..members import finished, standard
from ..modes import mode_curves
from ..selection import open_axis
from .layout import COLUMN, PAGE, Look, sheet, width_of
from .style import colours, of_seeds, said_at


def mode_picture(ds: xr.Dataset, along: str | None = None, **look: Unpack[Look]) -> Figure:
    """Medians and 10–90% bands over seeds of every mode's strength against time, and the exact curves where known.

    **Arguments:** a dataset of deep linear students with one open axis at most: a panel for each of its values.
    `look`: size in inches, axes to draw on, texts.

    **Raises:** `ValueError` where no history was recorded, or another axis is open.
    """
    ds = standard(ds)
    along = open_axis(ds, along)
    try:
        exact, source = mode_curves(ds), "; dashed: exact, gradient flow (Saxe et al. 2014)"
    except ValueError:  # no exact curve is known: the measured ones alone
        exact, source = None, ""
    bands = trajectory(ds, "mode_strength", (0.1, 0.5, 0.9))["value"].load()
    count = 1 if along is None else ds.sizes[along]
    shades = colours(bands.sizes["mode"])
    columns = 1 if count == 1 else 3 if width_of(look, PAGE) >= 5.0 else 2
    width, height = (COLUMN, 2.4) if count == 1 else (PAGE, 1.7)
    with sheet(count, look, width=width, height=height, columns=columns, sharey=True) as page:
        for i, ax in enumerate(page.panels):
            at = {} if along is None else {along: i}
            values = bands.isel(at).squeeze(drop=True).transpose("mode", "record", "quantile").values
            time = ds["step"].values if exact is None else exact["time"].isel(at).squeeze(drop=True).values
            for k, shade in enumerate(shades):
                ax.fill_between(time, values[k, :, 0], values[k, :, 2], color=shade, alpha=0.2, linewidth=0)
                ax.plot(time, values[k, :, 1], color=shade)
                if exact is not None:
                    curve = exact["exact"].isel(at).squeeze(drop=True).isel(mode=k).values
                    ax.plot(time, curve, color="black", linewidth=0.8, linestyle=(0, (4, 3)))
            positive = time[time > 0]
            ax.set_xscale("log")
            ax.set_xlim(float(positive[0]), float(positive[-1]))
            if along is not None and count > 1:
                ax.set_title(said_at({along: ds[along].values[i].item()}))
            ax.tick_params(labelbottom=True)
        clock = "descent steps" if exact is None else "time: step size × steps"
        page.labels(f"{clock} (log\u00a0scale)", "mode strength")
        counted = of_seeds(finished(ds).sum("seed"))
        page.title(f"strength of the teacher's modes\nmedian and 10–90% of {counted}{source}")
        handles = [Line2D([], [], color=shade, linewidth=1.2) for shade in shades]
        page.legend(handles, [str(k + 1) for k in np.arange(len(shades))], "mode")
    return page.figure
