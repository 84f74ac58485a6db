"""Drafts of study files: a few choices become a commented file that is a study already.

What is not chosen has a value that makes a small, sensible study; every field that a part has beside is there as a
comment, with its default.
"""

import inspect
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from ..dynamics.protocols import PROTOCOLS
from ..parts import REGISTRY, choices
from ..problem.activations import ACTIVATIONS
from ..spec import Spec
from .errors import StudyError, told
from .files import parsed, set_value
from .study import Study
from .units import DEFAULT_STUDENT

_USUAL: dict[str, dict[str, Any]] = {
    "teacher": {
        "kind": "separated_pairs",
        "activation": "abs_centred",
        "neurons": 4,
        "inputs": 16,
        "separation": 0.8,
        "rank": 8,
        "task_angle": 0.8,
        "singular_values": [3.0, 2.0, 1.0],
        "outputs": 5,
        "filters": {"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 3},
        "width": 8,
        "patches": 2,
        "network": {"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 4},
        "biases": 0.5,
        "heads": 2,
        "tokens": 4,
        "token_inputs": 4,
    },
    "student": {"neurons": 16, "width": 8, "heads": 2},
    "protocol": {"kind": "halving_decay", "order": [0, 1, 2, 3]},
}
"""What a part is given where it asks for it and nothing was chosen."""
_SAMPLES = 200
_SHOWN = 14
"""Names that a comment lists of those there are."""


def draft(name: str, chosen: Mapping[str, Any], question: str = "") -> str:
    """The text of a study file.

    **Arguments:** `name`: the study's; `chosen`: values by path, as `{"teacher.kind": "orthonormal", "seeds": 8}`;
    `question`: one sentence.

    **Raises:** `StudyError` where what was chosen is no study, by field.
    """
    table: dict[str, Any] = {"question": question or "what …?", "seeds": 20, "records": 30}
    for path, value in chosen.items():
        set_value(table, path, value)
    _fill(table)
    with told():  # who runs the file is
        Study(**(table | {"name": name}))
    question = str(table["question"])
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    lines = [*_head(name, question), ""]
    lines += [f"{_key(key)} = {inline(value)}{_SAYS.get(key, '')}" for key, value in plain.items()]
    lines += [line for key, line in _BESIDE.items() if key not in table]
    for place in ("teacher", "student", "protocol", "data", "axes"):
        if place in table:
            lines += ["", *_section(place, table[place])]
    return "\n".join([*lines, *([] if "axes" in table else _NO_AXES)]) + "\n"


QUESTIONS = {
    "student.kind": "student",
    "teacher.kind": "teacher",
    "teacher.activation": "activation",
    "teacher.neurons": "teacher neurons",
    "teacher.inputs": "inputs d",
    "student.neurons": "student neurons",
    "student.width": "width of the student's layers",
    "protocol.kind": "protocol",
    "protocol.weight_decay": "weight decay",
    "seeds": "seeds a cell",
}
"""What somebody may be asked, by path, in an order in which what was answered decides what is asked."""


def usual(chosen: Mapping[str, Any], path: str) -> Any:
    """The value of a field where it is not chosen; None where the parts that are chosen have no such field."""
    table: dict[str, Any] = {"seeds": 20}
    for other, value in chosen.items():
        set_value(table, other, value)
    _fill(table)
    place, _, name = path.rpartition(".")
    part = table if not place else table[place]
    if name == "kind":
        return part.get("kind", DEFAULT_STUDENT)
    return part.get(name, None if not place else dict(_fields(place, part.get("kind", DEFAULT_STUDENT))).get(name))


def axis_of(text: str) -> tuple[str, list[Any]]:
    """(name, values) of `NAME=v1,v2`; values are TOML, or else texts.

    **Raises:** `StudyError` where there is no `=`.
    """
    name, sign, values = (part.strip() for part in text.partition("="))
    if not (name and sign and values):
        raise StudyError(f"axis: got {text!r}; write FIELD=v1,v2, as in weight_decay=0.0,0.01")
    _, whole = parsed(f"{name}=[{values}]")
    return name, whole if isinstance(whole, list) else [parsed(f"{name}={value}")[1] for value in values.split(",")]


def refuse_existing(path: Path) -> None:
    """**Raises:** `StudyError` where there is something already."""
    if os.path.lexists(path):
        raise StudyError(f"file: got {path}, which exists; take another name, or remove it first")


def write_new(path: Path, text: str) -> None:
    """Writes a new file.

    **Raises:** `StudyError` where there is one already, or it cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        refuse_existing(path)
    except OSError as error:
        raise StudyError(f"file: got {path}, which cannot be written: {error}; take another place") from None


def inline(value: Any) -> str:
    """A value as TOML in one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {inline(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inline, value)) + "]"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)


def _key(name: str) -> str:
    return name if name.replace("_", "").isalnum() and name.isascii() else json.dumps(name, ensure_ascii=False)


_SAYS = {
    "seeds": "          # members a cell: seeds 0, 1, …",
    "records": "        # log-spaced steps at which probes are kept",
}
_BESIDE = {
    "probes": '# probes = ["loss"]      # what is measured; without this line the usual probes of such a student',
    "store_weights": "# store_weights = true   # final weights: for families, features, pictures of neurons",
}
_NO_AXES = [
    "",
    "# [axes]                 # any number of a part, or several fields together (docs/studies.md); none: one cell",
    "# weight_decay = [0.0, 0.01, 0.1]",
]


def _head(name: str, question: str) -> list[str]:
    return [
        f"# {name}",
        "#",
        f"# Asks: {question}",
        "# Expect: … (what theory says, before it is run)",
        "# Fields and their defaults: docs/studies.md. What is commented out has the value that stands there.",
    ]


def _fill(table: dict[str, Any]) -> None:
    """Gives every part its kind and what it asks for."""
    for place in ("student", "teacher", "protocol"):
        part = table.setdefault(place, {})
        if not isinstance(part, dict):
            raise StudyError(f"{place}: got {part!r}; give its fields, as in {place}.kind=…")
        usual, kind = _USUAL[place], part.get("kind") or _usual_kind(place, table)
        if place != "student" or "kind" in part:
            table[place] = part = {"kind": kind} | part
        for name, default in _fields(place, kind):
            if default is PydanticUndefined and name in usual:
                # A centred activation has no Hermite degrees that only a normal preactivation has.
                part.setdefault(name, "relu" if name == "activation" and _needs_samples(table) else usual[name])
    if _needs_samples(table):
        table.setdefault("data", {"samples": _SAMPLES})


def _needs_samples(table: dict[str, Any]) -> bool:
    """Whether the student's population risk has no closed form."""
    student = REGISTRY["student"].get(table["student"].get("kind", DEFAULT_STUDENT))
    return student is not None and not student.exact


def _usual_kind(place: str, table: dict[str, Any]) -> str:
    """The kind that a part has where none was chosen: a teacher that the student can learn from."""
    student = table["student"].get("kind", DEFAULT_STUDENT)
    if place == "student":
        return DEFAULT_STUDENT
    learns = getattr(REGISTRY["student"].get(student), "learns", object)
    usual = _USUAL["teacher"]["kind"]
    if issubclass(REGISTRY["teacher"][usual], learns):
        return _USUAL[place]["kind"]
    if place == "protocol":
        return "plain"
    return next(name for name, part in REGISTRY["teacher"].items() if issubclass(part, learns))


def _fields(place: str, kind: Any) -> Iterator[tuple[str, Any]]:
    """(name, default) of the fields of a part of some kind; none where there is no such kind."""
    if place == "protocol":
        build = PROTOCOLS.get(kind) if isinstance(kind, str) else None
        for name, parameter in inspect.signature(build).parameters.items() if build else ():
            yield name, PydanticUndefined if parameter.default is parameter.empty else parameter.default
        return
    part = REGISTRY[place].get(kind) if place in REGISTRY and isinstance(kind, str) else None
    for name, field in part.model_fields.items() if part else ():
        if name != "kind":
            yield name, field.default


def _section(place: str, part: Mapping[str, Any]) -> Iterator[str]:
    yield f"[{place}]"
    kind = part.get("kind", DEFAULT_STUDENT if place == "student" else None)
    if place == "student" and "kind" not in part:
        yield f'# kind = "{kind}"{_others(place, kind, "kind", kind)}'
    for name, value in part.items():
        yield f"{_key(name)} = {inline(value)}{_others(place, kind, name, value)}"
    for name, default in _fields(place, kind):
        shown = _shown(default)
        if name not in part and shown is not None:
            yield f"# {name} = {shown}{_others(place, kind, name, default)}"


def _shown(default: Any) -> str | None:
    """A default as TOML; None for one that a file cannot say."""
    if isinstance(default, Spec):
        default = default.model_dump(mode="json", exclude_none=True)
        default = default["kind"] if list(default) == ["kind"] else default
    return None if default is None or default is PydanticUndefined else inline(default)


def _others(place: str, kind: Any, name: str, value: Any) -> str:
    """A comment with the other names that a field may have."""
    mine = getattr(value, "kind", value)
    known: Iterable[str] = ()
    if name == "kind":
        known = PROTOCOLS if place == "protocol" else REGISTRY.get(place, {})
    elif name == "activation":
        known = ACTIVATIONS
    elif place in ("teacher", "student") and kind in REGISTRY[place]:
        known = choices(REGISTRY[place][kind], name)
    elif name in ("update", "penalty"):
        known = REGISTRY[name]
    names = [one for one in known if one != mine][:_SHOWN]
    return f"    # or {', '.join(names)}" if names else ""
