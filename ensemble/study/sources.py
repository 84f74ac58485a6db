"""Files of a user's own parts: imported before a study is read, known by the digest of their text."""

import contextlib
import importlib.util
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ..parts import (
    PROMPT,
    REGISTRY,
    digest,
    is_own,
    register,
    registered_of,
    registering,
    running,
    source_file,
    source_text,
)
from ..spec import Spec
from .errors import StudyError


class PartSource(Spec):
    """A file of parts, and the digest of the text that it had."""

    file: str
    """Its name, or a path from the study file's folder."""
    folder: str = ""
    """Where that is; no part of a study's identity."""
    digest: str = ""


_FOLDER = "gd_atlas_parts"
"""The package that files of parts are said to be in; there is none."""
_provided: dict[str, str] = {}
"""Texts of files that are not here, by digest."""


@contextlib.contextmanager
def provided(texts: Mapping[str, str]) -> Iterator[None]:
    """Inside it, a file of parts that is not on this machine may be one of these texts, by digest."""
    _provided.update(texts)
    try:
        yield
    finally:
        for name in texts:
            _provided.pop(name, None)


def texts_of(sources: Iterable[PartSource]) -> tuple[tuple[str, str], ...]:
    """(digest, text) of the files of a study's own parts."""
    files = [(source.digest, Path(source.folder) / source.file) for source in sources]
    return tuple((known, path.read_text(encoding="utf-8")) for known, path in files if path.is_file())


def load(entries: Any, folder: Path) -> list[dict[str, Any]]:
    """Imports the files that a study names, and returns them as tables with their digests.

    **Raises:** `StudyError` for a file that is not there, that raises when it is imported, or whose text is no longer
    the one that the study was made with; it says where the file was looked for.
    """
    if not isinstance(entries, list | tuple):
        raise StudyError(f'parts: got {entries!r}; give a list of files, such as ["my_parts.py"]')
    found, taken = [], {}
    for entry in entries:
        with registering() as parts:
            found.append(_load_one(entry, folder))
        for role, name, _ in parts:
            if (before := taken.setdefault((role, name), found[-1]["file"])) != found[-1]["file"]:
                raise StudyError(f"parts: {before} and {found[-1]['file']} both have the {role} {name!r}; rename one")
    return found


def _load_one(entry: Any, folder: Path) -> dict[str, Any]:
    source = entry if isinstance(entry, PartSource) else None
    if source is None:
        table = {"file": entry} if isinstance(entry, str) else entry
        if not isinstance(table, dict) or not isinstance(table.get("file"), str):
            raise StudyError(f"parts: got {entry!r}; give the name of a Python file")
        source = PartSource.model_validate(table)
    if source.file.startswith(PROMPT):
        return _from_prompt(source)
    places = [Path(place) / source.file for place in dict.fromkeys((source.folder or str(folder), str(folder), "."))]
    for path in places:
        if path.is_file():
            text = _text_of(path)
            if source.digest and digest(text) != source.digest:
                raise StudyError(
                    f"parts: {path} has changed since: its digest was {source.digest[:12]}… and is "
                    f"{digest(text)[:12]}…; "
                    "bring the old text back, or run the study into another directory"
                )
            _import(path.resolve(), text)
            absolute = Path(source.file).is_absolute()
            home = path.resolve().parents[0 if absolute else len(Path(source.file).parts) - 1]
            return {"file": source.file, "folder": str(home), "digest": digest(text)}
    if source.digest in _provided:
        path = Path(tempfile.mkdtemp(prefix="gd-atlas-parts-")) / Path(source.file).name
        path.write_text(_provided[source.digest], encoding="utf-8")
        _import(path, _provided[source.digest])
        return source.model_dump()
    looked = ", ".join(str(path.resolve()) for path in places)
    raise StudyError(f"parts: got {source.file!r}, which is not there; it was looked for at {looked}")


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise StudyError(
            f"parts: {path} cannot be imported: its byte {error.start} is no UTF-8; save the file as UTF-8"
        ) from error


def _from_prompt(source: PartSource) -> dict[str, Any]:
    """A part that was registered in a running session and has no file: it must be registered here, too."""
    for _, part in _own_parts():
        if _named(part) == source.file and (not source.digest or digest(source_text(part)) == source.digest):
            return source.model_dump()
    name = source.file.removeprefix(PROMPT)
    raise StudyError(
        f"parts: {name} was registered in a running session and is not known here (digest {source.digest[:12]}…); "
        "put it into a "
        'file and name that file in the study: parts = ["my_parts.py"]'
    )


def _import(path: Path, text: str) -> None:
    """Imports a file of parts, or registers again those of one that this process ran before and that did not change."""
    known = registered_of(path, digest(text))
    if known is not None:
        for part in known:
            register(part)
        return
    name = f"{_FOLDER}.{path.stem}_{digest(str(path))[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "a path of a Python file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with running(path, digest(text)):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a file that ends the process would do so without a word
        del sys.modules[name]
        said = f"parts: {path} cannot be imported: {type(error).__name__}: {error}"
        raise StudyError(said + _beside(path, error)) from error


def _beside(path: Path, error: BaseException) -> str:
    """What helps where a file of parts wants another one beside it, whose text no digest would be of."""
    first = error.name.partition(".")[0] if isinstance(error, ModuleNotFoundError) and error.name else ""
    is_there = first and any((path.parent / name).exists() for name in (first, f"{first}.py"))
    if not is_there and first != _FOLDER:  # of which a relative import would be
        return ""
    return (
        "; a file of parts is one file, which alone is kept with the study and sent to workers: put into it what it "
        "imports from beside it, or make that an installed package"
    )


def used(parts: Iterable[BaseModel | Any], known: Iterable[PartSource]) -> list[PartSource]:
    """The sources of those of the parts that are a user's own: those that the study names, and others by themselves."""
    found = {source.file: source for source in known}
    files = {(Path(s.folder) / s.file).resolve() for s in found.values()}
    for part in (p for outer in parts if outer is not None for p in _with_inner(outer)):
        if is_own(part):
            continue
        file = source_file(part)
        if file is not None and file.resolve() in files:
            continue
        name = _named(part)
        folder = "" if file is None else str(file.resolve().parent)
        found.setdefault(name, PartSource(file=name, folder=folder, digest=digest(source_text(part))))
    return list(found.values())


def _named(part: Any) -> str:
    """The file's name; of a part without one, its own qualified name."""
    file = source_file(part)
    cls = part if isinstance(part, type) else type(part)
    return f"{PROMPT}{cls.__qualname__}" if file is None else file.name


def _own_parts() -> Iterator[tuple[str, Any]]:
    for of_role in REGISTRY.values():
        yield from ((name, part) for name, part in of_role.items() if not is_own(part))


def _with_inner(part: Any) -> Iterator[Any]:
    """A part and what is inside it: parts, and specs that hold such, as the terms of a sum do."""
    yield part
    for name in type(part).model_fields if isinstance(part, Spec) else ():
        inner = getattr(part, name)
        for held in inner if isinstance(inner, tuple) else (inner,):
            if isinstance(held, Spec):
                yield from _with_inner(held)
