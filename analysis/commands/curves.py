"""The command of learning curves: a measure along an axis, its local exponents, and peaks in between."""

from typing import Annotated

import typer
import xarray as xr

import analysis
from ensemble.console import At, Csv, Json

from ..console import Column, Form, console, facts_of, say, say_status, tell
from ..plots.style import said_at
from .options import Analysis, Directory, Measure, app, opened


@app.command(cls=Analysis)
def curve(
    directory: Directory,
    along: Annotated[str, typer.Option(help="axis of positive numbers, such as samples or width")],
    measure: Measure = "loss",
    at: At = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """MEASURE along an axis: geometric means over seeds, local exponents, and whether there is a peak in between."""
    form = Form.of(as_json, as_csv)
    ds = opened(directory, at)
    found = analysis.learning_curve(ds, along, measure).rename(low="mean_low", high="mean_high")
    columns = [
        Column("seeds", "seeds"),
        Column(f"mean {measure}", "mean", "{:.3g}", True),
        Column("exponent from the value before", "slope", "{:+.2f}", True),
    ]
    if tell(analysis.table(found), columns, form, facts_of(ds, measure=measure, along=along), console):
        say_status(ds)
        say("geometric means over seeds; brackets: 95% t-intervals, those of exponents paired by seed")
        if found.sizes[along] > 2:
            _say_peaks(analysis.double_descent(ds, along, measure), along)


def _say_peaks(peaks: xr.Dataset, along: str) -> None:
    """A line a cell where the measure rises to a peak between two lower points beyond doubt; one line where it nowhere
    does."""
    double = peaks.stack(cell=peaks["is_double"].dims) if peaks["is_double"].dims else peaks.expand_dims("cell")
    double = double.isel(cell=double["is_double"].values)
    for place in range(double.sizes["cell"]):
        one = double.isel(cell=place)
        where = said_at({str(name): one[name].item() for name in peaks["is_double"].dims})
        rise, fall = (
            f"{float(one[name]):.2f} [{float(one[f'{name}_low']):.2f}, {float(one[f'{name}_high']):.2f}]"
            for name in ("rise", "fall")
        )
        say(
            f"double descent{f' at {where}' if where else ''}: a peak at {along} = {float(one['peak']):g}, by a "
            f"logarithm of {rise} above the least point before it and {fall} above the least one after it"
        )
    if not double.sizes["cell"]:
        say(f"no peak along {along} beyond doubt (simultaneous 95%)")
