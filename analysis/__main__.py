"""The command line of the analysis: tables, pictures and the page of a run directory."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import xarray as xr
from rich.console import Console

import analysis
from ensemble import StoreError, open_dataset

from .certificate import CERTIFIED, certified
from .console import each_cell, interval, label, number, say, say_log_rank, say_marginal, say_status, say_table
from .members import axes, finished, select, with_units
from .minima import listed
from .plots import save
from .plots.neurons import certificate_picture

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="run directory, or a netCDF file of one")]
Measure = Annotated[str, typer.Option(help="probe, such as max_angle or loss")]
Below = Annotated[float, typer.Option(help="threshold in the probe's units")]
Picture = Annotated[Path, typer.Option(help="picture to write (.png, .pdf, .svg); the dataset goes beside it")]
At = Annotated[list[str] | None, typer.Option(metavar="AXIS=VALUE", help="value of an axis; may be repeated")]
X = Annotated[str, typer.Option(help="axis to the right")]
Y = Annotated[str, typer.Option(help="axis upwards")]


@app.command()
def summary(directory: Directory, measure: Measure = "max_angle", below: Below = 0.02) -> None:
    """Per cell: shares of each status, quantiles of loss and angles, convergence times; 95% intervals."""
    ds = open_dataset(directory)
    result = analysis.summary(ds, measure, below).load()
    columns = [m for m in ("loss", "mean_angle", "max_angle") if m in result]
    rows = []
    for labels, cell in each_cell(ds, result):
        middle = cell.sel(quantile=0.5)
        rows.append(
            [
                *labels,
                str(int(cell["seeds"])),
                *(interval(cell.sel(outcome=o), "status_share", "{:.2f}") for o in ("converged", "diverged")),
                *(interval(middle, m, "{:.2g}") for m in columns),
                interval(middle, "time", "{:.0f}"),
                interval(cell, "censored", "{:.2f}"),
            ]
        )
    medians = [f"median {m}" for m in columns]
    say_table([*axes(ds), "seeds", "converged", "diverged", *medians, "median time", "never"], rows)
    say_status(ds)
    say(f"time: {result['time'].attrs['long_name']}; brackets: 95% intervals over seeds")


@app.command()
def phase(
    directory: Directory,
    x: X,
    y: Y,
    measure: Measure,
    below: Below,
    out: Picture,
    at: At = None,
    over: Annotated[str | None, typer.Option(help="third axis, for small multiples")] = None,
) -> None:
    """Share of members with MEASURE below VALUE over two axes, with its boundary, as a picture and as a dataset."""
    ds = open_dataset(directory)
    chosen = _chosen(at)
    result = analysis.phase(ds, x, y, measure, below, chosen, over=over).load()
    numeric = ds[y].dtype.kind in "fiu" and ds.sizes[y] > 1 and ds.sizes["seed"] > 1
    boundary = analysis.boundary(ds, x, y, measure, below, chosen) if numeric and over is None else None
    save(analysis.phase_picture(result, boundary), out)
    numbers = out.with_suffix(".nc")
    result.to_netcdf(numbers, engine="netcdf4")
    say_status(ds)
    what = f"{measure} < {with_units(below, ds[measure].attrs['units'])}"
    if not chosen:
        say_marginal(analysis.marginal(ds, x, measure, below).load(), x, what)
    if boundary is not None:
        say(f"{y} at which half of the seeds have {what}, with its 95% band over seeds:")
        for i in range(boundary.sizes[x]):
            row = boundary.isel({x: i})
            ends = [number(float(row[name]), "{:.4g}") for name in ("boundary", "low", "high")]
            say(f"  {x} = {label(row[x].item())}: {ends[0]} [{ends[1]}, {ends[2]}]")
    share = result["share"]
    say(
        f"cells in which most seeds have {what}: {int((share > 0.5).sum())} of {share.size}; "
        f"largest half-width of a 95% interval: {float(result['half_width'].max()):.2f}"
    )
    say(f"picture: {out}\nnumbers: {numbers}")


@app.command()
def minima(
    directory: Directory,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON, one object a cell")] = False,
    relative: Annotated[float, typer.Option(help="relative gap between families")] = 1e-6,
    absolute: Annotated[float, typer.Option(help="absolute gap, and the loss that counts as 0")] = 1e-12,
) -> None:
    """Families of final losses per cell, each with its share and Wilson interval."""
    ds = open_dataset(directory)
    result = analysis.minima(ds, relative, absolute)
    found = listed(result)
    if as_json:
        print(json.dumps({"relative": relative, "absolute": absolute, "cells": found}, indent=1))
        return
    rows = []
    for cell in found:
        for i, family in enumerate(cell["families"]):
            first = [*(label(v) for v in cell["at"].values()), str(cell["seeds"])]
            rows.append(
                [
                    *(first if i == 0 else [""] * len(first)),
                    "global" if family["is_global"] else str(i),
                    f"{family['loss']:.6g}",
                    f"{family['spread']:.1e}",
                    str(family["count"]),
                    f"{family['share']:.4f} [{family['low']:.4f}, {family['high']:.4f}]",
                ]
            )
    say_table([*axes(ds), "seeds", "family", "loss", "spread", "members", "share [95% interval]"], rows, sections=True)
    say_status(ds)
    say(f"a family: losses without a gap above max({absolute:g}, {relative:g} × loss); global: loss ≤ {absolute:g}")


@app.command()
def families(
    directory: Directory,
    tolerance: Annotated[float, typer.Option(help="relative, of the numbers that are compared")] = 1e-4,
    at: At = None,
) -> None:
    """Families of final weights up to symmetry, with Hessian eigenvalues: minima, saddles or flat; needs weights."""
    ds = select(open_dataset(directory), _chosen(at))
    result = analysis.families(ds, tolerance=tolerance, most=12)
    rows = []
    for labels, cell in each_cell(ds, result):
        for i in np.flatnonzero(cell["count"].values):
            one = cell.isel(family=int(i))
            first = [*labels, str(int(cell["seeds"]))]
            ends = f"{float(one['low']):.4f}, {float(one['high']):.4f}"
            rows.append(
                [
                    *(first if i == 0 else [""] * len(first)),
                    f"{float(one['loss']):.6g}",
                    str(int(one["count"])),
                    f"{float(one['share']):.4f} [{ends}]",
                    str(int(one["anti_aligned"])),
                    str(int(one["active"])),
                    f"{float(one['lowest']):.2e}",
                    f"{float(one['highest']):.3g}",
                    str(one["kind"].item()),
                    str(int(one["seed"])),
                ]
            )
    names = [
        "loss",
        "members",
        "share [95% interval]",
        "anti-aligned",
        "active",
        "lowest",
        "highest",
        "kind",
        "such as seed",
    ]
    say_table([*axes(ds), "seeds", *names], rows, sections=True)
    say_status(ds)
    others = int(result["others"].sum())
    say(
        "lowest, highest: eigenvalues of the Hessian over the layers that move"
        + (f"; {others:,} members in rarer families" if others else "")
    )


@app.command()
def survival(
    directory: Directory,
    measure: Annotated[str | None, typer.Option(help="probe; without it, convergence is that of the stop rule")] = None,
    below: Annotated[float | None, typer.Option(help="tolerance in the probe's units")] = None,
    at: At = None,
    along: Annotated[str | None, typer.Option(help="axis to compare cells along, by the log-rank test")] = None,
    out: Annotated[Path | None, typer.Option(help="picture of the curves; needs one open axis at most")] = None,
) -> None:
    """Convergence times as censored data: medians, restricted means and the share that never converges, per cell."""
    ds = select(open_dataset(directory), _chosen(at))
    result = analysis.survival(ds, measure, below=below).load()
    rows = [
        [
            *labels,
            *(str(int(cell[name])) for name in ("seeds", "events", "censored")),
            interval(cell, "median", "{:.0f}"),
            number(float(cell["median_after"]), "{:.0f}"),
            interval(cell, "mean", "{:.0f}"),
            interval(cell, "never", "{:.2f}"),
        ]
        for labels, cell in each_cell(ds, result)
    ]
    names = ["seeds", "converged", "censored", "median", "but after", "restricted mean", "never"]
    say_table([*axes(ds), *names], rows)
    say_status(ds)
    say(f"converged: {result.attrs['event']}; steps; restricted to {result.attrs['horizon']:.0f}; 95% intervals")
    if not int(result["events"].sum()):
        say(_never_reached(ds, measure, below))
    if along is not None:
        say_log_rank(analysis.log_rank(ds, along, measure, below=below).load())
    if out is not None:
        save(analysis.survival_picture(result, along), out)
        say(f"picture: {out}")


@app.command()
def certificate(directory: Directory, at: At = None) -> None:
    """Duality gaps: how many members are certified global minima over all widths; needs weights or the probe `gap`."""
    ds = select(open_dataset(directory), _chosen(at))
    result = analysis.certificates(ds)
    shares = analysis.share(certified(result), among=finished(ds)).rename(low="share_low", high="share_high")
    gap = analysis.quantiles(result["gap"], (0.5,), finished(ds)).isel(quantile=0, drop=True)
    largest = result["certificate_max"].max("seed")
    table = shares.assign(gap=gap["value"], gap_low=gap["low"], gap_high=gap["high"], largest=largest).load()
    rows = [
        [
            *labels,
            str(int(cell["seeds"])),
            interval(cell, "share", "{:.2f}"),
            interval(cell, "gap", "{:.2g}"),
            number(float(cell["largest"]), "{:.10g}"),
        ]
        for labels, cell in each_cell(ds, table)
    ]
    say_table([*axes(ds), "seeds", "certified", "median gap", "largest |η|"], rows)
    say_status(ds)
    bad = int(result["contradiction"].sum())
    say(
        f"certified: gap ≤ {CERTIFIED:g} × risk, λ > 0 that of the last step; |η| is found from below"
        + (f"; {bad} cells contradict themselves: a risk is below another member's bound" if bad else "")
    )


@app.command()
def scaling(
    directory: Directory,
    under: Annotated[float, typer.Option(help="records with a smaller gap ζ are fitted")] = np.inf,
    ratio: Annotated[float, typer.Option(help="records with ζ of at least so many λ² are fitted")] = 0.0,
    at: At = None,
) -> None:
    """Exponents of squared angles and gradient norm against the optimality gap ζ (theory.md §5, v), per cell."""
    ds = select(open_dataset(directory), _chosen(at))
    result = analysis.scaling(ds, under=under, ratio=ratio)
    rows = [
        [
            *labels,
            str(int(np.nan_to_num(cell["records"]))),
            interval(cell, "angle_exponent", "{:.3f}"),
            number(float(cell["angle_constant"]), "{:.3g}"),
            interval(cell, "gradient_exponent", "{:.3f}"),
            number(float(cell["gradient_constant"]), "{:.3g}"),
        ]
        for labels, cell in each_cell(ds, result)
    ]
    say_table([*axes(ds), "records", "p: θ² ~ (ζ/λ)^p", "max θ²λ/ζ", "p: ‖∇‖² ~ ζ^p", "min ‖∇‖²λ²/ζ⁴"], rows)
    say("the bounds θ² = O(ζ/λ) and ‖∇‖² = Ω(ζ⁴/λ²) hold as ζ → 0 where the first p ≥ 1 and the second ≤ 4")


@app.command()
def difference(
    directory: Directory,
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="run directory with the same axes and seeds")],
    measure: Measure,
    below: Below,
    x: X,
    y: Y,
    out: Picture,
) -> None:
    """How the share with MEASURE below VALUE differs between two studies, seed by seed."""
    ds = open_dataset(directory)
    result = analysis.difference(ds, open_dataset(other), measure, below).load()
    save(analysis.difference_picture(result, x, y), out)
    rows = [
        [
            *labels,
            str(int(cell["pairs"])),
            f"{float(cell['difference']):+.3f} [{float(cell['low']):+.3f}, {float(cell['high']):+.3f}]",
            f"{float(cell['p_value']):.2g}",
        ]
        for labels, cell in each_cell(result.assign(status=result["pairs"]), result)
    ]
    say_table([*(str(d) for d in result["pairs"].dims), "pairs", "difference", "p-value"], rows)
    say(f"picture: {out}")


class Kind(StrEnum):
    """What `picture` draws."""

    trajectories = "trajectories"
    angles = "angles"
    order = "order"
    overlaps = "overlaps"
    neurons = "neurons"
    certificate = "certificate"


@app.command()
def picture(
    kind: Annotated[Kind, typer.Argument(help="what to draw")],
    directory: Directory,
    out: Annotated[Path, typer.Option(help="picture to write (.png, .pdf, .svg)")],
    measure: Measure = "max_angle",
    at: At = None,
    along: Annotated[str | None, typer.Option(help="axis with a curve for each of its values")] = None,
    x: Annotated[str | None, typer.Option(help="axis to the right, of `order`")] = None,
    y: Annotated[str | None, typer.Option(help="axis upwards, of `order`")] = None,
    seed: Annotated[int | None, typer.Option(help="the member of `overlaps`, `neurons`, `certificate`")] = None,
) -> None:
    """Trajectories, angles, order parameters of cells; overlaps, neurons, certificate of one member."""
    ds = select(open_dataset(directory), _chosen(at))
    if seed is not None:
        if seed not in ds["seed"].values:
            raise ValueError(f"seed: got {seed}; the dataset has seeds 0 to {int(ds['seed'].max())}")
        ds = ds.sel(seed=[seed])
    match kind:
        case Kind.trajectories:
            figure = analysis.trajectory_picture(ds, measure, along)
        case Kind.angles:
            figure = analysis.angle_picture(ds, along)
        case Kind.order:
            if x is None or y is None:
                raise ValueError(f"x, y: a map needs two axes; the axes are {', '.join(axes(ds)) or 'none'}")
            figure = analysis.order_picture(analysis.order_parameter(ds, x, y, measure))
        case Kind.overlaps:
            figure = analysis.overlap_picture(ds)
        case Kind.neurons:
            figure = analysis.neuron_picture(ds)
        case Kind.certificate:
            figure = certificate_picture(ds)
    save(figure, out)
    say(f"picture: {out}")


@app.command()
def report(
    directory: Directory,
    out: Annotated[Path | None, typer.Option(help="HTML file; by default report.html in the directory")] = None,
    measure: Measure = "max_angle",
    below: Below = 0.02,
    x: Annotated[str | None, typer.Option(help="axis to the right; by default one of the study's two longest")] = None,
    y: Annotated[str | None, typer.Option(help="axis upwards")] = None,
) -> None:
    """One HTML page of a run: map, curves, families, neurons, tables and provenance; opens without a network."""
    from .report import write_page  # plotly is read only where it is used

    file = out or (directory if directory.is_dir() else directory.parent) / "report.html"
    write_page(open_dataset(directory), file, measure, below, x, y)
    say(f"page: {file} ({file.stat().st_size / 2**20:.1f} MiB)")


def _never_reached(ds: xr.Dataset, measure: str | None, below: float | None) -> str:
    """What there is where no member converges."""
    if measure is None or below is None:
        return "no member was ended by a stop rule: the protocol has none, or none was met; try --measure and --below"
    least = float(ds[measure].where(finished(ds)).min())
    return f"no member reaches {measure} ≤ {below:g}: the smallest at the end is {least:.4g}; take a tolerance above it"


def _chosen(at: list[str] | None) -> dict[str, object]:
    chosen = {}
    for text in at or []:
        name, separator, value = text.partition("=")
        if not separator:
            raise ValueError(f"--at: got {text!r}; write AXIS=VALUE")
        chosen[name] = value
    return chosen


def main() -> None:
    """The entry point; errors that a user can mend end with a message instead of a traceback."""
    try:
        app()
    except (ValueError, OSError, StoreError) as error:
        Console(stderr=True).print(f"error: {error}", highlight=False, markup=False, soft_wrap=True, style="red")
        sys.exit(2)


if __name__ == "__main__":
    main()
