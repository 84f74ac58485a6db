"""Units of fields: an axis over a field has those that the field's own part says."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic.fields import FieldInfo

from ..dynamics.protocols import PROTOCOLS
from ..dynamics.stages import Stage
from ..parts import Part, held, kinds
from ..problem.students import AbstractStudent
from ..problem.teachers import AbstractTeacher
from ..spec import units_of

DEFAULT_STUDENT = "two_layer"
"""The kind of a student that says none."""
_ROOTS: dict[str, tuple[type[Part], str | None]] = {
    "teacher": (AbstractTeacher, None),
    "student": (AbstractStudent, DEFAULT_STUDENT),
}
"""What a table of a study holds, and the kind of one that says none."""


def field_units(path: str, data: Mapping[str, Any]) -> str:
    """The units of the field at a path (`student.start.distance`) of a study's tables; "1" where it says none.

    Where the part there has no such field (an axis changes its kind), those that all parts with this field agree on.
    """
    root, *parents, name = path.split(".") if "." in path else (path, "")
    if root == "protocol":
        return _of_protocol(parents, name, data.get(root))
    if root not in _ROOTS:
        return "1"
    base, kind = _ROOTS[root]
    return _of_part(base, kind, data.get(root), parents, name)


def _of_part(base: type[Part], default: str | None, value: Any, parents: Sequence[str], name: str) -> str:
    known, said = kinds(base), _kind(value) or default
    parts = [known[said]] if said in known else list(known.values())
    if parents:
        inner, *parents = parents
        bases = {found for part in parts if (found := held(part, inner)) is not None}
        defaults = {_kind(part.model_fields[inner].default) for part in parts if inner in part.model_fields}
        value = value.get(inner) if isinstance(value, Mapping) else getattr(value, inner, None)
        if len(bases) != 1:
            return "1"
        return _of_part(bases.pop(), defaults.pop() if len(defaults) == 1 else None, value, parents, name)
    having = [part for part in parts if name in part.model_fields] or known.values()
    return _agreed({units_of(part.model_fields[name]) for part in having if name in part.model_fields})


def _of_protocol(parents: Sequence[str], name: str, value: Any) -> str:
    if parents[:1] == ["stages"]:
        return units_of(Stage.model_fields[name]) if len(parents) == 2 and name in Stage.model_fields else "1"
    if parents:
        return "1"
    known, said = {kind: inspect.signature(build).parameters for kind, build in PROTOCOLS.items()}, _kind(value)
    builds = [known[said]] if said in known and name in known[said] else known.values()
    return _agreed({units_of(FieldInfo.from_annotation(build[name].annotation)) for build in builds if name in build})


def _agreed(units: set[str]) -> str:
    return units.pop() if len(units) == 1 else "1"


def _kind(value: Any) -> str | None:
    """The kind that a part, a table or a name says."""
    said = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", value)
    return said if isinstance(said, str) else None
