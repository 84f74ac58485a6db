"""Curves over what is done to a network: neurons taken away, attacks of a radius, other inputs."""

from typing import Any, NamedTuple, Unpack

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..selection import is_log_spaced
from ..statistics import quantiles
from .layout import COLUMN, Look, sheet
from .style import axis_label, colours, of_seeds, said_at

_INNER = ("seed", "kept", "radius", "condition_number", "quantile")


def pruning_picture(result: xr.Dataset, along: str | None = None, **look: Unpack[Look]) -> Figure:
    """The loss against the neurons kept: the dataset of `analysis.pruning`, with one open axis at most.

    Medians over seeds with bars (95% order-statistic intervals, where the seeds allow one), and bands from 10% to 90%;
    a curve for each value of `along`. Losses that are 0 within rounding stand at the lower edge. `look`: size in
    inches, axes to draw on, texts.

    **Raises:** `ValueError` for a second open axis, and for a result of something else.
    """
    _require(result, "pruned_loss", "analysis.pruning")
    by = {"mass": "lightest first", "importance": "least growth of the loss first"}[result.attrs["by"]]
    drawn = _Drawn("kept", "pruned_loss", f"pruned networks, {by}", "neurons kept", "population loss")
    return _curves(result[["value", "low", "high"]], result, drawn, along, look)


def robustness_picture(result: xr.Dataset, along: str | None = None, **look: Unpack[Look]) -> Figure:
    """The robust loss against the radius: the dataset of `analysis.robust_loss`; else as `pruning_picture`."""
    _require(result, "robust_loss", "analysis.robust_loss")
    norm = {2: "ℓ2", "2": "ℓ2", "inf": "ℓ∞"}[result.attrs["norm"]]
    title = f"robust loss, {norm} attacks, label {result.attrs['label']}\n({result.attrs['method']})"
    drawn = _Drawn("radius", "robust_loss", title, "radius ε", "robust loss")
    return _curves(_spread(result, drawn), result, drawn, along, look)


def shift_picture(result: xr.Dataset, along: str | None = None, **look: Unpack[Look]) -> Figure:
    """The loss under shifted inputs against their condition number: the dataset of `analysis.shifted_loss`; else as
    `pruning_picture`."""
    _require(result, "shifted_loss", "analysis.shifted_loss")
    turned = "turned" if result.attrs["turned"] else "on the axes"
    tails = f", Student t of {result.attrs['tails']:g} degrees" if "tails" in result.attrs else ""
    title = f"inputs of another covariance, {turned}{tails}"
    drawn = _Drawn("condition_number", "shifted_loss", title, "condition number κ", "population loss")
    return _curves(_spread(result, drawn), result, drawn, along, look)


class _Drawn(NamedTuple):
    """Over which dimension, and in which words."""

    x: str
    measure: str
    title: str
    xlabel: str
    ylabel: str


def _spread(result: xr.Dataset, drawn: _Drawn) -> xr.Dataset:
    """Quantiles over seeds."""
    values = result[drawn.measure]
    return quantiles(values, (0.1, 0.5, 0.9), values.notnull().all(drawn.x))


def _require(result: xr.Dataset, name: str, maker: str) -> None:
    if name not in result:
        raise ValueError(f"result: got a dataset without {name}; pass that of {maker}")


def _curves(found: xr.Dataset, result: xr.Dataset, drawn: _Drawn, along: str | None, look: Look) -> Figure:
    along = _open(found, along)
    found = found.load()
    x = result[drawn.x].values.astype(float)
    labels = [None] if along is None else found[along].values.tolist()
    shades = ["black"] if along is None else colours(len(labels))
    positive = found["value"].where(found["value"] > 1e-17)
    floor = float(positive.min()) if bool(positive.notnull().any()) else 1e-17
    with sheet(1, look, width=COLUMN, height=2.6) as page:
        (ax,) = page.panels
        for i, shade in enumerate(shades):
            one = found if along is None else found.isel({along: i})
            one = one.squeeze([d for d in one.dims if d not in (drawn.x, "quantile")], drop=True)
            _curve(ax, x + (0.0 if drawn.x != "kept" else _beside(i, len(shades))), one, drawn.x, floor, shade)
        ax.set_yscale("log")
        if drawn.x == "kept":
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        elif is_log_spaced(x):
            ax.set_xscale("log")
        page.labels(drawn.xlabel, drawn.ylabel)
        values = result[drawn.measure].isel({drawn.x: 0})
        seeds = int(values.notnull().sum("seed").max())
        page.title(f"{drawn.title}\nmedian with 95% interval, 10–90% of {of_seeds(seeds)}")
        if along is not None and len(labels) > 1:
            handles = [Line2D([], [], color=shade, linewidth=1.2) for shade in shades]
            said = [said_at({along: label}).partition(" = ")[2] for label in labels]
            page.legend(handles, said, axis_label(found[along], logarithmic=False))
    return page.figure


def _curve(ax: Axes, x: np.ndarray, one: xr.Dataset, dim: str, floor: float, shade: Any) -> None:
    value, low, high = (one[name].transpose(dim, "quantile").values for name in ("value", "low", "high"))
    value, low, high = (np.where(np.isnan(part), np.nan, np.maximum(part, floor)) for part in (value, low, high))
    ax.fill_between(x, value[:, 0], value[:, 2], color=shade, alpha=0.18, linewidth=0)
    # An end that so few seeds cannot bound is infinite: it has no bar.
    known = np.isfinite(one["low"].transpose(dim, "quantile").values[:, 1]) & np.isfinite(high[:, 1])
    middle = value[:, 1]
    bars = np.where(known, [middle - low[:, 1], high[:, 1] - middle], 0.0)
    ax.errorbar(x, middle, bars, color=shade, elinewidth=0.7, marker=".", markersize=3)


def _beside(i: int, count: int) -> float:
    """A little to the side, so that the bars of several curves at one count are told apart."""
    return 0.0 if count == 1 else 0.24 * (i / (count - 1) - 0.5)


def _open(found: xr.Dataset, along: str | None) -> str | None:
    names = [str(dim) for dim in found["value"].dims if dim not in _INNER]
    if along is not None and along not in names:
        raise ValueError(f"along: got {along!r}, which is no axis; the axes are {', '.join(names) or 'none'}")
    wide = [name for name in names if found.sizes[name] > 1]
    if along is None and len(wide) == 1:
        return wide[0]
    rest = [name for name in wide if name != along]
    if rest:
        raise ValueError(f"at: the axis {rest[0]!r} is open; choose one of its values {found[rest[0]].values.tolist()}")
    return along
