"""Specs: validated, immutable descriptions, of which a study is made.

A spec says more of what it refuses than pydantic does: an unknown field gets the nearest known one, and a text or a
truth value is no number, whatever it says.
"""

import difflib
import functools
import math
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

Count = Annotated[int, Field(gt=0, le=2**53)]
"""A number of things: a float that is computed of it still counts."""
Whole = Annotated[int, Field(ge=0, le=2**53)]
"""Such a number that may be none, or the place of a thing among others."""


class Spec(BaseModel):
    """A validated, immutable description of one part of a study."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _said(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(data, Mapping):
            return handler(data)
        own = dict(_unknown(cls, data)) | dict(_no_numbers(cls, data))
        try:
            made = handler(data)
        except ValidationError as error:
            if not own:
                raise
            others = [_again(item) for item in error.errors() if item["loc"][:1] not in {(name,) for name in own}]
            raise _error(cls, [*own.values(), *others]) from None
        if own:
            raise _error(cls, list(own.values()))
        return made

    def numbers(self) -> dict[str, Any]:
        """The fields that are floats or nested tuples of them, by name; those of parts inside it as a table."""
        found = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Spec):
                found |= {name: inner} if (inner := value.numbers()) else {}
            elif _is_specs(value):
                inner = {str(place): of for place, part in enumerate(value) if (of := part.numbers())}
                found |= {name: inner} if inner else {}
            elif _is_number(value):
                found[name] = value
        return found

    def with_numbers(self, numbers: Mapping[str, Any]) -> Self:
        """This spec with numbers replaced; nothing is validated, so that values may be tracers."""
        update = {}
        for name, value in numbers.items():
            own = getattr(self, name)
            if isinstance(own, Spec):
                value = own.with_numbers(value)
            elif _is_specs(own):
                value = tuple(part.with_numbers(value.get(str(place), {})) for place, part in enumerate(own))
            update[name] = value
        return self.model_copy(update=update)

    def structure(self) -> Self:
        """This spec with every number 0: equal, and of equal hash, for two specs that one program serves."""
        return self.with_numbers(_zeroed(self.numbers()))

    def __hash__(self) -> int:
        return hash((type(self), self.model_dump_json()))

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)


# -- units ---------------------------------------------------------------------------------------------

RADIANS = Field(json_schema_extra={"units": "rad"})
"""Of a field's type that is an angle: `Annotated[float, RADIANS]`."""
STEPS = Field(json_schema_extra={"units": "step"})
"""Of one that counts steps."""


def units_of(field: FieldInfo) -> str:
    """What a field says of its units; "1" where it says nothing."""
    extra = field.json_schema_extra
    return str(extra.get("units", "1")) if isinstance(extra, Mapping) else "1"


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, tuple) and bool(value) and all(map(_is_number, value)))


def not_finite(value: Any, path: str) -> tuple[str, float] | None:
    """(path, value) of the first number in nested tables and lists that is not finite: a file does not keep it."""
    if isinstance(value, float) and not math.isfinite(value):
        return path, value
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    found = (not_finite(one, f"{path}.{name}") for name, one in inner)
    return next((other for other in found if other is not None), None)


def _is_specs(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(part, Spec) for part in value)


def _zeroed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _zeroed(inner) for name, inner in value.items()}
    return tuple(map(_zeroed, value)) if isinstance(value, tuple) else 0.0


# -- what is refused -------------------------------------------------------------------------------------


def nearest(name: Any, known: Iterable[Any]) -> str:
    """The end of a message about an unknown name: the known one that is most like it, if any is."""
    close = difflib.get_close_matches(str(name), [str(other) for other in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def unknown_field(name: Any, known: Iterable[str]) -> str:
    """What is said of a field that does not exist: the nearest one, else those there are."""
    known = list(known)
    close = nearest(name, known) or f"; known are {', '.join(known)}"
    return f"{in_path(name)}: unknown field{close}"


def in_path(name: Any) -> str:
    """A field's name as it stands in a path: quoted and shortened where it is no name of a field."""
    return str(name) if str(name).isidentifier() and len(str(name)) <= MOST_SHOWN else shortened(name)


def printable(text: str) -> str:
    """A text that a file keeps as it is.

    **Raises:** `ValueError` for one with a NUL, which ends a text in a netCDF file.
    """
    if "\0" in text:
        raise ValueError(f"got {shortened(text)}; a label has no NUL character")
    return text


MOST_SHOWN = 80
"""Characters that a message shows of a value."""


def shortened(value: Any) -> str:
    """A value as it is shown in a message."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return "a number of thousands of digits"
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def no_number(annotation: Any, value: Any) -> str | bool | None:
    """The text or truth value in `value` where `annotation` takes numbers alone; None where there is none."""
    kinds = _kinds(annotation)
    if isinstance(value, list | tuple):
        inner = [get_args(kind)[0] for kind in kinds if get_origin(kind) is tuple]
        found = (no_number(inner[0], one) for one in value if inner)
        return next((other for other in found if other is not None), None)
    alone = all(kind in (int, float, type(None)) or get_origin(kind) is tuple for kind in kinds)
    return value if alone and isinstance(value, str | bool) else None


@functools.cache
def _kinds(annotation: Any) -> tuple[Any, ...]:
    """The types that a field's type is one of."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return tuple(kind for inner in get_args(annotation) for kind in _kinds(inner))
    return (annotation,)


def _unknown(cls: type[Spec], data: Mapping[Any, Any]) -> Iterator[tuple[Any, InitErrorDetails]]:
    if cls.model_config.get("extra") != "forbid":
        return
    for name in data:
        if name not in cls.model_fields:
            yield name, _detail((), unknown_field(name, cls.model_fields), data[name])


def _no_numbers(cls: type[Spec], data: Mapping[Any, Any]) -> Iterator[tuple[Any, InitErrorDetails]]:
    for name, field in cls.model_fields.items():
        if name in data and (other := no_number(field.annotation, data[name])) is not None:
            yield name, _detail((name,), refusal_of(other), data[name])


def refusal_of(other: str | bool) -> str:
    """What is said of a text or a truth value in place of a number."""
    return f"got {shortened(other)}; give a number, not a {'text' if isinstance(other, str) else 'truth value'}"


def _detail(place: tuple[str, ...], message: str, value: Any) -> InitErrorDetails:
    kind = PydanticCustomError("value_error", "{error}", {"error": message})
    return InitErrorDetails(type=kind, loc=place, input=value)


def _again(item: Any) -> InitErrorDetails:
    """An error as it was, of which another is made."""
    if item["type"] == "value_error":
        return _detail(item["loc"], str(item["ctx"]["error"]), item["input"])
    details = InitErrorDetails(type=item["type"], loc=item["loc"], input=item["input"])
    return details | {"ctx": item["ctx"]} if "ctx" in item else details  # pyright: ignore[reportReturnType]


def _error(cls: type[Spec], details: list[InitErrorDetails]) -> ValidationError:
    return ValidationError.from_exception_data(cls.__name__, details)
