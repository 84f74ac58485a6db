"""The words of the command line: what every command says, how it takes labels, and how errors of the library sound.

The library names arguments, such as `at` or `overwrite=True`; here they become the options that give them.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperCommand

from .engine import EngineError
from .launch import status
from .spec import nearest
from .store import FINISHED, STATUS, SchemaError, StoreError
from .study import Study, StudyError, StudyWarning
from .study.files import parsed

console = Console()

At = Annotated[
    list[str] | None,
    typer.Option(metavar="AXIS=v1,v2", help="only these values of an axis (or `seed`, of one member); may be repeated"),
]
Json = Annotated[bool, typer.Option("--json", help="the table as JSON, with every digit")]
Csv = Annotated[bool, typer.Option("--csv", help="the table as CSV, with every digit")]
Overwrite = Annotated[bool, typer.Option(help="replace a file that gd-atlas did not write")]

_NEW_WORDS = {"--only": "{}", "--member": "{}", "--seed": "seed={}"}
"""Options of earlier versions, as values of `--at`."""


def say(text: str, aside: bool = False) -> None:
    """Plain text, never wrapped: lines stay whole in logs. `aside`: on the error stream, beside a program's table."""
    (Console(stderr=True) if aside else console).print(text, highlight=False, markup=False, soft_wrap=True)


class Command(TyperCommand):
    """A command that ends with a message where a user can mend what went wrong, and that knows options' old names."""

    errors: tuple[type[Exception], ...] = (StudyError, SchemaError, StoreError, EngineError, OSError)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if any(parameter.name == "at" for parameter in self.params):
            args = _in_new_words(args)
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            choice = re.search(r"'([^']*)' is not one of (.+)", error.message)
            if choice is not None:
                error.message = error.message.rstrip(".") + nearest(choice[1], re.findall(r"'([^']*)'", choice[2]))
            raise

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # whoever reads the output has had enough of it
        except MemoryError as error:
            fail(f"memory: there is not enough of it{f': {error}' if str(error) else ''}; run a smaller study")
        except self.errors as error:
            options = {p.name: p.opts[0] for p in self.params if p.opts[0].startswith("--")}
            fail(in_options(str(error), options))


def fail(message: str) -> NoReturn:
    """Ends a command."""
    Console(stderr=True).print(f"error: {message}", highlight=False, markup=False, soft_wrap=True, style="red")
    raise typer.Exit(2)


def in_options(message: str, options: Mapping[str, str]) -> str:
    """A message of the library in the words of a command with these options, by the argument that each gives."""
    field, colon, rest = message.partition(": ")
    if colon and field in options:
        message = f"{options[field]}: {rest}"
    message = re.sub(r"\b(\w+)=True\b", lambda m: options.get(m[1], m[0]), message)
    open_axis = re.search(r"the axis '(\w+)' is open", message)
    return f"{message}: --at {open_axis[1]}=VALUE" if open_axis and "at" in options else message


def _in_new_words(args: list[str]) -> list[str]:
    """The arguments with options of earlier versions as `--at`; each is said once."""
    found: list[str] = []
    rest = iter(args)
    for arg in rest:
        old, equals, value = arg.partition("=")
        if old not in _NEW_WORDS:
            found.append(arg)
            continue
        value = value if equals else next(rest, "")
        # One `--member` had all labels of a member, with commas between them.
        parts = value.split(",") if old == "--member" else [value]
        new = [word for part in parts for word in ("--at", _NEW_WORDS[old].format(part))]
        say(f"note: {old} is --at now: {' '.join(new)}", aside=True)
        found += new
    return found


def texts_at(at: Sequence[str] | None) -> dict[str, list[str]]:
    """The texts that `--at AXIS=v1,v2` gives for every axis: one for each time that it was named.

    **Raises:** `StudyError` for anything else.
    """
    found: dict[str, list[str]] = {}
    for text in at or []:
        name, separator, values = (part.strip() for part in text.partition("="))
        if not (name and separator and values):
            raise StudyError(f"at: got {text!r}; write AXIS=v1,v2")
        found.setdefault(name, []).append(values)
    return found


def values_of(texts: Sequence[str], known: Sequence[Any]) -> list[Any]:
    """The known values that texts with commas name, each once; what they name beside them stays a text."""
    found: list[Any] = []
    for text in texts:
        whole = _value_of(text, known)  # a label may have commas itself
        parts = [text] if whole is not None else [part.strip() for part in text.split(",")]
        found += [part if (value := _value_of(part, known)) is None else value for part in parts]
    return list(dict.fromkeys(found))


def _value_of(text: str, known: Sequence[Any]) -> Any:
    for value in known:
        if str(value) == text or (isinstance(value, bool) and str(value).lower() == text.lower()):
            return value
    try:
        number = float(text)
    except ValueError:
        return None
    numbers = (v for v in known if isinstance(v, int | float) and not isinstance(v, bool))
    return next((v for v in numbers if float(v) == number), None)


def study_at(study: Study, at: Sequence[str] | None) -> Study:
    """The study at the values that `--at` gives.

    **Raises:** `StudyError` for an axis or a value that it does not have.
    """
    kept = {}
    for name, texts in texts_at(at).items():
        if name == "seed":
            raise StudyError("at: got seed; a study has seeds 0, 1, …: say with --seeds how many of them")
        if name not in study.axes:
            axes = ", ".join(study.axes) or "none"
            raise StudyError(f"at: got the axis {name!r}; the study's axes are {axes}{nearest(name, study.axes)}")
        kept[name] = values_of(texts, study.axes[name].values)
    return study.only(**kept) if kept else study


def load(path: Path, seeds: int | None, at: Sequence[str] | None, fields: Sequence[str] | None = None) -> Study:
    """The study of a file with `fields` (`PATH=VALUE`), at some values and with other seeds; its warnings are said.

    **Raises:** `StudyError`.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", StudyWarning)
        study = study_at(Study.from_toml(path, dict(map(parsed, fields or ()))), at)
        if seeds is not None:
            study = study.replace(seeds=seeds)
    for text in dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, StudyWarning)):
        say(f"warning: {text}", aside=True)
    return study


def interrupted(out: Path) -> typer.Exit:
    """Says what is kept of a run that was stopped; the exit of a command that was."""
    counts = status(out).counts.sum(axis=0)
    say(
        f"interrupted: {counts[FINISHED:].sum():,} of {counts.sum():,} members are finished and kept in {out}, "
        f"{counts[STATUS['running']]:,} in flight"
    )
    say("the same command goes on from there")
    return typer.Exit(130)
