"""Identity: which text is which study.

A study is what its text says, and its text never changes once it is stored: fields that a later version adds, with
whatever defaults, are no part of it. The words of a study, its name and its question, say nothing of its members.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

WORDS = ("name", "question")
"""Fields that are no part of a study's identity."""


def text_of(table: Mapping[str, Any]) -> str:
    """A study's table as the text that is stored."""
    return json.dumps(table, ensure_ascii=False)


def identity(text: str) -> str:
    """SHA-256 of a study's text without its words.

    The order of its axes belongs to it, because members are numbered by it; the order of other fields does not.
    """
    table = {name: value for name, value in json.loads(text).items() if name not in WORDS}
    if table.get("parts"):
        table["parts"] = digests(table["parts"])
    axes = table.get("axes")
    return _digest(table | {"axes": list(axes.items())} if isinstance(axes, dict) else table)


def digests(parts: Any) -> Any:
    """The files of a user's parts with their digests: where they lie is no part of a study's identity."""
    return {str(part["file"]): part["digest"] for part in parts}


def identity_before(text: str) -> str:
    """The identity that versions up to 0.1.0 gave a study: with its words, and without the order of its axes."""
    return _digest(json.loads(text))


def is_identity(text: str, value: str) -> bool:
    """Whether `value` is a study's identity, as this or an earlier version gives it."""
    return value in (identity(text), identity_before(text))


def with_words(text: str, other: str) -> str:
    """A study's text with the words of another."""
    table, words = json.loads(text), json.loads(other)
    kept = {name: value for name, value in table.items() if name not in WORDS}
    return text_of({name: words[name] for name in WORDS if name in words} | kept)


def _digest(table: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(table, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
