"""Online learning beside its closed equations."""

from typing import Unpack

import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..alignment import trajectory
from ..members import finished, standard
from ..online.deviation import order_deviation
from ..selection import open_axis
from .layout import COLUMN, PAGE, Look, sheet
from .style import colours, of_seeds, said_at


def online_picture(
    ds: xr.Dataset,
    along: str | None = None,
    *,
    noise: float | None = None,
    batch: int | None = None,
    **look: Unpack[Look],
) -> Figure:
    """Means and 10–90% bands over seeds of the loss against time, and the mean of the closed equations' solutions.

    **Arguments:** a dataset with a history of `loss` and one open axis at most: a curve for each of its values. `noise`
    and `batch` as in `order_parameters`. `look`: size in inches, axes to draw on, texts.

    **Raises:** `ValueError` as `order_deviation`, and where another axis is open.
    """
    ds = standard(ds)
    along = open_axis(ds, along)
    found = order_deviation(ds, noise=noise, batch=batch)
    bands = trajectory(ds, "loss", (0.1, 0.9))["value"].load()
    count = 1 if along is None else ds.sizes[along]
    shades = colours(count)
    with sheet(1, look, width=COLUMN if count == 1 else PAGE, height=2.6) as page:
        (ax,) = page.panels
        for i, shade in enumerate(shades):
            at = {} if along is None else {along: i}
            values = bands.isel(at).squeeze(drop=True).transpose("record", "quantile").values
            one = found.isel(at).squeeze(drop=True)
            time = one["time"].values
            kept = time > 0
            ax.fill_between(time[kept], values[kept, 0], values[kept, 1], color=shade, alpha=0.2, linewidth=0)
            ax.plot(time[kept], one["measured"].values[kept], color=shade)
            ax.plot(time[kept], one["solution"].values[kept], color="black", linewidth=0.8, linestyle=(0, (4, 3)))
        ax.set_xscale("log")
        ax.set_yscale("log")
        page.labels("time: step size × steps (log\u00a0scale)", "loss")
        exact = "d → ∞" if bool(found["second_order"].all()) else "leading order in η"
        counted = of_seeds(finished(ds).sum("seed"))
        page.title(f"loss of online learning\nmean and 10–90% of {counted}; dashed: closed equations, {exact}")
        if along is not None:
            handles = [Line2D([], [], color=shade, linewidth=1.2) for shade in shades]
            page.legend(handles, [said_at({along: value}) for value in ds[along].values.tolist()])
    return page.figure
