"""The command line of the simulator: `python -m ensemble run STUDY --out DIR`, and what goes with it."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NoReturn

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from . import Study, StudyError, collect, run
from .engine import EngineError
from .launch import SECONDS_BETWEEN_KEEPS, refine, reproduce, status
from .members import groups
from .progress import ProgressShow
from .store import FINISHED, STATUS, SchemaError, StoreError, status_line
from .study import Scalar, StudyWarning

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
console = Console()

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="study file (TOML)")]
Seeds = Annotated[int | None, typer.Option(help="seeds a cell, instead of the study's")]
RunFolder = Annotated[Path, typer.Argument(metavar="DIR", help="run directory")]
Only = Annotated[list[str] | None, typer.Option(metavar="AXIS=v1,v2", help="restrict an axis; may be repeated")]

_MOST_ROWS = 60
"""Cells that `status` lists."""


@app.command("run")
def run_command(
    study: StudyFile,
    out: Annotated[Path, typer.Option(help="run directory for the dataset")],
    seeds: Seeds = None,
    only: Only = None,
    overwrite: Annotated[bool, typer.Option(help="replace what --out holds")] = False,
    keep_every: Annotated[
        float, typer.Option(min=0.1, help="seconds of work that a kill may lose at most")
    ] = SECONDS_BETWEEN_KEEPS,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS|local|slurm", help="run on a Dask cluster (docs/running.md)")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="workers, for --dask local and slurm")] = None,
    tls_ca: Annotated[Path | None, typer.Option(help="certificate authority of a tls:// scheduler")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="this client's certificate")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="this client's key")] = None,
) -> None:
    """Run a study into a directory; what it holds already is verified and not computed again."""
    resolved = _load(study, seeds, only)
    _say(f"{resolved.name}: {resolved.question or 'no question stated'}")
    _say(_size_line(resolved))
    with _errors_said(), ProgressShow(console) as show:
        try:
            if dask is None:
                ds = run(resolved, out, on_progress=show.update, say=_say, overwrite=overwrite, keep_every=keep_every)
            else:
                from .launch.cluster import connected, run_on_cluster  # distributed is imported only where it is used

                with connected(dask, workers, tls_ca, tls_cert, tls_key) as client:
                    ds = run_on_cluster(resolved, out, client, on_progress=show.update, say=_say, overwrite=overwrite)
        except KeyboardInterrupt:
            show.close()
            raise _interrupted(out) from None
    if not show.reports:
        _say(f"{out} holds this study's complete dataset already; nothing was run")
    with ds:
        _say(f"{status_line(ds)}; {ds.attrs['wall_time']:.1f} s, lane efficiency {ds.attrs['lane_efficiency']:.1%}")
    _say(f"dataset: {out}")


def _interrupted(out: Path) -> typer.Exit:
    """Says what is kept of a run that was stopped; the exit of a command that was."""
    counts = status(out).counts.sum(axis=0)
    _say(
        f"interrupted: {counts[FINISHED:].sum():,} of {counts.sum():,} members are finished and kept in {out}, "
        f"{counts[STATUS['running']]:,} in flight"
    )
    _say("the same command goes on from there")
    return typer.Exit(130)


@app.command("refine")
def refine_command(
    study: StudyFile,
    out: Annotated[Path, typer.Option(help="run directory; a refinement that is there goes on")],
    x: Annotated[str, typer.Option(help="axis along which the boundary is a function")],
    y: Annotated[str, typer.Option(help="axis of numbers along which members are placed")],
    measure: Annotated[str, typer.Option(help="probe, such as max_angle or loss")],
    below: Annotated[float, typer.Option(help="threshold in the probe's units")],
    budget: Annotated[int, typer.Option(min=1, help="members to run at most")],
    width: Annotated[
        float,
        typer.Option(min=0.0, help="stop when every band is this narrow (units of y, or decades where log-spaced)"),
    ] = 0.0,
    only: Only = None,
) -> None:
    """Run members where the boundary of a phase diagram is uncertain, until its band is narrow or the budget spent."""
    import analysis  # the analysis stands above the simulator; this command joins the two
    from analysis.refinement import additions, first_additions

    resolved = _load(study, None, only)
    _say(f"{resolved.name}: boundary of {measure} < {below:g} in {y}, over {x}")

    others = {name: 0 for name in resolved.axes if name not in (x, y)}  # of one value each

    def propose(ds, members: int):
        ds = ds.isel(others)
        widths = analysis.boundary(ds, x, y, measure, below)["band_width"]
        count = int((ds["status"] >= FINISHED).sum())
        open_bands = int(np.isinf(widths).sum())
        known = widths.where(np.isfinite(widths))
        _say(
            f"{count:,} members: widest band {float(known.max()):.3g}, mean {float(known.mean()):.3g}"
            + (f"; {open_bands} of {widths.size} reach beyond the grid" if open_bands else "")
        )
        grid = [float(v) for v in resolved.axes[y].values]
        return additions(ds, x, y, measure, below, grid, members, width)

    if measure not in resolved.probes:
        _fail(StudyError(f"measure: got {measure!r}; the study stores {', '.join(resolved.probes)}"))
    values = {name: axis.values for name, axis in resolved.axes.items()}
    first = first_additions(values.get(x, ()), [v for v in values.get(y, ()) if isinstance(v, float)])
    with _errors_said(), ProgressShow(console) as show:
        try:
            ds = refine(
                resolved, out, x, y, budget=budget, first=first, propose=propose, on_progress=show.update, say=_say
            )
        except KeyboardInterrupt:
            show.close()
            raise _interrupted(out) from None
    found = analysis.boundary(ds.isel(others), x, y, measure, below)
    table = Table(x, f"boundary in {y}", "95% band", "width", "members")
    for i in range(found.sizes[x]):
        row = found.isel({x: i})
        ends = f"[{float(row['low']):.4g}, {float(row['high']):.4g}]"
        numbers = f"{float(row['boundary']):.4g}", ends, f"{float(row['band_width']):.3g}", f"{int(row['seeds']):,}"
        table.add_row(*(escape(text) for text in (str(row[x].item()), *numbers)))
    console.print(table)
    _say(f"width: {found['band_width'].attrs['units']}; {int(found['seeds'].sum()):,} members; dataset: {out}")


@app.command("status")
def status_command(directory: RunFolder) -> None:
    """Say how far a run is: members by status and cell, rate, time left, shards; never disturbs the run."""
    with _errors_said():
        now = status(directory)
    study, found, counts = now.directory.study, now.found, now.counts
    _say(f"{directory}: {study.name}: {now.state}")
    _say(", ".join(f"{count:,} {name}" for name, count in zip(STATUS, counts.sum(axis=0), strict=True) if count))
    missing = len(now.directory.boxes) - len(found.stored)
    _say(
        f"shards: {len(found.stored):,} of {len(now.directory.boxes):,} stored, {missing:,} missing"
        + (f" ({len(found.partial):,} partly filled)" if missing else "")
        + f", {len(found.bad):,} damaged"
    )
    for path, reason in found.bad.items():
        _say(f"damaged: {path}: {reason}")
    if now.progress is not None and missing:
        seconds, share = now.progress["seconds"], now.progress["share"]
        rate = now.progress["member_steps"] / max(seconds, 1e-9)
        left = f", about {seconds * (1 - share) / share:,.0f} s left" if share > 0 else ""
        _say(f"this run: {seconds:,.0f} s, {rate:,.0f} member-steps/s{left}")
    table = Table(*study.axes, *STATUS)
    for point, row in list(zip(study.points, counts, strict=True))[:_MOST_ROWS]:
        table.add_row(*(str(v) for v in point.labels.values()), *(f"{n:,}" if n else "" for n in row))
    console.print(table)
    if len(study.points) > _MOST_ROWS:
        _say(f"and {len(study.points) - _MOST_ROWS:,} more cells")


@app.command("collect")
def collect_command(directory: RunFolder, file: Annotated[Path, typer.Argument(metavar="FILE.nc")]) -> None:
    """Write a run directory's dataset as one compressed netCDF4 file."""
    with _errors_said():
        collect(directory, file)
    _say(f"dataset: {file} ({file.stat().st_size / 2**20:,.1f} MiB)")


@app.command("reproduce")
def reproduce_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a netCDF file of gd-atlas or a run directory")],
    member: Annotated[str, typer.Option(metavar="AXIS=v,…,seed=n", help="the member's labels")],
) -> None:
    """Run one member again from a file alone, and compare every variable bit for bit."""
    with _errors_said():
        labels = dict(_split(part) for part in member.split(","))
        found = reproduce(file, labels)
    said = ", ".join(f"{name} = {value}" for name, value in found.labels.items())
    same = found.variables - len(found.different)
    _say(f"{said}: {same} of {found.variables} variables are bit for bit the same (engine: {found.engine})")
    for name, size in found.different.items():
        _say(f"  {name}: differs by up to {size:.3g}")
    if found.different:
        raise typer.Exit(1)


@app.command()
def show(study: StudyFile, seeds: Seeds = None, only: Only = None) -> None:
    """Show a study: resolved fields, number of members, estimated work."""
    resolved = _load(study, seeds, only)
    console.print_json(data=resolved.resolved())
    table = Table("axis", "points", "values", title=f"{resolved.name}: {resolved.question}")
    for name, axis in resolved.axes.items():
        table.add_row(name, str(len(axis.values)), ", ".join(str(v) for v in axis.values))
    console.print(table)
    for group in groups(resolved):
        shape = group.shape
        _say(
            f"program: m = {shape.width}, m* = {shape.teacher_neurons}, rows of {shape.inputs} coordinates, "
            f"{shape.activation.name}, {len(group.cells)} cells"
        )
    _say(_size_line(resolved))


def _say(text: str) -> None:
    """Plain text, never wrapped: lines stay whole in logs."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _size_line(study: Study) -> str:
    steps = study.seeds * sum(study.member_cap(p.cell) for p in study.points)
    pairs = study.seeds * sum(study.member_cap(p.cell) * _pairs(p.cell) for p in study.points)
    return (
        f"{study.members:,} members ({len(study.points):,} cells × {study.seeds:,} seeds), at most "
        f"{steps:,} member-steps, {pairs:.3g} neuron pairs"
    )


def _pairs(cell) -> int:
    return cell.student.width * (cell.student.width + cell.teacher.shape()[0])


def _load(path: Path, seeds: int | None, only: list[str] | None) -> Study:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", StudyWarning)
        try:
            study = Study.from_toml(path)
            if only:
                study = study.only(**{name: values for name, values in (_parse_only(study, o) for o in only)})
            if seeds is not None:
                study = study.replace(seeds=seeds)
        except StudyError as error:
            _fail(error)
    for text in dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, StudyWarning)):
        _say(f"warning: {text}")
    return study


def _split(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not value:
        raise StudyError(f"--member: got {text!r}; write AXIS=value,…,seed=number")
    return name.strip(), value.strip()


def _parse_only(study: Study, text: str) -> tuple[str, list[Scalar]]:
    name, separator, values = text.partition("=")
    if not separator or not values:
        raise StudyError(f"--only: got {text!r}; write AXIS=v1,v2")
    known = study.axes[name].values if name in study.axes else ()
    return name, [_parse_value(value, known) for value in values.split(",")]


def _parse_value(text: str, known: tuple[Scalar, ...]) -> Scalar:
    """The axis's own value that the text writes, else the text."""
    for value in known:
        if str(value) == text:
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                if float(text) == float(value):
                    return value
            except ValueError:
                continue
    return text


@contextlib.contextmanager
def _errors_said() -> Iterator[None]:
    """Ends the command with a message where a user can mend what went wrong."""
    try:
        yield
    except (StudyError, SchemaError, StoreError, EngineError, OSError) as error:
        _fail(error)


def _fail(error: Exception) -> NoReturn:
    Console(stderr=True).print(f"error: {error}", highlight=False, markup=False, soft_wrap=True, style="red")
    raise typer.Exit(2)


if __name__ == "__main__":
    app()
