"""Commands that end in a picture or the page."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import xarray as xr

import analysis
from ensemble.console import At, Csv, Json, Overwrite
from ensemble.tables import json_rows

from ..boundaries.question import kept
from ..console import Column, Form, console, facts_of, label, number, say, say_status, tell
from ..members import axes, with_units
from ..phase import boundaries
from ..plots.neurons import certificate_picture
from ..writing import MARK, replace, require_free
from .options import (
    Along,
    Analysis,
    Below,
    Directory,
    Drawing,
    Height,
    Label,
    Measure,
    Norm,
    Picture,
    Theory,
    Width,
    X,
    Y,
    app,
    opened,
    saying_radius,
)


@app.command(cls=Analysis)
def phase(
    directory: Directory,
    x: X,
    measure: Measure,
    below: Below,
    out: Annotated[Path, typer.Option(help="picture to write (.png, .pdf, .svg); the dataset goes beside it, as .nc")],
    y: Y = None,
    at: At = None,
    over: Annotated[str | None, typer.Option(help="third axis, for small multiples")] = None,
    panels: Annotated[int, typer.Option(min=1, max=2, help="1: the map alone, 2: half-widths beside it")] = 2,
    theory: Theory = False,
    width: Width = None,
    height: Height = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Share of members with MEASURE below VALUE over two axes, with its boundary, as a picture and as a dataset."""
    form = Form.of(as_json, as_csv)
    drawing, numbers = Drawing(out, width, height, overwrite), out.with_suffix(".nc")
    require_free(numbers, "numbers", overwrite)
    ds = opened(directory, at)
    result = analysis.phase(ds, x, y, measure, below, over=over).load()
    boundary = _boundary(ds, x, y, measure, below, over)
    found = analysis.predictions(ds) if theory else None
    drawing.save(partial(analysis.phase_picture, result, boundary, panels=2 if panels == 2 else 1, predictions=found))
    marked = result.assign_attrs(written_by=f"{MARK} numbers")
    replace(numbers, "numbers", lambda temporary: marked.to_netcdf(temporary, engine="netcdf4"), overwrite)
    if form is not Form.text:
        facts = facts_of(ds, measure=measure, below=below, **drawing.fact, numbers=str(numbers))
        facts["boundary"] = None if boundary is None else json_rows(analysis.table(boundary))
        tell(analysis.table(result), [], form, facts, console)
        return
    say_status(ds)
    what = f"{measure} < {with_units(below, ds[measure].attrs['units'])}"
    if not at:
        _say_marginal(analysis.marginal(ds, x, measure, below).load(), x, what)
    if boundary is not None and y is not None and over is None:
        _say_boundary(boundary, x, y, what)
    share = result["share"]
    say(
        f"cells in which most seeds have {what}: {int((share > 0.5).sum())} of {share.size}; "
        f"largest half-width of a 95% interval: {float(result['half_width'].max()):.2f}"
    )
    drawing.say()
    say(f"numbers: {numbers}")


def _boundary(ds: xr.Dataset, x: str, y: str | None, measure: str, below: float, over: str | None) -> xr.Dataset | None:
    """The boundary, of every small multiple where there are some; None where `y` or the seeds allow none."""
    if y is None or ds[y].dtype.kind not in "fiu" or ds.sizes[y] < 2 or ds.sizes["seed"] < 2:
        return None
    if over is None:
        return analysis.boundary(ds, x, y, measure, below)
    return boundaries(ds, x, y, measure, below, over=over)


def _say_marginal(pooled: xr.Dataset, axis: str, what: str) -> None:
    """The shares of `analysis.marginal`."""
    say(f"share of members with {what}, by {axis} (all other axes pooled):")
    for i in range(pooled.sizes[axis]):
        row = pooled.isel({axis: i})
        say(
            f"  {axis} = {label(row[axis].item())}: {float(row['share']):.0%} of {int(row['seeds'])} "
            f"[{float(row['low']):.0%}, {float(row['high']):.0%}]"
        )


def _say_boundary(boundary: xr.Dataset, x: str, y: str, what: str) -> None:
    """The dataset of `analysis.boundary`."""
    say(f"{y} at which half of the seeds have {what}, with its 95% band over seeds:")
    for i in range(boundary.sizes[x]):
        row = boundary.isel({x: i})
        names = ("boundary", "low", "high")
        parts = [row]
        if int(row["crossings"]) > 1:
            names = ("crossing_place", "crossing_low", "crossing_high")
            parts = [row.isel(crossing=int(k)) for k in np.flatnonzero(np.isfinite(row["crossing_place"]))]
        said = []
        for part in parts:
            ends = [number(float(part[name]), "{:.4g}") for name in names]
            said.append(f"{ends[0]} [{ends[1]}, {ends[2]}]")
        say(f"  {x} = {label(row[x].item())}: {' and '.join(said)}")


@app.command(cls=Analysis)
def difference(
    directory: Directory,
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="run directory with the same axes and seeds")],
    measure: Measure,
    below: Below,
    x: X,
    out: Picture,
    y: Y = None,
    at: At = None,
    width: Width = None,
    height: Height = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """How the share with MEASURE below VALUE differs between two studies, seed by seed."""
    form = Form.of(as_json, as_csv)
    drawing = Drawing(out, width, height, overwrite)
    ds = opened(directory, at)
    result = analysis.difference(ds, opened(other, at), measure, below).load()
    drawing.save(partial(analysis.difference_picture, result, x, y))
    frame = analysis.table(result).rename(columns={"low": "difference_low", "high": "difference_high"})
    columns = [
        Column("pairs", "pairs"),
        Column("difference", "difference", "{:+.3f}", True),
        Column("p-value", "p_value", "{:.2g}"),
    ]
    if tell(frame, columns, form, facts_of(ds, measure=measure, below=below, **drawing.fact), console):
        drawing.say()


class Kind(StrEnum):
    """What `picture` draws."""

    trajectories = "trajectories"
    angles = "angles"
    order = "order"
    overlaps = "overlaps"
    neurons = "neurons"
    certificate = "certificate"
    modes = "modes"
    layers = "layers"
    features = "features"


@app.command(cls=Analysis)
def picture(
    kind: Annotated[Kind, typer.Argument(help="what to draw")],
    directory: Directory,
    out: Picture,
    measure: Measure = "max_angle",
    at: At = None,
    along: Along = None,
    x: Annotated[str | None, typer.Option(help="axis to the right, of `order`")] = None,
    y: Annotated[str | None, typer.Option(help="axis upwards, of `order`")] = None,
    theory: Theory = False,
    width: Width = None,
    height: Height = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw trajectories, angles, modes, layers or the order of cells; overlaps, neurons, certificate, features of one.

    The last four are of one member (--at seed=n).
    """
    drawing = Drawing(out, width, height, overwrite)
    ds = opened(directory, at)
    match kind:
        case Kind.trajectories:
            draw = partial(analysis.trajectory_picture, ds, measure, along)
        case Kind.angles:
            draw = partial(analysis.angle_picture, ds, along)
        case Kind.order:
            if x is None:
                raise ValueError(f"x: a map or curve needs one; the axes are {', '.join(axes(ds)) or 'none'}")
            found, values = analysis.predictions(ds) if theory else None, analysis.order_parameter(ds, x, y, measure)
            draw = partial(analysis.order_picture, values, predictions=found)
        case Kind.overlaps:
            draw = partial(analysis.overlap_picture, ds)
        case Kind.neurons:
            draw = partial(analysis.neuron_picture, ds)
        case Kind.certificate:
            draw = partial(certificate_picture, ds)
        case Kind.modes:
            draw = partial(analysis.mode_picture, ds, along)
        case Kind.layers:
            draw = partial(analysis.layer_picture, ds, measure, along)
        case Kind.features:
            draw = partial(analysis.feature_picture, ds)
    drawing.save(draw)
    drawing.say()


@app.command(cls=Analysis)
def report(
    directory: Directory,
    out: Annotated[Path | None, typer.Option(help="HTML file; by default report.html in the directory")] = None,
    measure: Annotated[str | None, typer.Option(help="probe to open with; by default max_angle, or the loss")] = None,
    below: Annotated[float | None, typer.Option(help="threshold to open with; by default 0.02, or a median")] = None,
    x: Annotated[str | None, typer.Option(help="axis to the right; by default one of the study's two longest")] = None,
    y: Annotated[str | None, typer.Option(help="axis upwards")] = None,
    radius: Annotated[
        list[float] | None, typer.Option(help="shows robust losses under attacks of this radius ε; may be repeated")
    ] = None,
    norm: Annotated[Norm, typer.Option(help="of these attacks")] = Norm.two,
    label: Annotated[Label, typer.Option(help="of them: f(x+δ) against f*(x), or against f*(x+δ)")] = Label.kept,
    at: At = None,
    overwrite: Overwrite = False,
) -> None:
    """One HTML page of a run to explore: map, curves, families, neurons, pruning, transfer, tables; needs no network.

    A refined run opens with what its refinement asked; measure, threshold and axes are chosen on the page.
    """
    from ..report import Attack, write_page  # plotly is read only where it is used

    file = out or (directory if directory.is_dir() else directory.parent) / "report.html"
    ds = opened(directory, at)
    asked = kept(directory)
    if asked is not None and measure is None and below is None and asked.fits(ds):
        measure, below = asked.measure, asked.below
        x, y = (asked.x, asked.y) if x is None and y is None else (x, y)
    attack = Attack(tuple(radius), norm.asked, label.value) if radius else None
    with saying_radius():
        write_page(ds, file, measure, below, x, y, attack=attack, overwrite=overwrite)
    say(f"page: {file} ({file.stat().st_size / 2**20:.1f} MiB)")
