"""Commands of arrival times as censored data: survival, and escape from plateaus."""

from functools import partial
from typing import Annotated

import typer
import xarray as xr

import analysis
from ensemble.console import At, Csv, Json, Overwrite

from ..console import Column, Form, console, facts_of, say, say_log_rank, say_status, tell
from ..members import finished
from .options import Analysis, Directory, Drawing, Height, Measure, Out, Width, app, opened

Compared = Annotated[str | None, typer.Option(help="axis to compare cells along, by the log-rank test")]


@app.command(cls=Analysis)
def survival(
    directory: Directory,
    measure: Annotated[str | None, typer.Option(help="probe; without it, times are those of the stop rule")] = None,
    below: Annotated[float | None, typer.Option(help="tolerance in the probe's units")] = None,
    at: At = None,
    along: Compared = None,
    out: Out = None,
    width: Width = None,
    height: Height = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Times until MEASURE is below, or until the stop rule, as censored data: medians, means, the share without one."""
    form = Form.of(as_json, as_csv)
    picture = Drawing(out, width, height, overwrite)
    ds = opened(directory, at)
    result = analysis.survival(ds, measure, below=below).load()
    picture.save(partial(analysis.survival_picture, result, along))
    tests = None if along is None else analysis.log_rank(ds, along, measure, below=below).load()
    if not _tell(ds, result, tests, form):
        return
    if not int(result["events"].sum()):
        say(_never_reached(ds, measure, below))
    if tests is not None:
        say_log_rank(tests)
    picture.say()


@app.command(cls=Analysis)
def escape(
    directory: Directory,
    measure: Measure = "loss",
    plateau: Annotated[float | None, typer.Option(help="its height, where known; by default each member's own")] = None,
    tolerance: Annotated[float, typer.Option(help="by which part MEASURE moves on a plateau at most")] = 0.1,
    fraction: Annotated[float, typer.Option(help="part of the height below which a plateau is left")] = 0.5,
    floor: Annotated[
        float | None,
        typer.Option(help="MEASURE where no plateau is sought; by default 0.001 of a member's first record"),
    ] = None,
    at: At = None,
    along: Compared = None,
    out: Out = None,
    width: Width = None,
    height: Height = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Times until MEASURE leaves its plateau for good, as censored data: medians, means, the share that never does."""
    form = Form.of(as_json, as_csv)
    picture = Drawing(out, width, height, overwrite)
    ds = opened(directory, at)
    sought = {"tolerance": tolerance, "fraction": fraction, "floor": floor}
    times = analysis.escape_times(ds, measure, plateau=plateau, **sought).load()
    result = analysis.survival(ds, times=times)
    middle = analysis.quantiles(times["height"], (0.5,), times["height"].notnull()).isel(quantile=0, drop=True)
    result = result.assign(height=middle["value"], on_plateau=times["plateau_begin"].notnull().sum("seed")).load()
    picture.save(partial(analysis.survival_picture, result, along))
    tests = None if along is None else analysis.log_rank(ds, along, times=times).load()
    more = [Column("median height", "height", "{:.3g}"), Column("on a plateau", "on_plateau")]
    facts = {"plateau": plateau, **sought}
    if not _tell(ds, result, tests, form, more if plateau is None else more[:1], facts):
        return
    if int(result["seeds"].sum()) < int(finished(ds).sum()):
        say("cells in which no member has a plateau are not counted; try a known --plateau, or a larger --tolerance")
    if tests is not None:
        say_log_rank(tests)
    picture.say()


def _tell(
    ds: xr.Dataset,
    result: xr.Dataset,
    tests: xr.Dataset | None,
    form: Form,
    more: list[Column] | None = None,
    others: dict[str, object] | None = None,
) -> bool:
    """The table of survival curves, and what it is of; whether it was for people."""
    reached = result.attrs["reached"]
    columns = [
        Column("seeds", "seeds"),
        *(more or []),
        Column(reached, "events"),
        Column("censored", "censored"),
        Column("median", "median", "{:.0f}", True),
        Column("but after", "median_after", "{:.0f}"),
        Column("restricted mean", "mean", "{:.0f}", True),
        Column(f"never {reached}", "never", "{:.2f}", True),
    ]
    named = {name: result.attrs[name] for name in ("event", "reached", "horizon", "level")}
    facts = facts_of(ds, **named, **(others or {}))
    if tests is not None:
        facts["log_rank"] = analysis.table(tests).reset_index().to_dict("records")
    if not tell(analysis.table(result.drop_dims("step")), columns, form, facts, console):
        return False
    say_status(ds)
    say(f"{reached}: {result.attrs['event']}; steps; restricted to {result.attrs['horizon']:.0f}; 95% intervals")
    return True


def _never_reached(ds: xr.Dataset, measure: str | None, below: float | None) -> str:
    """What there is where no member arrives."""
    if measure is None or below is None:
        return "no member was ended by a stop rule: the protocol has none, or none was met; try --measure and --below"
    least = float(ds[measure].where(finished(ds)).min())
    return f"no member reaches {measure} ≤ {below:g}: the smallest at the end is {least:.4g}; take a tolerance above it"
