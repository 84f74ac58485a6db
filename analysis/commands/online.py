"""The command of the closed equations of online learning: from a study file, or beside the members of a run."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
import xarray as xr

import analysis
from ensemble.console import At, Csv, Json, Overwrite, load

from ..console import Column, Form, console, facts_of, say, tell
from ..members import axes
from .options import Analysis, Drawing, Height, Width, app, opened

_OF_CELLS = ["largest", "typical", "second_order", "seeds"]
"""What a deviation says of a whole cell."""


@app.command(cls=Analysis, name="order-parameters")
def order_parameters(
    source: Annotated[Path, typer.Argument(metavar="STUDY|DIR", help="study file, or a run to compare with")],
    noise: Annotated[
        float | None, typer.Option(help="standard deviation of the noise on labels; by default the study's")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="fresh samples a step; by default the study's")] = None,
    out: Annotated[Path | None, typer.Option(help="picture of a run to write (.png, .pdf, .svg)")] = None,
    at: At = None,
    width: Width = None,
    height: Height = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Closed equations of online SGD from a study's starts; of a run: how far its members are from them.

    Along an axis of positive numbers, the only one of several values: also the power of it by which they are.
    """
    form = Form.of(as_json, as_csv)
    if out is not None and source.suffix == ".toml":
        raise ValueError(f"out: got {out} for a study file; a picture needs the members of a run: give its DIR")
    picture = Drawing(out, width, height, overwrite)
    columns = [Column("time", "time", "{:.4g}"), Column("step", "step", "{:.0f}")]
    if source.suffix == ".toml":
        study = load(source, None, at)
        found = analysis.order_parameters(study, noise=noise, batch=batch)
        bands = found["loss"].quantile([0.1, 0.5, 0.9], "seed").drop_vars("quantile")
        parts = {name: bands.isel(quantile=i) for i, name in enumerate(("loss_low", "loss", "loss_high"))}
        result = xr.Dataset(parts | {"time": found["time"], "step": found["step"]}).reset_coords()
        columns.append(Column("median loss [10–90% of seeds]", "loss", "{:.4g}", True))
        frame, facts = analysis.table(result, by="record"), {"study_hash": study.hash}
        exact, power = bool(found["second_order"].all()), str
    else:
        ds = opened(source, at)
        found = analysis.order_deviation(ds, noise=noise, batch=batch)
        frame = analysis.table(found.drop_vars(_OF_CELLS).reset_coords(["time", "step"]), by="record")
        columns += [
            Column("mean loss", "measured", "{:.4g}"),
            Column("equations", "solution", "{:.4g}"),
            Column("difference [95%]", "mean", "{:+.1e}", True),
            Column("of the spread of seeds", "share", "{:+.2f}"),
            Column("z", "z", "{:+.2f}"),
        ]
        frame = frame.assign(share=frame["mean"] / frame["spread"])
        facts, exact, power = facts_of(ds), bool(found["second_order"].all()), partial(_power, ds, noise, batch)
        picture.save(partial(analysis.online_picture, ds, noise=noise, batch=batch))
    if tell(frame, columns, form, facts, console):
        say("with the term of order η" if exact else "to leading order in η: the population's gradient flow")
        if line := power():
            say(line)
        picture.say()


def _power(ds: xr.Dataset, noise: float | None, batch: int | None) -> str:
    """What is said of the spread along the only axis of several values, where these are positive numbers."""
    wide = [name for name in axes(ds) if ds.sizes.get(name, 1) > 1]
    if len(wide) != 1 or ds[wide[0]].dtype.kind not in "fiu" or float(ds[wide[0]].min()) <= 0:
        return ""
    found = analysis.deviation_exponent(ds, wide[0], noise=noise, batch=batch)
    low, power, high = (float(found[name]) for name in ("exponent_low", "exponent", "exponent_high"))
    return f"typical spread over the loss ∝ {wide[0]}^{power:.2f} [{low:.2f}, {high:.2f}]"
