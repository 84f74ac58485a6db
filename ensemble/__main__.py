"""The command line of the simulator: `python -m ensemble run STUDY --out DIR`, and what goes with it.

`gd-atlas`, the command of the installed package, has these and the commands of the analysis.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import jax
import pandas as pd
import typer

from . import Study, StudyError, collect, lengthen, run
from .console import At, Command, Csv, Json, console, interrupted, load, say, texts_at
from .engine import ENGINES
from .launch import SECONDS_BETWEEN_KEEPS, reproduce, status, timing
from .memory import collect_seldom
from .plan import groups
from .problem.students import TwoLayerStudent
from .progress import ProgressShow
from .store import STATUS, status_line
from .study import Cell
from .study.draft import QUESTIONS, axis_of, draft, refuse_existing, usual, write_new
from .study.files import parsed
from .tables import Column, Form, tell

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="study file (TOML)")]
Fields = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FIELD=VALUE]…", help="fields instead of the file's, such as protocol.weight_decay=0.1"),
]
Seeds = Annotated[int | None, typer.Option(help="seeds a cell, instead of the study's")]
RunFolder = Annotated[Path, typer.Argument(metavar="DIR", help="run directory")]

_MOST_ROWS = 60
"""Cells that `status` lists on a console."""


@app.command("run", cls=Command)
def run_command(
    study: Annotated[
        Path, typer.Argument(metavar="STUDY", help="study file (TOML); with --more-steps a finished run directory")
    ],
    out: Annotated[Path, typer.Option(help="run directory for the dataset")],
    fields: Fields = None,
    seeds: Seeds = None,
    at: At = None,
    more_steps: Annotated[
        int | None, typer.Option(metavar="STEPS", help="so many more for the members of a finished run, into --out")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="replace what --out holds")] = False,
    keep_every: Annotated[
        float, typer.Option(min=0.1, help="seconds of work that a kill may lose at most")
    ] = SECONDS_BETWEEN_KEEPS,
    engine: Annotated[
        str, typer.Option(metavar="|".join(ENGINES), help="the kernel that advances members (docs/architecture.md)")
    ] = "auto",
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS|local|slurm", help="run on a Dask cluster (docs/running.md)")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="workers, for --dask local and slurm")] = None,
    tls_ca: Annotated[Path | None, typer.Option(help="certificate authority of a tls:// scheduler")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="this client's certificate")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="this client's key")] = None,
) -> None:
    """Run a study into a directory; what it holds already is verified and not computed again."""
    if more_steps is not None:
        _refuse_beside_more_steps({"fields": fields, "seeds": seeds, "at": at, "dask": dask})
        resolved, compute = None, partial(lengthen, study, more_steps, keep_every=keep_every)
    else:
        resolved = load(study, seeds, at, fields)
        say(f"{resolved.name}: {resolved.question or 'no question stated'}")
        say(_size_line(resolved))
        compute = partial(run, resolved, keep_every=keep_every)
    with ProgressShow(console) as show:
        try:
            if dask is None or resolved is None:
                ds = compute(out=out, on_progress=show.update, say=say, overwrite=overwrite, engine=engine)
            else:
                from .launch.cluster import connected, run_on_cluster  # distributed is imported only where it is used

                with connected(dask, workers, tls_ca, tls_cert, tls_key) as client:
                    compute = partial(run_on_cluster, resolved, client=client)
                    ds = compute(out=out, on_progress=show.update, say=say, overwrite=overwrite, engine=engine)
        except KeyboardInterrupt:
            show.close()
            raise interrupted(out) from None
    if not show.reports:
        say(f"{out} holds this study's complete dataset already; nothing was run")
    with ds:
        say(f"{status_line(ds)}; {ds.attrs['wall_time']:.1f} s, lane efficiency {ds.attrs['lane_efficiency']:.1%}")
    say(f"dataset: {out}")


def _refuse_beside_more_steps(given: dict[str, object]) -> None:
    """**Raises:** `StudyError` where something else of a study is said beside its steps."""
    for name, value in given.items():
        if value:
            raise StudyError(
                f"{name}: got {value!r} beside more steps, which are of the members that a run has; leave it out"
            )


@app.command("status", cls=Command)
def status_command(directory: RunFolder, as_json: Json = False, as_csv: Csv = False) -> None:
    """Say how far a run is: members by status and cell, rate, time left, shards; never disturbs the run."""
    form = Form.of(as_json, as_csv)
    now = status(directory)
    study, found, counts = now.directory.study, now.found, now.counts
    missing = len(now.directory.boxes) - len(found.stored)
    frame = pd.DataFrame(counts, columns=list(STATUS))
    if study.axes:
        places = [tuple(point.labels.values()) for point in study.points]
        frame.index = pd.MultiIndex.from_tuples(places, names=list(study.axes))
    if form is not Form.text:
        facts = {"study": study.name, "state": now.state, "shards": len(now.directory.boxes), "missing": missing}
        tell(frame, [], form, facts | {"damaged": [str(path) for path in found.bad]}, console)
        return
    say(f"{directory}: {study.name}: {now.state}")
    say(", ".join(f"{count:,} {name}" for name, count in zip(STATUS, counts.sum(axis=0), strict=True) if count))
    say(
        f"shards: {len(found.stored):,} of {len(now.directory.boxes):,} stored, {missing:,} missing"
        + (f" ({len(found.partial):,} partly filled)" if missing else "")
        + f", {len(found.bad):,} damaged"
    )
    for path, reason in found.bad.items():
        say(f"damaged: {path}: {reason}")
    if now.progress is not None and missing:
        seconds, share = now.progress.seconds, now.progress.share
        rate = now.progress.member_steps / max(seconds, 1e-9)
        left = f", about {seconds * (1 - share) / share:,.0f} s left" if share > 0 else ""
        say(f"this run: {seconds:,.0f} s, {rate:,.0f} member-steps/s{left}")
    # A status that no member has is no column.
    columns = [Column(name, name, "{:,}") for name, column in zip(STATUS, counts.T, strict=True) if column.any()]
    tell(frame.head(_MOST_ROWS), columns, form, {}, console)
    if len(frame) > _MOST_ROWS:
        say(f"and {len(frame) - _MOST_ROWS:,} more cells; --csv lists all of them")


@app.command("collect", cls=Command)
def collect_command(
    directory: RunFolder,
    file: Annotated[Path, typer.Argument(metavar="FILE.nc")],
    overwrite: Annotated[bool, typer.Option(help="replace a file that this command did not write")] = False,
) -> None:
    """Write a run directory's dataset as one compressed netCDF4 file."""
    collect(directory, file, overwrite)
    say(f"dataset: {file} ({file.stat().st_size / 2**20:,.1f} MiB)")


@app.command("reproduce", cls=Command)
def reproduce_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a netCDF file of gd-atlas or a run directory")],
    at: Annotated[
        list[str], typer.Option(metavar="AXIS=VALUE", help="a label of the member, `seed` too; once for each axis")
    ],
) -> None:
    """Run one member again from a file alone, and compare every variable bit for bit."""
    found = reproduce(file, {name: ",".join(texts) for name, texts in texts_at(at).items()})
    said = ", ".join(f"{name} = {value}" for name, value in found.labels.items())
    same = found.variables - len(found.different)
    say(f"{said}: {same} of {found.variables} variables are bit for bit the same (engine: {found.engine})")
    for name, size in found.different.items():
        say(f"  {name}: differs by up to {size:.3g}")
    if found.different:
        raise typer.Exit(1)


@app.command(cls=Command)
def show(
    study: StudyFile,
    fields: Fields = None,
    seeds: Seeds = None,
    at: At = None,
    time: Annotated[
        bool, typer.Option("--time", help="also run a few members of every program, to say how long all take here")
    ] = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Show a study: every field as TOML, number of members, work and, with --time, seconds on this machine."""
    form = Form.of(as_json, as_csv)
    resolved = load(study, seeds, at, fields)
    rows = {name: [len(axis.values), ", ".join(map(str, axis.values))] for name, axis in resolved.axes.items()}
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["points", "values"]).rename_axis("axis")
    facts = {"study": resolved.resolved(), "members": resolved.members, "cells": len(resolved.points)}
    found = timing(resolved) if time else None
    if found is not None:
        facts["seconds"] = {name: getattr(found, name) for name in ("low", "high", "compilation", "is_bound")}
    if form is Form.text:
        say(resolved.to_toml())
    if not tell(frame, [Column("points", "points"), Column("values", "values", folds=True)], form, facts, console):
        return
    for group in groups(resolved):
        for pool in group.pools:
            leaves = jax.tree_util.tree_leaves_with_path(pool.like.moving.model)
            arrays = ", ".join(f"{jax.tree_util.keystr(path).lstrip('.')} {leaf.shape}" for path, leaf in leaves)
            say(f"program: {pool.program.update.kind} on {arrays}; {len(group.cells)} cells")
    say(_size_line(resolved))
    say(f"seconds: {found}" if found else "seconds: --time runs a few members of every program to say")


@app.command(cls=Command)
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="the study file to write, which does not exist yet")],
    fields: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FIELD=VALUE]…", help="what is chosen, such as seeds=8 teacher.inputs=50"),
    ] = None,
    question: Annotated[str, typer.Option(help="one sentence: what the study asks")] = "",
    teacher: Annotated[str | None, typer.Option(metavar="KIND", help="short for teacher.kind=KIND")] = None,
    student: Annotated[str | None, typer.Option(metavar="KIND", help="short for student.kind=KIND")] = None,
    protocol: Annotated[str | None, typer.Option(metavar="KIND", help="short for protocol.kind=KIND")] = None,
    axis: Annotated[list[str] | None, typer.Option(metavar="FIELD=v1,v2", help="an axis; may be repeated")] = None,
    ask: Annotated[bool | None, typer.Option(help="ask for the rest; by default where nothing is chosen")] = None,
) -> None:
    """Write a commented study file: small, complete, to be changed; the other fields of its parts stand in it, too."""
    refuse_existing(file)
    chosen = dict(map(parsed, fields or ()))
    for name, kind in (("student", student), ("teacher", teacher), ("protocol", protocol)):
        chosen |= {} if kind is None else {f"{name}.kind": kind}
    chosen |= {f"axes.{name}": values for name, values in map(axis_of, axis or ())}
    if ask is None:
        ask = not chosen and sys.stdin.isatty()
    if ask:
        question = question or typer.prompt("what does the study ask?", default="what …?")
        for path, words in QUESTIONS.items():
            default = usual(chosen, path)
            if path not in chosen and default is not None:
                _, chosen[path] = parsed(f"{path}={typer.prompt(words, default=str(default))}")
        while line := typer.prompt("an axis, FIELD=v1,v2 (nothing: no more)", default="", show_default=False):
            name, values = axis_of(line)
            chosen[f"axes.{name}"] = values
    write_new(file, draft(file.stem, chosen, question))
    say(f"study: {file}; `gd-atlas show {file}` says what it will cost, `gd-atlas run {file} --out DIR` runs it")


def _size_line(study: Study) -> str:
    steps = study.seeds * sum(study.member_cap(p.cell) for p in study.points)
    line = f"{study.members:,} members ({len(study.points):,} cells × {study.seeds:,} seeds), at most "
    line += f"{steps:,} member-steps"
    cells = [p.cell for p in study.points]
    if not all(isinstance(cell.student, TwoLayerStudent) for cell in cells):
        return line
    pairs = study.seeds * sum(study.member_cap(cell) * _pairs(cell) for cell in cells)
    return f"{line}, {pairs:.3g} neuron pairs"


def _pairs(cell: Cell) -> int:
    return cell.student.width * (cell.student.width + cell.teacher.shape()[0])


if __name__ == "__main__":
    collect_seldom()
    app()
