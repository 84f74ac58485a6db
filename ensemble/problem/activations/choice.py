"""How an activation is chosen: by its name, or by a table with its `kind` and its numbers."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from ...parts import is_lenient, lookup
from ...spec import shortened, unknown_field
from .base import AbstractActivation
from .series import AbstractSeries


def activation(name: str | AbstractActivation | Mapping[str, Any]) -> AbstractActivation:
    """The activation of a name or a table; an `AbstractActivation` is returned as it is.

    **Raises:** `ValueError` for an unknown name or field, a field without a value, and a value that it refuses.
    """
    if isinstance(name, AbstractActivation):
        return name
    try:
        return _of(name)
    except ValueError as error:
        raise ValueError(f"activation: {error}") from None


def _of(name: Any) -> AbstractActivation:
    if not isinstance(name, Mapping):
        found = lookup("activation", name)
        if needed := _fields(found, needed=True):
            example = f'{{kind = "{name}", {needed[0]} = …}}'
            raise ValueError(f"got {name!r} without {' and '.join(needed)}; give a table, {example}")
        return found
    table = {k: v for k, v in name.items() if k != "kind"}
    if "kind" not in name:
        raise ValueError("kind: is missing; give a name, or a table with its `kind` and fields")
    found: Any = lookup("activation", name["kind"])
    fields = _fields(found)
    for key in table:
        if key not in fields:
            said = unknown_field(key, fields) if fields else f"{key}: unknown field; {name['kind']} has none"
            raise ValueError(said)
    for key in _fields(found, needed=True):
        if key not in table:
            raise ValueError(f"{key}: is missing; {name['kind']} needs it")
    values = {key: _plain(value) for key, value in table.items()}
    for field in dataclasses.fields(found):
        if field.type is float and field.name in values and not isinstance(values[field.name], float):
            raise ValueError(f"{field.name}: got {shortened(table[field.name])}; give a number")
    return type(found)(**values) if values else found


def _fields(sigma: AbstractActivation, needed: bool = False) -> list[str]:
    """The fields of an activation's class; only those without a default where they are `needed`."""
    missing = dataclasses.MISSING
    return [
        f.name
        for f in dataclasses.fields(sigma)
        if not needed or (f.default is missing and f.default_factory is missing)
    ]


def _plain(value: Any) -> Any:
    """A value as an activation holds it, which must be hashable: numbers as floats, lists as tuples."""
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def checked(sigma: AbstractActivation) -> AbstractActivation:
    """An activation whose kernel has the error that it states.

    **Raises:** `ValueError` where it has not.
    """
    if isinstance(sigma, AbstractSeries):
        sigma.check()
    return sigma


def chosen_activation(value: Any) -> Any:
    """A field's value, checked: a name stays a name, a table becomes the activation that it describes.

    **Raises:** `ValueError` as `activation` and `checked` do.
    """
    if is_lenient():
        return value
    if isinstance(value, AbstractActivation):
        return checked(value)
    if not isinstance(value, str | Mapping):
        raise ValueError(f"got {shortened(value)}; give a name, or a table with its `kind` and fields")
    sigma = checked(_of(value))
    return value if isinstance(value, str) else sigma


def said(value: Any) -> Any:
    """A field's value as a study's text has it."""
    if not isinstance(value, AbstractActivation):
        return value
    fields = {name: getattr(value, name) for name in _fields(value)}
    return {"kind": value.name} | {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}


def largest_norm(sigma: AbstractActivation) -> float:
    """The largest ‖w‖ that an activation's kernel serves."""
    return sigma.largest_norm if isinstance(sigma, AbstractSeries) else math.inf
