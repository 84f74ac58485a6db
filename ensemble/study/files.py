"""Tables that studies are validated from: study files, in TOML and with fields set to other values; stored texts."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..spec import nearest, shortened
from .errors import StudyError

_PLACES = ("teacher", "student", "protocol", "data", "axes")


def table_of(path: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The table of a study file, which is named after its file where it has no name.

    **Arguments:** `fields`: values by path (`protocol.weight_decay`, `seeds`) in place of the file's.

    **Raises:** `StudyError` that names the file, or the path that leads nowhere.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path}: no such study file; the studies that ship are in studies/") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot be read: {error}") from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, lists inside lists
        raise StudyError(f"{path}: is not valid TOML: {error}") from None
    data.setdefault("name", path.stem)
    for place, value in fields.items():
        set_value(data, place, value)
    return data


def table_of_text(text: str) -> dict[str, Any]:
    """The table that a dataset holds as text.

    **Raises:** `StudyError` where it is none.
    """
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StudyError(f"study: is not valid JSON: {error}") from None
    if not isinstance(table, dict):
        raise StudyError(f"study: got {text[:40]!r}; the text of a study is a JSON table")
    return table


def parsed(text: str) -> tuple[str, Any]:
    """(path, value) of `PATH=VALUE`; a value is TOML, or else a text.

    **Raises:** `StudyError` where there is no `=`.
    """
    path, sign, value = text.partition("=")
    path = path.strip()
    if not sign or not path:
        raise StudyError(f"got {shortened(text)}; write FIELD=VALUE, as in protocol.weight_decay=0.1")
    try:
        return path, tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError, KeyError):
        return path, value.strip()


def set_value(data: dict[str, Any], path: str, value: Any) -> None:
    """Sets one field of a study's table.

    **Raises:** `StudyError` where the path leads through what is no table.
    """
    *parents, last = path.split(".")
    place: Any = data
    for i, key in enumerate(parents):
        if i == 0 and key not in _PLACES:
            raise StudyError(f"{path}: is no field; a path begins with {', '.join(_PLACES)}{nearest(key, _PLACES)}")
        inner = place.setdefault(key, {})
        if isinstance(inner, str):  # a part by its name alone
            inner = place[key] = {"kind": inner}
        if not isinstance(inner, dict):
            raise StudyError(f"{path}: leads through {'.'.join(parents[: i + 1])}, which is {shortened(inner)}")
        place = inner
    place[last] = value
