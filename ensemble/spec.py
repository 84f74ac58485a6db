"""The base of every part of a study: a frozen, self-validating pydantic model.

A part's numeric fields may be *traced*: replaced by JAX values inside a compiled program, so that one
program serves every value of them. What is not traced is static and chooses the program.
"""

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A validated, immutable description of one part of a study."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    traced: ClassVar[tuple[str, ...]] = ()
    """Names of the fields that a compiled program takes as arguments."""

    elsewhere: ClassVar[tuple[str, ...]] = ()
    """Names of fields that neither choose the program nor are its arguments: what they say comes in another way."""

    def static_key(self) -> str:
        """A text that is equal for two specs exactly when one compiled program serves both."""
        shapes = {name: _shape(getattr(self, name)) for name in self.traced}
        return f"{type(self).__name__}:{self.model_dump_json(exclude={*self.traced, *self.elsewhere})}:{shapes}"

    def numbers(self) -> dict[str, Any]:
        """The traced fields, by name."""
        return {name: getattr(self, name) for name in self.traced}

    def with_numbers(self, numbers: dict[str, Any]) -> Self:
        """This spec with traced fields replaced; nothing is validated, so values may be tracers."""
        return self.model_copy(update=numbers)


def _shape(value: Any) -> tuple[int, ...]:
    """The shape of nested tuples of numbers."""
    return (len(value), *_shape(value[0])) if isinstance(value, tuple) and value else ()
