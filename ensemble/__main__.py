"""The command line of the simulator: `python -m ensemble run STUDY --out DIR`, `python -m ensemble show STUDY`."""

import sys
import warnings
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from . import Study, StudyError, open_dataset, run
from .engine import EngineError
from .members import groups
from .progress import ProgressShow
from .store import STATUS, SchemaError, status_line
from .study import Scalar, StudyWarning

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
console = Console()

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="study file (TOML)")]
Seeds = Annotated[int | None, typer.Option(help="seeds a cell, instead of the study's")]
Only = Annotated[list[str] | None, typer.Option(metavar="AXIS=v1,v2", help="restrict an axis; may be repeated")]


@app.command("run")
def run_command(
    study: StudyFile,
    out: Annotated[Path, typer.Option(help="directory for the dataset")],
    seeds: Seeds = None,
    only: Only = None,
    overwrite: Annotated[bool, typer.Option(help="replace a dataset of another study in --out")] = False,
) -> None:
    """Run a study into a dataset; a partial dataset of the same study is completed."""
    resolved = _load(study, seeds, only)
    _say(f"{resolved.name}: {resolved.question or 'no question stated'}")
    _say(_size_line(resolved))
    try:
        with ProgressShow(console) as show:
            ds = run(resolved, out, on_progress=show.update, overwrite=overwrite)
    except StudyError as error:
        _fail(error)
    except KeyboardInterrupt:
        with open_dataset(out) as ds:
            done = int((ds["status"] >= STATUS["converged"]).sum())
        _say(f"interrupted: {done:,} of {resolved.members:,} members are finished and kept in {out}")
        _say("the same command goes on from there")
        raise typer.Exit(130) from None
    if not show.reports:
        _say(f"{out} holds this study's complete dataset already; nothing was run")
    with ds:
        _say(f"{status_line(ds)}; {ds.attrs['wall_time']:.1f} s, lane efficiency {ds.attrs['lane_efficiency']:.1%}")
    _say(f"dataset: {out}")


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


def _fail(error: StudyError | SchemaError) -> NoReturn:
    Console(stderr=True).print(f"error: {error}", highlight=False, markup=False, style="red")
    raise typer.Exit(2)


def main() -> None:
    """The entry point; errors that a user can mend end with a message instead of a traceback."""
    try:
        app()
    except (SchemaError, EngineError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", highlight=False, markup=False, style="red")
        sys.exit(2)


if __name__ == "__main__":
    main()
