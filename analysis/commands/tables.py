"""Commands that end in a table: summary, minima, families, certificate, scaling, rates, sample complexity."""

import json
from functools import partial
from typing import Annotated

import numpy as np
import pandas as pd
import typer
import xarray as xr

import analysis
from ensemble.console import At, Csv, Json, Overwrite

from ..console import Column, Form, console, facts_of, say, say_status, tell
from ..members import finished
from ..plots.complexity import said_of
from ..times.laws import LAWS
from ..two_layer.certificate import CERTIFIED, certified
from ..two_layer.minima import ABSOLUTE, RELATIVE, listed
from .options import Analysis, Below, Directory, Drawing, Height, Measure, Out, Width, app, opened

_ENDS = {"low": "share_low", "high": "share_high"}
"""The ends of a share's interval, where it is not alone in a table."""


@app.command(cls=Analysis)
def summary(
    directory: Directory,
    measure: Measure = "max_angle",
    below: Below = 0.02,
    at: At = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Per cell: shares of each status, quantiles of loss and angles, times until MEASURE is below; 95% intervals."""
    form = Form.of(as_json, as_csv)
    ds = opened(directory, at)
    result = analysis.summary(ds, measure, below).load()
    reached = result.attrs["reached"]
    medians = [m for m in ("loss", "mean_angle", "max_angle") if m in result]
    columns = [
        Column("seeds", "seeds"),
        *(Column(name, f"status_share[{name}]", "{:.2f}", True) for name in ("converged", "diverged")),
        *(Column(f"median {name}", f"{name}[0.5]", "{:.2g}", True) for name in medians),
        Column(f"median time until {reached}", "time[0.5]", "{:.0f}", True),
        Column(f"never {reached}", "censored", "{:.2f}", True),
    ]
    facts = facts_of(ds, measure=measure, below=below, reached=reached)
    if tell(analysis.table(result), columns, form, facts, console):
        say_status(ds)
        say(f"converged: stop rule met; time: {result['time'].attrs['long_name']}; brackets: 95% intervals over seeds")


@app.command(cls=Analysis)
def minima(
    directory: Directory,
    relative: Annotated[float, typer.Option(help="relative gap between families")] = RELATIVE,
    absolute: Annotated[float, typer.Option(help="absolute gap, and the loss that counts as 0")] = ABSOLUTE,
    at: At = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Families of final losses per cell, each with its share and Wilson interval."""
    form = Form.of(as_json, as_csv)
    ds = opened(directory, at)
    result = analysis.minima(ds, relative, absolute)
    if form is Form.json:
        cells = listed(result)
        print(json.dumps({**facts_of(ds), "relative": relative, "absolute": absolute, "cells": cells}, indent=1))
        return
    frame = _families_of(result)
    if form is Form.text:
        names = np.where(frame["is_global"], "global", frame["family"].astype(str))
        frame = frame.assign(family=names)
    columns = [
        Column("seeds", "seeds"),
        Column("family", "family"),
        Column("loss", "loss", "{:.6g}"),
        Column("spread", "spread", "{:.1e}"),
        Column("members", "count"),
        Column("share [95% interval]", "share", "{:.4f}", True),
    ]
    if tell(frame, columns, form, {}, console, sections=True):
        say_status(ds)
        say(f"a family: losses without a gap above max({absolute:g}, {relative:g} × loss); global: loss ≤ {absolute:g}")


@app.command(cls=Analysis)
def families(
    directory: Directory,
    tolerance: Annotated[float, typer.Option(help="relative, of the numbers that are compared")] = 1e-4,
    at: At = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Families of final weights up to symmetry, with Hessian eigenvalues: minima, saddles or flat; needs weights."""
    form = Form.of(as_json, as_csv)
    ds = opened(directory, at)
    result = analysis.families(ds, tolerance=tolerance, most=12)
    patterns = [name for name in ("overlap", "signed_mass") if name in result]
    frame = _families_of(result.drop_vars(patterns))
    columns = [
        Column("seeds", "seeds"),
        Column("loss", "loss", "{:.6g}"),
        Column("members", "count"),
        Column("share [95% interval]", "share", "{:.4f}", True),
        Column("anti-aligned", "anti_aligned"),
        Column("active", "active"),
        Column("lowest", "lowest", "{:.2e}"),
        Column("highest", "highest", "{:.3g}"),
        Column("kind", "kind"),
        Column("such as seed", "seed"),
    ]
    if tell(frame, columns, form, facts_of(ds, tolerance=tolerance), console, sections=True):
        say_status(ds)
        others = int(result["others"].sum())
        say(
            "lowest, highest: eigenvalues of the Hessian over the layers that move"
            + (f"; {others:,} members in rarer families" if others else "")
        )


def _families_of(result: xr.Dataset) -> pd.DataFrame:
    """A row for every family that has members, with its number as a column."""
    frame = analysis.table(result.drop_vars("family", errors="ignore"), by="family").rename(columns=_ENDS)
    frame = frame[frame["count"] > 0].copy()
    return frame.reset_index("family")


@app.command(cls=Analysis)
def certificate(directory: Directory, at: At = None, as_json: Json = False, as_csv: Csv = False) -> None:
    """Duality gaps: how many members are certified global minima over all widths; needs weights or the probe `gap`."""
    form = Form.of(as_json, as_csv)
    ds = opened(directory, at)
    result = analysis.certificates(ds)
    shares = analysis.share(certified(result), among=finished(ds)).rename(_ENDS)
    gap = analysis.quantiles(result["gap"], (0.5,), finished(ds)).isel(quantile=0, drop=True)
    largest = result["certificate_max"].max("seed")
    made = shares.assign(gap=gap["value"], gap_low=gap["low"], gap_high=gap["high"], largest=largest).load()
    columns = [
        Column("seeds", "seeds"),
        Column("certified", "share", "{:.2f}", True),
        Column("median gap", "gap", "{:.2g}", True),
        Column("largest |η|", "largest", "{:.10g}"),
    ]
    bad = int(result["contradiction"].sum())
    if tell(analysis.table(made), columns, form, facts_of(ds, certified=CERTIFIED, contradictions=bad), console):
        say_status(ds)
        say(
            f"certified: gap ≤ {CERTIFIED:g} × risk, λ > 0 that of the last step; |η| is found from below"
            + (f"; {bad} cells contradict themselves: a risk is below another member's bound" if bad else "")
        )


@app.command(cls=Analysis)
def scaling(
    directory: Directory,
    under: Annotated[float, typer.Option(help="records with a smaller gap ζ are fitted")] = np.inf,
    ratio: Annotated[float, typer.Option(help="records with ζ of at least so many λ² are fitted")] = 0.0,
    at: At = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Exponents of squared angles and gradient norm against the optimality gap ζ (theory.md §5, v), per cell."""
    form = Form.of(as_json, as_csv)
    ds = opened(directory, at)
    result = analysis.scaling(ds, under=under, ratio=ratio)
    frame = analysis.table(result)
    frame["records"] = np.nan_to_num(frame["records"]).astype(int)
    columns = [
        Column("records", "records"),
        Column("p: θ² ~ (ζ/λ)^p", "angle_exponent", "{:.3f}", True),
        Column("max θ²λ/ζ", "angle_constant", "{:.3g}"),
        Column("p: ‖∇‖² ~ ζ^p", "gradient_exponent", "{:.3f}", True),
        Column("min ‖∇‖²λ²/ζ⁴", "gradient_constant", "{:.3g}"),
    ]
    if tell(frame, columns, form, facts_of(ds, under=under, ratio=ratio), console):
        say("the bounds θ² = O(ζ/λ) and ‖∇‖² = Ω(ζ⁴/λ²) hold as ζ → 0 where the first p ≥ 1 and the second ≤ 4")


@app.command(cls=Analysis)
def rates(
    directory: Directory,
    measure: Measure = "loss",
    after: Annotated[float, typer.Option(help="records after this step are fitted")] = 0.0,
    until: Annotated[float, typer.Option(help="and up to this one")] = np.inf,
    at: At = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """By which law MEASURE decays: shares of members by their law, median rate and exponent; 95% intervals."""
    form = Form.of(as_json, as_csv)
    ds = opened(directory, at)
    result = analysis.rates(ds, measure, after=after, until=until).load()
    result = result.drop_vars([name for name, values in result.data_vars.items() if "seed" in values.dims])
    columns = [
        Column("members fitted", "seeds"),
        *(Column(law, f"law_share[{law}]", "{:.2f}", True) for law in LAWS),
        Column("median rate", "rate_median", "{:.3g}", True),
        Column("median exponent", "exponent_median", "{:.3g}", True),
    ]
    if tell(analysis.table(result), columns, form, facts_of(ds, **result.attrs), console):
        say_status(ds)
        say(f"law: of ln {measure}; rate (1/step) and exponent: of all members fitted, whatever their law")


@app.command(cls=Analysis)
def complexity(
    directory: Directory,
    along: Annotated[str, typer.Option(help="axis of the dimension, or of another size, of which a power is sought")],
    measure: Measure = "max_angle",
    below: Below = 0.1,
    samples: Annotated[str, typer.Option(help="axis of the number of samples")] = "samples",
    at: At = None,
    out: Out = None,
    width: Width = None,
    height: Height = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Samples at which half of the seeds have MEASURE below VALUE, along an axis, and the power law of it."""
    form = Form.of(as_json, as_csv)
    picture = Drawing(out, width, height, overwrite)
    ds = opened(directory, at)
    result = analysis.sample_complexity(ds, along, measure, below, samples=samples)
    picture.save(partial(analysis.complexity_picture, result))
    law = [name for name, values in result.data_vars.items() if not values.dims]
    columns = [
        Column("seeds", "seeds"),
        Column(f"{samples} of half recovery", "boundary", "{:.4g}", True),
        Column("power law", "fitted", "{:.4g}"),
    ]
    found = result[["seeds", "boundary", "low", "high", "fitted"]]
    found = found.rename(low="boundary_low", high="boundary_high")
    facts = facts_of(ds, measure=measure, below=below, level=result.attrs["level"], **picture.fact)
    facts |= {str(name): result[name].item() for name in law}
    if tell(analysis.table(found), columns, form, facts, console):
        say_status(ds)
        say(f"{said_of(result)}; brackets hold at once for every {along}; half recovery: {measure} < {below:g}")
        picture.say()
