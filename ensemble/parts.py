"""Parts: what a study is composed of, and the one registry that knows them all.

A part is a frozen, self-validating pydantic model with a `kind`, under which a study names it, and a role: teacher,
student, start, update, penalty or schedule. Activations and probes have roles too, and are named by their `name`. What
a part says in floats are *numbers*: rows of a compiled program, so that one program serves every value of them and an
axis over one compiles nothing. All else is its structure, which chooses the program.
"""

import abc
import contextlib
import functools
import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin

from pydantic import BeforeValidator, ConfigDict, SerializeAsAny

from .spec import Spec, nearest, shortened


class Part(Spec, abc.ABC):
    """A spec that a study names by its `kind`; a subclass gives `kind: Literal["its_name"] = "its_name"`."""

    role: ClassVar[str]
    kind: Any
    """A text, which a subclass fixes."""


REGISTRY: dict[str, dict[str, Any]] = {}
"""Every part by role and name: classes of parts, instances of activations and probes."""

_registered: ContextVar[list[tuple[str, str, Any]]] = ContextVar("registered", default=[])  # noqa: B039 (never read)


_of_texts: dict[tuple[Path, str], dict[tuple[str, str], Any]] = {}
"""Users' parts that were registered, by the file that defines them and the digest of the text that it then had."""


def registered_of(file: Path, known: str) -> tuple[Any, ...] | None:
    """The parts that this process registered as it ran a file whose text has this digest; None where it did not run it.
    A script, or a module that was imported elsewhere, is such a file, too."""
    found = _of_texts.get((file.resolve(), known))
    return None if found is None else tuple(found.values())


@contextlib.contextmanager
def running(file: Path, known: str) -> Iterator[None]:
    """Inside it, a file is run whose text has this digest; where that fails, nothing that it registered counts."""
    key = (file.resolve(), known)
    _of_texts[key] = {}
    try:
        yield
    except BaseException:
        del _of_texts[key]
        raise


@contextlib.contextmanager
def registering() -> Iterator[list[tuple[str, str, Any]]]:
    """Gathers (role, name, part) of what is registered inside it."""
    found: list[tuple[str, str, Any]] = []
    token = _registered.set(found)
    try:
        yield found
    finally:
        _registered.reset(token)


Registered = TypeVar("Registered")


def register(part: Registered) -> Registered:
    """Makes a part known to studies, under its role and name; works as a decorator of a class.

    **Arguments:** a concrete subclass of `AbstractTeacher`, `AbstractStudent`, `AbstractStart`, `AbstractUpdate` or
    `AbstractPenalty`, whose field `kind` has its name as the default; or a concrete subclass (or an instance) of
    `AbstractActivation` or `AbstractProbe`, named by `name`.

    **Returns:** what it was given. A part of one's own that has the name of another one of one's own replaces it.

    **Raises:** `TypeError` for anything else, for an abstract class, and for one without an attribute that its base
    only declares; `ValueError` for a name of the package's own.
    """
    cls: Any = part if inspect.isclass(part) else type(part)
    role = getattr(cls, "role", None)
    if role is None or getattr(cls, "__abstractmethods__", None):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise TypeError(
            f"register: got {cls.__name__}, which is no concrete part"
            + (f": it lacks {missing}" if missing else "; subclass AbstractTeacher, AbstractPenalty, … of ensemble")
        )
    if issubclass(cls, Part):
        name, value = cls.model_fields["kind"].default, cls
    else:
        value = cls() if inspect.isclass(part) else part
        name = getattr(value, "name", None)
    if not isinstance(name, str) or not name:
        raise TypeError(
            f"register: got {cls.__name__} without a name; give its field `kind` (or `name`) a default text"
        )
    for attribute, type_ in _declared(cls):
        _check_attribute(value, attribute, type_)
    known = REGISTRY.setdefault(role, {}).get(name)
    if known is not None and is_own(known) and not is_own(value):
        raise ValueError(
            f"register: the {role} {name!r} of {source_file(value)} has the name of the package's own; rename it"
        )
    _registered.get().append((role, name, part))
    if not is_own(value) and (file := source_file(value)) is not None:
        _of_texts.setdefault((file.resolve(), digest(source_text(value))), {})[role, name] = part
    REGISTRY[role][name] = value
    return part


def _declared(cls: type) -> Iterator[tuple[str, Any]]:
    """The class attributes that the package says a part has, and their types."""
    for base in filter(is_own, cls.__mro__):
        for name, annotation in inspect.get_annotations(base).items():
            if get_origin(annotation) is ClassVar:
                yield name, *get_args(annotation)


def _check_attribute(part: Any, name: str, type_: Any) -> None:
    """**Raises:** `TypeError` where a part lacks a class attribute, or where that is none of the few that it may be."""
    may_be = get_args(type_) if get_origin(type_) is Literal else (True, False) if type_ is bool else ()
    if hasattr(part, name):
        value = getattr(part, name)
        if not may_be or value in may_be or isinstance(value, property):
            return
        said = f"with {name} = {shortened(value)}"
    else:
        said = f"without {name}"
    cls = part if inspect.isclass(part) else type(part)
    wanted = " or ".join(map(repr, may_be)) or f"a {'text' if type_ is str else type_.__name__}"
    raise TypeError(f"register: got {cls.__name__} {said}; give the class the attribute {name}, which is {wanted}")


def lookup(role: str, name: Any) -> Any:
    """The part of a role that has a name.

    **Raises:** `ValueError` that lists the names there are.
    """
    known = REGISTRY.get(role, {})
    if not isinstance(name, str) or name not in known:
        raise ValueError(_unknown(role, name, known))
    return known[name]


def _unknown(role: str, name: Any, known: Mapping[str, Any]) -> str:
    return f"got {shortened(name)}; known {_plural(role)} are {', '.join(known)}{nearest(name, known)}"


def _plural(role: str) -> str:
    return {"penalty": "penalties", "inputs": "inputs"}.get(role, f"{role}s")


P = TypeVar("P", bound=Part)


def chosen(base: type[P], default: str | None = None) -> Any:
    """The type of a field that holds a part of a role: a table with its `kind`, its name alone, or the part itself.

    `default` is the kind of a table that says none.
    """
    held: Any = SerializeAsAny[base | UnknownPart]  # pyright: ignore[reportOperatorIssue]
    return Annotated[held, BeforeValidator(functools.partial(_parsed, base, default))]


def held(part: type[Part], name: str) -> type[Part] | None:
    """What the part that a field of a part holds must be; None where the field holds no part."""
    for found in part.model_fields[name].metadata if name in part.model_fields else ():
        parse = getattr(found, "func", None)
        if isinstance(parse, functools.partial) and parse.func is _parsed:
            return parse.args[0]
    return None


def kinds(base: type[Part]) -> dict[str, type[Part]]:
    """The registered parts that are of a base, by their kinds."""
    return {kind: known for kind, known in REGISTRY.get(base.role, {}).items() if issubclass(known, base)}


def choices(part: type[Part], name: str) -> list[str]:
    """The kinds that a field of a part may name; none where the field holds no part."""
    base = held(part, name)
    return [] if base is None else list(kinds(base))


_lenient: ContextVar[bool] = ContextVar("lenient", default=False)


@contextlib.contextmanager
def lenient() -> Iterator[None]:
    """Inside it, a part that is not known is kept as the table that it is: a dataset can be read without its parts."""
    token = _lenient.set(True)
    try:
        yield
    finally:
        _lenient.reset(token)


def is_lenient() -> bool:
    """Whether parts that are not known are kept as tables."""
    return _lenient.get()


class UnknownPart(Part):
    """A part that could not be imported: what it says, and nothing that it does."""

    model_config = ConfigDict(extra="allow")

    kind: str


def _parsed(base: type[Part], default: str | None, value: Any) -> Any:
    if isinstance(value, Part):
        return value
    role, known = base.role, kinds(base)
    table = {"kind": value} if isinstance(value, str) else value
    if not isinstance(table, Mapping):
        article = "an" if role[0] in "aeiou" else "a"
        raise ValueError(
            f"got {shortened(value)}; give the name of {article} {role}, or a table with its `kind` and fields"
        )
    kind = table.get("kind", default)
    if kind is None:
        raise ValueError(f"kind: is missing; {_plural(role)} are {', '.join(known)}")
    if isinstance(kind, str) and kind in known:
        return known[kind].model_validate(table)
    if is_lenient() and isinstance(kind, str):
        return UnknownPart.model_validate(table)
    raise ValueError(f"kind: {_unknown(role, kind, known)}")


# -- where a part comes from -------------------------------------------------------------------------

_PACKAGE = __name__.partition(".")[0]


def source_file(part: Any) -> Path | None:
    """The file that defines a part; None where there is none (a part typed into a prompt)."""
    cls = part if inspect.isclass(part) else type(part)
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    return None if file is None else Path(file)


def is_own(part: Any) -> bool:
    """Whether a part is this package's own, and not a user's."""
    cls = part if inspect.isclass(part) else type(part)
    return cls.__module__.partition(".")[0] == _PACKAGE


PROMPT = "<prompt>:"
"""What the name of a source begins with that is no file."""


def source_text(part: Any) -> str:
    """The text of the file that defines a part; of a part without one, its own source or, failing that, its name."""
    file = source_file(part)
    if file is not None and file.is_file():
        return file.read_text(encoding="utf-8")
    cls = part if inspect.isclass(part) else type(part)
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):
        return cls.__qualname__


def digest(text: str) -> str:
    """SHA-256 of a source."""
    return hashlib.sha256(text.encode()).hexdigest()
