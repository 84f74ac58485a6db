"""Curves: trajectories, survival, distributions of angles, certificates along great circles."""

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from ..alignment import trajectory
from ..members import axes, finished, open_axis, probe
from .style import COLUMN, STYLE, axis_label, colours, panels, said_at, units_label, wrapped


def trajectory_picture(ds: xr.Dataset, measure: str, along: str | None = None) -> Figure:
    """Medians and 10–90% bands over seeds of a probe at every record, and where stages end.

    **Arguments:** a dataset with one open axis at most, `along`: a curve for each of its values.

    **Raises:** `ValueError` where no history was recorded, or another axis is open.
    """
    along = open_axis(ds, along)
    bands = trajectory(ds, measure, (0.1, 0.5, 0.9)).load()
    steps = ds["step"].values
    with mpl.rc_context(STYLE):
        figure, (ax,) = panels(1, COLUMN, 2.6)
        for label, colour, one in _curves(bands, along):
            values = one["value"].transpose("record", "quantile").values
            _band(ax, steps, values, colour, label)
        for name, step in _stage_ends(ds):
            ax.axvline(step, color="0.6", linewidth=0.6, linestyle=":")
            ax.annotate(
                name, (step, 1.0), xycoords=("data", "axes fraction"), rotation=90, size=6, va="top", ha="right"
            )
        _log_steps(ax, 0.0, float(steps[-1]))
        if (bands["value"] > 0).any():
            ax.set_yscale("log")
        ax.set_xlabel("descent steps (log scale)")
        attributes = ds[measure].attrs
        ax.set_ylabel(units_label(measure, attributes["units"]))
        seeds = int(finished(ds).sum("seed").max())
        ax.set_title(wrapped(f"{attributes['long_name']}\nmedian and 10–90% of {seeds} seeds", COLUMN))
        _legend(ax, ds, along)
    return figure


def survival_picture(result: xr.Dataset, along: str | None = None) -> Figure:
    """Survival curves with their 95% intervals: the dataset of `analysis.survival`, with one open axis at most."""
    names = [str(d) for d in result["never"].dims]
    along = _only_open(result, names, along)
    with mpl.rc_context(STYLE):
        figure, (ax,) = panels(1, COLUMN, 2.6)
        for label, colour, one in _curves(result, along):
            steps = one["step"].values
            ax.step(steps, one["survival"].values, where="post", color=colour, label=label)
            ends = one["survival_low"].values, one["survival_high"].values
            ax.fill_between(steps, *ends, step="post", color=colour, alpha=0.15, linewidth=0)
        below = np.flatnonzero((result["survival"] < 1).any([*names]).values)
        first = max(0, below[0] - 1) if len(below) else 0
        _log_steps(ax, float(result["step"].values[first]), float(result["step"].values[-1]))
        ax.set_ylim(-0.02, 1.02)
        ax.set_xlabel("descent steps (log scale)")
        ax.set_ylabel(f"share not yet {result.attrs['reached']}")
        seeds = int(result["seeds"].max())
        title = f"{result.attrs['event']}\nKaplan–Meier, {result.attrs['level']:.0%} intervals, {seeds} seeds"
        ax.set_title(wrapped(title, COLUMN))
        _legend(ax, result, along)
    return figure


def angle_picture(ds: xr.Dataset, along: str | None = None) -> Figure:
    """Mass-weighted distributions of final angles of neurons to their nearest teacher neuron, over all seeds.

    **Arguments:** a dataset with the probes `angle` and `mass`, and one open axis at most.
    """
    along = open_axis(ds, along)
    angle, mass = probe(ds, "angle"), probe(ds, "mass")
    angle, mass = (values.where(finished(ds)).load() for values in (angle, mass))
    lowest = np.pi / 10
    edges = np.linspace(-16, np.log10(np.pi), 49)
    with mpl.rc_context(STYLE):
        figure, (ax,) = panels(1, COLUMN, 2.6)
        for label, colour, one in _curves(xr.Dataset({"angle": angle, "mass": mass}), along):
            weight = np.nan_to_num(one["mass"].values.ravel())
            at = np.log10(np.maximum(np.nan_to_num(one["angle"].values.ravel()), 1e-16))
            share, _ = np.histogram(at, edges, weights=weight / max(weight.sum(), 1e-300))
            ax.stairs(share, 10.0**edges, color=colour, label=label)
            lowest = min(lowest, 10.0 ** edges[np.argmax(share > 0)])
        ax.set_xscale("log")
        ax.set_xlim(lowest / 3, np.pi)
        ax.set_ylim(0, None)
        ax.set_xlabel("angle to the nearest teacher neuron (rad, log scale)")
        ax.set_ylabel("share of mass")
        ax.set_title(f"final angles of {ds.sizes['neuron']} neurons, {int(finished(ds).sum('seed').max())} seeds")
        _legend(ax, ds, along)
    return figure


def profile_picture(profile: xr.DataArray) -> Figure:
    """The dual certificate along great circles through teacher neurons: the array of `analysis.profile`."""
    with mpl.rc_context(STYLE):
        figure, lines = panels(profile.sizes["circle"], COLUMN, 1.5, columns=1)
        for i, ax in enumerate(lines):
            one = profile.isel(circle=i)
            first, second = one["circle"].item().split("–")
            ax.axhspan(-1, 1, color="0.93", linewidth=0)
            ax.plot(one["angle"], one, color="black", linewidth=1.0)
            for name, at, side in ((first, 0.0, "right"), (second, one["second_angle"].item(), "left")):
                ax.axvline(at, color="tab:blue", linewidth=0.6, linestyle=":")
                where = {"xy": (at, 1.0), "xycoords": ("data", "axes fraction"), "ha": side, "va": "bottom"}
                ax.annotate(f"teacher {name}", size=6, **where)
            ax.set_xlim(-np.pi, np.pi)
            ax.set_ylabel("η")
        lines[-1].set_xlabel("angle from the first teacher neuron (rad)")
        figure.suptitle(f"dual certificate, λ = {profile.attrs['weight_decay']:g}; |η| ≤ 1: optimal", size=8)
    return figure


def _log_steps(ax: Axes, first: float, last: float) -> None:
    """Steps on a logarithmic axis, with 0 in its place where it is shown."""
    ax.set_xscale("symlog" if first <= 0 else "log", **({"linthresh": 1.0} if first <= 0 else {}))
    if 0 < first and last < 50 * first:
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(first, last)


def _band(ax: Axes, steps: np.ndarray, values: np.ndarray, colour, label: str) -> None:
    ax.fill_between(steps, values[:, 0], values[:, 2], color=colour, alpha=0.18, linewidth=0)
    ax.plot(steps, values[:, 1], color=colour, label=label)


def _curves(result: xr.Dataset, along: str | None):
    """(label, colour, dataset) of every curve."""
    if along is None:
        return [("", "black", result.squeeze(drop=True))]
    values = result[along].values.tolist()
    shades = colours(len(values))
    return [(said_at({along: v}), shades[i], result.isel({along: i}).squeeze(drop=True)) for i, v in enumerate(values)]


def _legend(ax: Axes, ds: xr.Dataset, along: str | None) -> None:
    if along is None:
        return
    handles, labels = ax.get_legend_handles_labels()
    short = [label.partition(" = ")[2] for label in labels]
    ax.legend(handles, short, title=axis_label(ds[along]).replace(" (log scale)", ""), title_fontsize=7)


def _only_open(result: xr.Dataset, names: list[str], along: str | None) -> str | None:
    wide = [name for name in names if result.sizes[name] > 1]
    if along is None and len(wide) == 1:
        return wide[0]
    rest = [name for name in wide if name != along]
    if rest:
        raise ValueError(
            f"at: the axis {rest[0]!r} is open; choose one of its values {result[rest[0]].values.tolist()}"
        )
    return along


def _stage_ends(ds: xr.Dataset) -> list[tuple[str, float]]:
    """(name, median step) of the stages but the last; those that take no step stand where the one before ended."""
    ends = ds["stage_end_step"].where(ds["stage_end_step"] >= 0)
    names = ds["stage"].values.tolist()
    middle = ends.median([*axes(ds), "seed"]).values
    found: dict[float, str] = {}
    for name, step in zip(names[:-1], middle[:-1], strict=True):
        if np.isfinite(step):
            found[float(step)] = f"{found[float(step)]}, {name}" if float(step) in found else name
    return [(name, step) for step, name in found.items()]
