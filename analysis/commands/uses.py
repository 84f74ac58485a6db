"""Commands on what features are good for: importance, pruning, feature maps, robustness, other inputs, transfer."""

from enum import StrEnum
from functools import partial
from typing import Annotated, Any

import typer
import xarray as xr

import analysis
from ensemble.console import At, Csv, Json, Overwrite, texts_at, values_of

from ..console import Column, Form, console, facts_of, say, say_status, tell
from ..members import axes, finished, like
from ..two_layer.certificate import certified
from ..uses.ascent import POINTS, STARTS, STEPS
from ..uses.features import TOLERANCE as ANGLE
from ..uses.pruning import PAIRS, TOLERANCE
from ..uses.transfer import GAINS
from .options import (
    Against,
    Along,
    Analysis,
    Directory,
    Drawing,
    Height,
    Label,
    Norm,
    Out,
    Width,
    app,
    opened,
    saying_radius,
)


class By(StrEnum):
    """What neurons are removed by."""

    mass = "mass"
    importance = "importance"


def _medians(members: xr.Dataset, among: xr.DataArray, names: list[str]) -> xr.Dataset:
    """Median, `_low` and `_high` (95% order statistics) over seeds of some variables."""
    found = {}
    for name in names:
        spread = analysis.quantiles(members[name], (0.5,), among).isel(quantile=0, drop=True)
        found |= {name: spread["value"], f"{name}_low": spread["low"], f"{name}_high": spread["high"]}
    return xr.Dataset(found).assign(seeds=among.sum("seed"))


class _Compared:
    """What `--against` adds to a table: medians over pairs of seeds of the difference to one value of an axis."""

    def __init__(self, ds: xr.Dataset, against: str | None):
        """**Raises:** `ValueError` for what is no axis and value, before any work."""
        self.columns: list[Column] = []
        self.fact: dict[str, str] = {}
        self.of: tuple[str, Any] | None = None
        if against is None:
            return
        found = texts_at([against])
        along = next(iter(found))
        if along not in axes(ds):
            there = ", ".join(axes(ds)) or "none"
            raise ValueError(f"against: got {along!r}, which is no axis; the axes are {there}{like(along, axes(ds))}")
        values = ds[along].values.tolist()
        chosen = values_of(found[along], values)
        if len(chosen) != 1 or chosen[0] not in values or len(values) < 2:
            raise ValueError(f"against: got {against!r}; give one value of an axis of two or more: {values}")
        self.of = along, chosen[0]
        self.columns = [Column(f"minus {chosen[0]}", "difference", "{:.3g}", True), Column("pairs", "pairs", "{:.0f}")]
        self.fact = {"against": f"{along}={chosen[0]}"}

    def of_cells(self, made: xr.Dataset, values: xr.DataArray, ds: xr.Dataset) -> xr.Dataset:
        """The table's dataset with the differences; NaN at the value itself."""
        if self.of is None:
            return made
        found = analysis.paired(values, *self.of, among=_counted(ds))
        found = found[["value", "low", "high", "seeds"]].reindex({self.of[0]: ds[self.of[0]]})
        names = {"value": "difference", "low": "difference_low", "high": "difference_high"}
        return made.assign(found.rename(names | {"seeds": "pairs"}))

    def say(self) -> None:
        """What the columns are."""
        if self.of is not None:
            say(f"minus {self.of[1]}: median over pairs of seeds of the difference, 95% order statistics")


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


def _certified(ds: xr.Dataset, by: By, tolerance: float) -> xr.Dataset:
    """Medians of the duality gaps of whole and of pruned networks, and the shares of both that are certified."""
    found = {}
    for word, networks in (("", ds), ("_pruned", analysis.pruned(ds, by.value, tolerance=tolerance))):
        one = analysis.certificates(networks)
        shares = analysis.share(certified(one), among=finished(ds))
        found[f"certified{word}"] = shares["share"]
        found |= {f"certified{word}_{end}": shares[end] for end in ("low", "high")}
        gaps = _medians(one[["gap"]], _counted(ds), ["gap"]).drop_vars("seeds")
        found |= {name.replace("gap", f"gap{word}"): gaps[name] for name in map(str, gaps.data_vars)}
    return xr.Dataset(found)


_OF_GAPS = [
    Column("median gap", "gap", "{:.2g}", True),
    Column("gap of the pruned", "gap_pruned", "{:.2g}", True),
    Column("certified", "certified", "{:.2f}", True),
    Column("certified pruned", "certified_pruned", "{:.2f}", True),
]


@app.command(cls=Analysis)
def pruning(
    directory: Directory,
    by: Annotated[By, typer.Option(help="the lightest neuron first, or that of least growth of the loss")] = By.mass,
    tolerance: Annotated[
        float, typer.Option(help="growth of the loss that is allowed, in units of ½‖f*‖²")
    ] = TOLERANCE,
    certify: Annotated[bool, typer.Option("--certify", help="duality gaps of whole and pruned networks")] = False,
    out: Out = None,
    along: Along = None,
    at: At = None,
    against: Against = None,
    width: Width = None,
    height: Height = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """The fewest neurons that keep the loss within a tolerance, per cell, and curves of what is left; needs weights."""
    form = Form.of(as_json, as_csv)
    picture = Drawing(out, width, height, overwrite)
    ds = opened(directory, at)
    compared = _Compared(ds, against)
    result = analysis.pruning(ds, by.value, tolerance=tolerance)
    picture.save(partial(analysis.pruning_picture, result, along))
    ends = {"loss": result["pruned_loss"].isel(kept=-1, drop=True)}
    made = _medians(result.assign(ends), _counted(ds), ["minimal_width", "loss"])
    made = compared.of_cells(made, result["minimal_width"], ds)
    made = made.assign(_certified(ds, by, tolerance)) if certify else made
    columns = [
        Column("seeds", "seeds"),
        Column("median minimal width", "minimal_width", "{:.0f}", True),
        *compared.columns,
        Column("median loss of all neurons", "loss", "{:.2g}", True),
        *(_OF_GAPS if certify else []),
    ]
    facts = facts_of(ds, by=by.value, tolerance=tolerance, **compared.fact, **picture.fact)
    if tell(analysis.table(made), columns, form, facts, console):
        say_status(ds)
        say(f"minimal width: the loss stays within {tolerance:g} · ½‖f*‖² from so many neurons on; 95% intervals")
        compared.say()
        picture.say()


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
    against: Against = None,
    width: Width = None,
    height: Height = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """The loss under the strongest change of every input within a radius, per cell and radius; needs weights."""
    form = Form.of(as_json, as_csv)
    picture = Drawing(out, width, height, overwrite)
    ds = opened(directory, at)
    compared = _Compared(ds, against)
    how = {"label": label.value, "points": points, "starts": starts, "steps": steps}
    with saying_radius():
        result = analysis.robust_loss(ds, radius, norm.asked, **how)
    picture.save(partial(analysis.robustness_picture, result, along))
    names = ["robust_loss", "attack_alignment"]
    made = _medians(result, _counted(ds), names)
    made = compared.of_cells(made, result["robust_loss"], ds)
    made["robust_loss_error"] = result["robust_loss_error"].max("seed")
    columns = [
        Column("seeds", "seeds"),
        Column("median robust loss", "robust_loss", "{:.4g}", True),
        *compared.columns,
        Column("largest error of sampling", "robust_loss_error", "{:.1g}"),
        Column("attack inside S*", "attack_alignment", "{:.3f}", True),
    ]
    method = result.attrs["method"]
    facts = facts_of(ds, norm=norm.value, **how, method=method, **compared.fact, **picture.fact)
    if tell(analysis.table(made, by="radius"), columns, form, facts, console):
        say_status(ds)
        sought = "" if method == "exact" else f": {points} inputs, {starts} starts, {steps} steps"
        say(f"{method}{sought}; brackets: 95% intervals over seeds")
        compared.say()
        picture.say()


@app.command(cls=Analysis)
def shift(
    directory: Directory,
    condition: Annotated[
        list[float], typer.Option(help="ratio κ of the largest to the smallest variance of x; may be repeated")
    ],
    turned: Annotated[bool, typer.Option("--turned", help="along a rotation of the axes in place of the axes")] = False,
    tails: Annotated[float | None, typer.Option(help="degrees of freedom of a Student t that scales x")] = None,
    out: Out = None,
    along: Along = None,
    at: At = None,
    against: Against = None,
    width: Width = None,
    height: Height = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """The loss under inputs of another covariance or heavier tails, exactly, per cell; needs weights."""
    form = Form.of(as_json, as_csv)
    picture = Drawing(out, width, height, overwrite)
    ds = opened(directory, at)
    compared = _Compared(ds, against)
    try:
        result = analysis.shifted_loss(ds, condition, turned=turned, tails=tails)
    except ValueError as error:
        raise ValueError(str(error).replace("conditions: ", "condition: ", 1)) from None
    picture.save(partial(analysis.shift_picture, result, along))
    made = _medians(result, _counted(ds), ["shifted_loss", "shift_ratio"])
    made = compared.of_cells(made, result["shifted_loss"], ds)
    columns = [
        Column("seeds", "seeds"),
        Column("median shifted loss", "shifted_loss", "{:.4g}", True),
        *compared.columns,
        Column("over the loss", "shift_ratio", "{:.3f}", True),
    ]
    facts = facts_of(ds, turned=turned, tails=tails, **compared.fact, **picture.fact)
    if tell(analysis.table(made, by="condition_number"), columns, form, facts, console):
        say_status(ds)
        say(
            f"x ~ N(0, Σ), eigenvalues of mean 1 {'along a rotation' if turned else 'on the axes'}"
            + (f", scaled by a Student t of {tails:g} degrees" if tails is not None else "")
            + "; exact; brackets: 95% intervals over seeds"
        )
        compared.say()
        picture.say()


@app.command(cls=Analysis)
def transfer(
    directory: Directory,
    along: Annotated[
        str | None, typer.Option(help="axis of what comes before the second task; found by itself")
    ] = None,
    fresh: Annotated[str | None, typer.Option(help="its value at which nothing does; found by itself")] = None,
    gain: Annotated[str, typer.Option(help="what the picture shows")] = "forward_transfer",
    x: Annotated[str | None, typer.Option(help="axis to the right, of the picture")] = None,
    y: Annotated[str | None, typer.Option(help="axis upwards: maps in place of curves")] = None,
    out: Out = None,
    at: At = None,
    width: Width = None,
    height: Height = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """What a first task gave to a second one, and what that one took, against fresh starts of the same seeds."""
    form = Form.of(as_json, as_csv)
    picture = Drawing(out, width, height, overwrite)
    if out is not None and x is None:
        raise ValueError("x: is missing; a picture needs an axis to the right")
    ds = opened(directory, at)
    values = ds[along].values.tolist() if along in ds.coords else []
    result = analysis.transfer(ds, along, next((known for known in values if str(known) == fresh), fresh))
    if x is not None:
        picture.save(partial(analysis.transfer_picture, result, x, y, gain))
    made = result.drop_vars("transfer")
    columns = [
        Column("pairs", "seeds"),
        Column("median [95%]", "value", "{:.3g}", True),
        Column("share above 0", "positive", "{:.2f}", True),
    ]
    frame = analysis.table(made, by="transfer_gain").rename(columns={"low": "value_low", "high": "value_high"})
    if tell(
        frame,
        columns,
        form,
        facts_of(ds, along=result.attrs["along"], fresh=str(result.attrs["fresh"]), **picture.fact),
        console,
    ):
        say_status(ds)
        for name in result["transfer_gain"].values.tolist():
            say(f"{name}: {GAINS[name]}")
        picture.say()
