"""What is said of a study that cannot be run: one line an error, with field, value received and way out."""

import difflib
from collections.abc import Iterator

from pydantic import ValidationError

from ..dynamics.protocols import PROTOCOLS
from ..parts import REGISTRY, Part, Spec


class StudyError(ValueError):
    """A study that cannot be run as written; the message names the field, the value and the way out."""


class StudyWarning(UserWarning):
    """A study that can be run, but hardly means what it says."""


def messages(error: ValidationError) -> list[str]:
    """One line an error: the field's path, the value received, what would be right."""
    lines: list[str] = []
    for item in error.errors():
        # The names of union members (`tuple[…]`, `literal[…]`) are no part of the path that a user wrote.
        where = ".".join(str(p) for p in item["loc"] if str(p).isidentifier() or str(p).isdigit())
        if item["type"] == "value_error":
            own = str(item["ctx"]["error"]).split("\n") if "ctx" in item else [item["msg"]]
            lines += [_placed(where, line) for line in own]
            continue
        message = item["msg"][0].lower() + item["msg"][1:]
        if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            lines.append(f"{where}: unknown field{suggestion(str(item['loc'][-1]), _field_names())}")
        elif item["type"] in ("missing", "missing_keyword_only_argument"):
            lines.append(f"{where}: is missing; this field is required")
        else:
            received = repr(item["input"])
            received = received if len(received) <= 80 else received[:77] + "..."
            lines.append(f"{where}: got {received}; {message}")
    return lines


def _placed(where: str, line: str) -> str:
    """A line that begins with the field inside `where`, or with what was received for `where` itself."""
    if not where:
        return line
    return f"{where}: {line}" if line.startswith("got ") else f"{where}.{line}"


def suggestion(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(set(known)))}"


def _field_names() -> list[str]:
    def leaves(spec: type[Spec]) -> Iterator[str]:
        yield from spec.model_fields
        for inner in spec.__subclasses__():
            if not issubclass(inner, Part):
                yield from leaves(inner)

    parts = (
        n
        for of_role in REGISTRY.values()
        for p in of_role.values()
        if hasattr(p, "model_fields")
        for n in p.model_fields
    )
    arguments = (n for f in PROTOCOLS.values() for n in f.__annotations__ if n != "return")
    return sorted({*leaves(Spec), *parts, *arguments})
