"""What is said of a study that cannot be run: one line an error, with field, value received and way out."""

import contextlib
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from pydantic import ValidationError

from ..spec import nearest, shortened


def an(kind: str) -> str:
    """`a two_layer`, `an attention`: the name of a part in a sentence."""
    return f"an {kind}" if kind[:1] in "aeiou" else f"a {kind}"


class StudyError(ValueError):
    """A study that cannot be run as written; the message names the field, the value and the way out."""


class StudyWarning(UserWarning):
    """A study that can be run, but hardly means what it says."""


_told: ContextVar[bool] = ContextVar("told", default=False)
_INSIDE = (__name__.partition(".")[0], "pydantic", "contextlib")
"""Packages through which whoever makes a study makes it."""


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Inside it, studies are made without a warning: they are copies of one of which it was said, or are stored."""
    token = _told.set(True)
    try:
        yield
    finally:
        _told.reset(token)


def is_told() -> bool:
    """Whether studies are made without a warning."""
    return _told.get()


def warn(said: str) -> None:
    """Warns at the line that made the study."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        level, frame = level + 1, frame.f_back
    warnings.warn(said, StudyWarning, stacklevel=level)


_SCALARS = ("str", "int", "float", "bool")
_WORDS = {"a valid tuple": "a list", "a valid dictionary": "a table", " or instance of Stage": ""}
"""pydantic's words, and those of a study file."""


def messages(error: ValidationError) -> list[str]:
    """One line an error: the field's path, the value received, what would be right."""
    lines: list[str] = []
    ways: dict[tuple[str, str], list[str]] = {}
    places = [item["loc"] for item in error.errors()]
    for item in error.errors():
        # A list whose items are refused is too short as well, which says nothing of what to mend.
        size = len(item["loc"])
        if item["type"] == "too_short" and any(len(p) > size and p[:size] == item["loc"] for p in places):
            continue
        where = _path(item["loc"])
        if item["type"] == "value_error":
            own = str(item["ctx"]["error"]).split("\n") if "ctx" in item else [item["msg"]]
            lines += [_placed(where, line) for line in own]
        elif item["type"] in ("missing", "missing_keyword_only_argument"):
            lines.append(f"{where}: is missing; this field is required")
        else:
            # A field that may be one of several types has an error of each.
            ways.setdefault((where, shortened(item["input"])), []).append(_way(item))
    lines += [f"{where}: got {received}; {_joined(way)}" for (where, received), way in ways.items()]
    return list(dict.fromkeys(lines))  # a study is validated by its `__init__` inside `model_validate`: said twice


def _path(places: Iterable[int | str]) -> str:
    """The path that a user wrote: the names of union members (`tuple[…]`, `literal[…]`, `int`) are no part of it."""
    found = [str(place) for place in places]
    if len(found) > 1 and found[-1] in _SCALARS:
        found.pop()
    return ".".join(place for place in found if place.isidentifier() or place.isdigit())


def _way(item: Mapping[str, Any]) -> str:
    message = item["msg"][0].lower() + item["msg"][1:]
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    return message


def _joined(ways: list[str]) -> str:
    first, *others = dict.fromkeys(ways)
    return ", or ".join([first, *(way.removeprefix("input should ") for way in others)])


def _placed(where: str, line: str) -> str:
    """A line that begins with the field inside `where`, or with what was received for `where` itself."""
    if not where:
        return line
    return f"{where}: {line}" if line.startswith("got ") else f"{where}.{line}"


def suggestion(name: str, known: list[str]) -> str:
    """The nearest known name; where none is near, all there are."""
    return nearest(name, known) or f"; known are {', '.join(sorted(set(known)))}"
