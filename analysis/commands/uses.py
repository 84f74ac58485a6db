"""Commands on what features are good for: importance of neurons, pruning, feature maps, robustness."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import xarray as xr

import analysis
from ensemble.console import At, Csv, Json, Overwrite

from ..ascent import POINTS, STARTS, STEPS
from ..console import Column, Form, console, facts_of, say, say_status, tell
from ..features import TOLERANCE as ANGLE
from ..members import finished
from ..plots import save
from ..pruning import PAIRS, TOLERANCE
from ..writing import require_free
from .options import Analysis, Directory, Height, Width, app, look_of, opened

Out = Annotated[Path | None, typer.Option(help="picture of the curves (.png, .pdf, .svg); needs one open axis at most")]
Along = Annotated[str | None, typer.Option(help="axis with a curve for each of its values")]


class By(StrEnum):
    """What neurons are removed by."""

    mass = "mass"
    importance = "importance"


class Norm(StrEnum):
    """Of attacks."""

    two = "2"
    inf = "inf"


class Label(StrEnum):
    """What a moved input is compared with."""

    kept = "kept"
    moved = "moved"


def _medians(members: xr.Dataset, among: xr.DataArray, names: list[str]) -> xr.Dataset:
    """Median, `_low` and `_high` (95% order statistics) over seeds of some variables."""
    found = {}
    for name in names:
        spread = analysis.quantiles(members[name], (0.5,), among).isel(quantile=0, drop=True)
        found |= {name: spread["value"], f"{name}_low": spread["low"], f"{name}_high": spread["high"]}
    return xr.Dataset(found).assign(seeds=among.sum("seed"))


def _counted(ds: xr.Dataset) -> xr.DataArray:
    return finished(ds).drop_vars("stage", errors="ignore")


@app.command(cls=Analysis)
def importance(directory: Directory, at: At = None, as_json: Json = False, as_csv: Csv = False) -> None:
    """Do mass, leave-one-out loss and saliency rank neurons alike? Median rank agreement per cell; needs weights."""
    form = Form.of(as_json, as_csv)
    ds = opened(directory, at)
    members = analysis.importance(ds)
    names = [f"{first}–{second}" for first, second in PAIRS]
    each = xr.Dataset({name: members["rank_agreement"].sel(measure_pair=name, drop=True) for name in names})
    # A member with one neuron left ranks nothing, and counts nowhere.
    found = [_medians(each, each[name].notnull(), [name]) for name in names]
    made = xr.merge([one.drop_vars("seeds") for one in found]).assign(seeds=_counted(ds).sum("seed"))
    columns = [Column("seeds", "seeds"), *(Column(name.replace("_", " "), name, "{:.3f}", True) for name in names)]
    if tell(analysis.table(made), columns, form, facts_of(ds), console):
        say_status(ds)
        say("medians over seeds of Spearman's rank correlation over a member's neurons; brackets: 95% intervals")


@app.command(cls=Analysis)
def pruning(
    directory: Directory,
    by: Annotated[By, typer.Option(help="the lightest neuron first, or that of least growth of the loss")] = By.mass,
    tolerance: Annotated[
        float, typer.Option(help="growth of the loss that is allowed, in units of ½‖f*‖²")
    ] = TOLERANCE,
    out: Out = None,
    along: Along = None,
    at: At = None,
    width: Width = None,
    height: Height = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """The fewest neurons that keep the loss within a tolerance, per cell, and curves of what is left; needs weights."""
    form = Form.of(as_json, as_csv)
    look = look_of(width, height)
    if out is not None:
        require_free(out, "picture", overwrite)
    ds = opened(directory, at)
    result = analysis.pruning(ds, by.value, tolerance=tolerance)
    if out is not None:
        save(analysis.pruning_picture(result, along, **look), out, overwrite=overwrite)
    ends = {"loss": result["pruned_loss"].isel(kept=-1, drop=True)}
    made = _medians(result.assign(ends), _counted(ds), ["minimal_width", "loss"])
    columns = [
        Column("seeds", "seeds"),
        Column("median minimal width", "minimal_width", "{:.0f}", True),
        Column("median loss of all neurons", "loss", "{:.2g}", True),
    ]
    facts = facts_of(ds, by=by.value, tolerance=tolerance, picture=None if out is None else str(out))
    if tell(analysis.table(made), columns, form, facts, console):
        say_status(ds)
        say(f"minimal width: the loss stays within {tolerance:g} · ½‖f*‖² from so many neurons on; 95% intervals")
        if out is not None:
            say(f"picture: {out}")


@app.command(cls=Analysis)
def features(
    directory: Directory,
    tolerance: Annotated[float, typer.Option(help="angle within which a neuron is aligned, in rad")] = ANGLE,
    at: At = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Which neurons carry which teacher features: missed, split, merged, stray; faithfulness; needs weights."""
    form = Form.of(as_json, as_csv)
    ds = opened(directory, at)
    members = analysis.features(ds, tolerance=tolerance)
    least = members["feature_explained"].where(members["feature_neurons"].notnull()).min("teacher_neuron")
    names = ["missed", "split", "merged", "stray", "least_explained", "loss_of_owners", "faithfulness"]
    made = _medians(members.assign(least_explained=least), _counted(ds), names)
    forms = ["{:.0f}"] * 4 + ["{:.4f}", "{:.2g}", "{:.6f}"]
    words = ["features missed", "split", "neurons merged", "stray", "least explained", "loss of owners", "faithfulness"]
    columns = [Column("seeds", "seeds")]
    columns += [Column(word, name, how, True) for word, name, how in zip(words, names, forms, strict=True)]
    if tell(analysis.table(made), columns, form, facts_of(ds, tolerance=tolerance), console):
        say_status(ds)
        say(f"medians over seeds with 95% intervals; aligned: within {tolerance:g} rad of a teacher neuron")


@app.command(cls=Analysis)
def robustness(
    directory: Directory,
    radius: Annotated[list[float], typer.Option(help="radius ε of the attack; may be repeated")],
    norm: Annotated[Norm, typer.Option(help="of the attack")] = Norm.two,
    label: Annotated[Label, typer.Option(help="f(x+δ) against f*(x), or against f*(x+δ)")] = Label.kept,
    points: Annotated[int, typer.Option(help="inputs at which the attack is sought")] = POINTS,
    starts: Annotated[int, typer.Option(help="starts of the ascent at each")] = STARTS,
    steps: Annotated[int, typer.Option(help="steps of the ascent")] = STEPS,
    out: Out = None,
    along: Along = None,
    at: At = None,
    width: Width = None,
    height: Height = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """The loss under the strongest change of every input within a radius, per cell and radius; needs weights."""
    form = Form.of(as_json, as_csv)
    look = look_of(width, height)
    if out is not None:
        require_free(out, "picture", overwrite)
    ds = opened(directory, at)
    how = {"label": label.value, "points": points, "starts": starts, "steps": steps}
    try:
        result = analysis.robust_loss(ds, radius, 2 if norm is Norm.two else "inf", **how)
    except ValueError as error:
        raise ValueError(str(error).replace("radii: ", "radius: ", 1)) from None
    if out is not None:
        save(analysis.robustness_picture(result, along, **look), out, overwrite=overwrite)
    names = ["robust_loss", "attack_alignment"]
    made = _medians(result, _counted(ds), names)
    made["robust_loss_error"] = result["robust_loss_error"].max("seed")
    columns = [
        Column("seeds", "seeds"),
        Column("median robust loss", "robust_loss", "{:.4g}", True),
        Column("largest error of sampling", "robust_loss_error", "{:.1g}"),
        Column("attack inside S*", "attack_alignment", "{:.3f}", True),
    ]
    method = result.attrs["method"]
    facts = facts_of(ds, norm=norm.value, **how, method=method, picture=None if out is None else str(out))
    if tell(analysis.table(made, by="radius"), columns, form, facts, console):
        say_status(ds)
        sought = "" if method == "exact" else f": {points} inputs, {starts} starts, {steps} steps"
        say(f"{method}{sought}; brackets: 95% intervals over seeds")
        if out is not None:
            say(f"picture: {out}")
