"""Curves over steps or angles: trajectories, survival, distributions of angles, certificates along great circles."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter

from ..alignment import trajectory
from ..members import axes, finished, largest, probe, standard
from ..selection import open_axis
from ..two_layer.certificate import CERTIFIED
from .layout import COLUMN, PAGE, Look, Sheet, sheet, width_of
from .style import axis_label, colours, of_seeds, said_at, units_label

MOST_BANDS = 5
"""Curves with a band that one panel holds; more of them get a panel each."""


def trajectory_picture(ds: xr.Dataset, measure: str, along: str | None = None, **look: Unpack[Look]) -> Figure:
    """Medians and 10–90% bands over seeds of a probe at every record, and where stages end.

    **Arguments:** a dataset with one open axis at most, `along`: a curve for each of its values, in one panel up to
    five, else in one each. Of a probe of every teacher neuron the largest is drawn. `look`: size in inches, axes to
    draw on, texts.

    **Raises:** `ValueError` where no history was recorded, or another axis is open.
    """
    ds = standard(ds)
    along = open_axis(ds, along)
    bands = largest(trajectory(ds, measure, (0.1, 0.5, 0.9))["value"]).load()
    steps, attributes = ds["step"].values, ds[measure].attrs
    positive = bands.where(bands > 0)
    logarithmic = bool((bands > 0).any())
    ends = _stage_ends(ds)

    def draw(ax: Axes, curve: _Curve) -> None:
        values = curve.of(bands).transpose("record", "quantile").values
        ax.fill_between(steps, values[:, 0], values[:, 2], color=curve.colour, alpha=0.18, linewidth=0)
        ax.plot(steps, values[:, 1], color=curve.colour)

    def prepare(ax: Axes, first: bool) -> None:
        named = 0.0
        for name, step in ends:
            ax.axvline(step, color="0.6", linewidth=0.6, linestyle=":", zorder=0)
            # Names stand above the frame, where there is room between them on a logarithmic axis.
            if first and len(ends) <= 6 and step > 1.5 * named:
                named = step
                where = {"xy": (step, 1.0), "xycoords": ("data", "axes fraction"), "va": "bottom", "ha": "center"}
                ax.annotate(name, rotation=90, size=5.5, annotation_clip=False, **where)
        _log_steps(ax, 0.0, float(steps[-1]))
        if logarithmic:
            ax.set_yscale("log")
            ax.set_ylim(0.7 * float(positive.min()), 1.4 * float(positive.max()))

    title = f"{attributes['long_name']}\nmedian and 10–90% of {of_seeds(finished(ds).sum('seed'))}"
    labels = "descent steps (log\u00a0scale)", units_label(measure, attributes["units"])
    return _drawn(_curves(bands, along), draw, prepare, title, labels, look)


def survival_picture(result: xr.Dataset, along: str | None = None, **look: Unpack[Look]) -> Figure:
    """Survival curves with their 95% intervals: the dataset of `analysis.survival`, with one open axis at most.

    Up to five curves in one panel, else one each. `look` as `trajectory_picture`.
    """
    names = [str(d) for d in result["never"].dims]
    along = _only_open(result, names, along)
    steps = result["step"].values.astype(float)
    below = np.flatnonzero((result["survival"] < 1).any(names).values)
    first = float(steps[max(0, below[0] - 1)]) if len(below) else float(steps[0])

    def draw(ax: Axes, curve: _Curve) -> None:
        one = curve.of(result)
        ax.step(steps, one["survival"].values, where="post", color=curve.colour)
        ends = one["survival_low"].values, one["survival_high"].values
        ax.fill_between(steps, *ends, step="post", color=curve.colour, alpha=0.15, linewidth=0)

    def prepare(ax: Axes, _: bool) -> None:
        _log_steps(ax, first, float(steps[-1]))
        ax.set_ylim(-0.02, 1.02)

    title = f"{result.attrs['event']}\nKaplan–Meier, {result.attrs['level']:.0%} intervals, {of_seeds(result['seeds'])}"
    labels = "descent steps (log\u00a0scale)", f"share not yet {result.attrs['reached']}"
    return _drawn(_curves(result, along), draw, prepare, title, labels, look)


def angle_picture(ds: xr.Dataset, along: str | None = None, **look: Unpack[Look]) -> Figure:
    """Mass-weighted distributions of final angles of neurons to their nearest teacher neuron, over all seeds.

    **Arguments:** a dataset with the probes `angle` and `mass`, and one open axis at most. `look` as
    `trajectory_picture`.

    **Raises:** `ValueError` that says how to get the probes where they were not measured, and for a second open axis.
    """
    missing = [name for name in ("angle", "mass") if name not in ds]
    if missing:
        raise ValueError(
            f"measure: got {missing[0]!r}, which this dataset does not hold; the picture of angles needs two probes "
            'that no study measures by itself: run it with `probes = ["loss", "max_angle", "angle", "mass"]`'
        )
    ds = standard(ds)
    along = open_axis(ds, along)
    values = {name: probe(ds, name).where(finished(ds)).load() for name in ("angle", "mass")}
    edges = np.linspace(-16, np.log10(np.pi), 49)
    shares = []
    curves = _curves(xr.Dataset(values), along)
    for curve in curves:
        one = curve.of(xr.Dataset(values))
        weight = np.nan_to_num(one["mass"].values.ravel())
        at = np.log10(np.maximum(np.nan_to_num(one["angle"].values.ravel()), 1e-16))
        shares.append(np.histogram(at, edges, weights=weight / max(weight.sum(), 1e-300))[0])
    begins = [10.0 ** edges[np.argmax(share > 0)] for share in shares if share.any()]
    highest = max((float(share.max()) for share in shares), default=0.0)

    def draw(ax: Axes, curve: _Curve) -> None:
        ax.stairs(shares[curve.number], 10.0**edges, color=curve.colour)

    def prepare(ax: Axes, _: bool) -> None:
        ax.set_xscale("log")
        ax.set_xlim(min([np.pi / 10, *begins]) / 3, np.pi)
        ax.set_ylim(0, 1.05 * highest or 1.0)

    title = f"final angles of {ds.sizes['neuron']} neurons, {of_seeds(finished(ds).sum('seed'))}"
    labels = "angle to the nearest teacher neuron (rad,\u00a0log\u00a0scale)", "share of mass"
    return _drawn(curves, draw, prepare, title, labels, look)


def profile_picture(profile: xr.DataArray, largest: float | None = None, **look: Unpack[Look]) -> Figure:
    """The dual certificate along great circles through teacher neurons: the array of `analysis.profile`.

    Beside every circle how far |η| is above or below 1, from 1e-8 on logarithmic both ways: at a minimum η touches
    1 on the teacher neurons, and nothing of it may be above. What is above is red.

    **Arguments:** `largest`: the largest |η| over all directions (`certificate_max`), which decides; without it, that
    of the circles. `look` as `trajectory_picture`.
    """
    count = profile.sizes["circle"]
    most = float(np.abs(profile).max()) if largest is None else float(largest)
    optimal = most <= 1.0 + CERTIFIED
    where = "" if largest is None else " over all directions"
    said = f"largest |η|{where} = 1 {'+' if most >= 1 else '−'} {abs(most - 1):.2g}"
    verdict = f"no direction is above 1 by more than {CERTIFIED:g}" if optimal else "not optimal"
    wide = PAGE if count > 3 else COLUMN
    columns = 2 if width_of(look, wide) < 5.0 else 4
    with sheet(2 * count, look, width=wide, height=1.35, columns=columns) as page:
        for i in range(count):
            _circle(page.panels[2 * i], page.panels[2 * i + 1], profile.isel(circle=i))
        for ax in page.panels[max(0, 2 * count - columns) :]:
            ax.set_xlabel("angle (rad)")
        page.title(f"dual certificate η, λ = {profile.attrs['weight_decay']:g}: {said}, {verdict}")
    return page.figure


def _circle(left: Axes, right: Axes, one: xr.DataArray) -> None:
    """One great circle: η, and how far |η| is from 1."""
    first, second = one["circle"].item().split("–")
    angle, eta = one["angle"].values, one.values
    over = np.abs(eta) > 1.0 + CERTIFIED
    left.axhspan(-1, 1, color="0.93", linewidth=0, zorder=0)
    left.plot(angle, eta, color="black", linewidth=1.0)
    left.plot(angle, np.where(over, eta, np.nan), color="tab:red", linewidth=1.6)
    left.set_ylim(min(-1.15, 1.05 * float(eta.min())), max(1.15, 1.05 * float(eta.max())))
    left.set_ylabel("η")
    excess = np.abs(eta) - 1.0
    right.axhspan(-2.0, 0.0, color="0.93", linewidth=0, zorder=0)
    right.axhline(0.0, color="0.6", linewidth=0.6, zorder=0.5)
    right.plot(angle, excess, color="black", linewidth=1.0)
    right.plot(angle, np.where(over, excess, np.nan), color="tab:red", linewidth=1.6)
    right.set_yscale("symlog", linthresh=1e-8, linscale=0.4)
    bound = max(1.0, 2.0 * float(np.abs(excess).max()))
    right.set_ylim(-bound, bound)
    right.yaxis.set_major_locator(FixedLocator([-1.0, -1e-4, 0.0, 1e-4, 1.0]))
    right.yaxis.set_minor_locator(FixedLocator([]))
    right.set_ylabel("|η| − 1")
    for ax in (left, right):
        for name, at, side in ((first, 0.0, "right"), (second, one["second_angle"].item(), "left")):
            ax.axvline(at, color="tab:blue", linewidth=0.6, linestyle=":", zorder=0.5)
            place = {"xy": (at, 1.0), "xycoords": ("data", "axes fraction"), "ha": side, "va": "bottom"}
            ax.annotate(f"teacher {name}" if ax is left else name, size=6, **place)
        ax.set_xlim(-np.pi, np.pi)


class _Curve(NamedTuple):
    """One value of the axis along which curves are drawn."""

    number: int
    label: str
    colour: Any
    along: xr.DataArray | None

    def of(self, result: Any) -> Any:
        """The result at this value."""
        return (result if self.along is None else result.isel({self.along.name: self.number})).squeeze(drop=True)


def _curves(result: Any, along: str | None) -> list[_Curve]:
    if along is None:
        return [_Curve(0, "", "black", None)]
    coordinate = result[along]
    shades = colours(coordinate.size)
    return [_Curve(i, said_at({along: v}), shades[i], coordinate) for i, v in enumerate(coordinate.values.tolist())]


def _drawn(
    curves: list[_Curve],
    draw: Callable[[Axes, _Curve], None],
    prepare: Callable[[Axes, bool], None],
    title: str,
    labels: tuple[str, str],
    look: Look,
) -> Figure:
    """Up to five curves in one panel with a legend below it; more in a panel each, on the same scales."""
    together = len(curves) <= MOST_BANDS or "ax" in look
    count = 1 if together else len(curves)
    columns = 1 if together else 3 if width_of(look, PAGE) >= 5.0 else 2
    default = (COLUMN, 2.6) if together else (PAGE, 1.6)
    shared = {} if together else {"sharex": True, "sharey": True}
    with sheet(count, look, width=default[0], height=default[1], columns=columns, **shared) as page:
        for curve in curves:
            ax = page.panels[0 if together else curve.number]
            draw(ax, curve)
            if not together:
                ax.set_title(curve.label)
        for i, ax in enumerate(page.panels):
            prepare(ax, i == 0 and together)
            ax.tick_params(labelbottom=True)  # in every row: the last one may have empty places
        page.labels(*labels)
        page.title(title, over=page.panels[0].texts if together else [])
        if together:
            _legend(page, curves)
    return page.figure


def _legend(page: Sheet, curves: list[_Curve]) -> None:
    along = curves[0].along
    if along is None or along.size < 2:
        return
    handles = [Line2D([], [], color=curve.colour, linewidth=1.2) for curve in curves]
    short = [curve.label.partition(" = ")[2] for curve in curves]
    page.legend(handles, short, axis_label(along, logarithmic=False))


def _log_steps(ax: Axes, first: float, last: float) -> None:
    """Steps on a logarithmic axis, with 0 in its place where it is shown."""
    last = max(last, first + 1.0)
    ax.set_xscale("symlog" if first <= 0 else "log", **({"linthresh": 1.0} if first <= 0 else {}))
    if 0 < first and last < 50 * first:
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(first, last)


def _only_open(result: xr.Dataset, names: list[str], along: str | None) -> str | None:
    if along is not None and along not in names:
        raise ValueError(f"along: got {along!r}, which is no axis; the axes are {', '.join(names) or 'none'}")
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
