"""The command that joins simulator and analysis: members where a boundary is uncertain."""

from pathlib import Path
from typing import Annotated

import typer

import analysis
from ensemble.console import At, Csv, Json, interrupted, load
from ensemble.progress import ProgressShow

from ..console import Column, Form, console, facts_of, say, tell
from .options import Analysis, Measure, app


@app.command(cls=Analysis)
def refine(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="study file (TOML)")],
    out: Annotated[Path, typer.Option(help="run directory; a refinement that is there goes on")],
    x: Annotated[str, typer.Option(help="axis along which the boundary is a function")],
    y: Annotated[str, typer.Option(help="axis of numbers along which members are placed")],
    measure: Measure,
    below: Annotated[float, typer.Option(help="threshold in the probe's units")],
    budget: Annotated[int, typer.Option(min=1, help="members to run at most")],
    width: Annotated[
        float,
        typer.Option(min=0.0, help="stop when every band is this narrow (units of y, or decades where log-spaced)"),
    ] = 0.0,
    at: At = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Run members where the boundary of a phase diagram is uncertain, until its band is narrow or the budget spent."""
    form = Form.of(as_json, as_csv)
    resolved = load(study, None, at)

    def talk(text: str) -> None:
        say(text, aside=form is not Form.text)

    talk(f"{resolved.name}: boundary of {measure} < {below:g} in {y}, over {x}")
    with ProgressShow(console) as show:
        progress = show.update if form is Form.text else (lambda _: None)
        how = {"budget": budget, "width": width, "on_progress": progress, "say": talk}
        try:
            ds = analysis.refine(resolved, out, x, y, measure, below, **how)
        except KeyboardInterrupt:
            show.close()
            raise interrupted(out) from None
    others = {name: 0 for name in resolved.axes if name not in (x, y)}
    found = analysis.boundary(ds.isel(others), x, y, measure, below)
    frame = analysis.table(found).rename(columns={"low": "boundary_low", "high": "boundary_high"})
    columns = [
        Column(f"boundary in {y} [95% band]", "boundary", "{:.4g}", True),
        Column("width of the band", "band_width", "{:.3g}"),
        Column("members", "seeds", "{:,}"),
    ]
    facts = facts_of(ds, x=x, y=y, measure=measure, below=below, units=found["band_width"].attrs["units"])
    if tell(frame, columns, form, facts, console):
        members = int(found["seeds"].sum())
        say(f"width of the band: {found['band_width'].attrs['units']}; {members:,} members; dataset: {out}")
