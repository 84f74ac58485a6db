"""The manifest: what a run directory is to compute, as a typed model with its own checksum, kept twice.

Version 1 had no checksum and no copy; it is checked as far as it can be, and becomes version 2 with
the next run.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from ..study.identity import is_identity, text_of
from .files import open_plain, replace_file, text_writer
from .schema import StoreError

LAYOUT_VERSION = 2
MANIFEST = "manifest.json"
COPY = "manifest.copy.json"
"""The same text, written first: it is taken over where the manifest is damaged."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class GenerationEntry(_Part):
    """A study that a directory was asked for, and the boxes that it added to those before it."""

    study: dict[str, Any]
    """The text of the study, parsed: it is stored as it was read, never as today's version would write it."""
    study_hash: str
    earlier_hashes: tuple[str, ...] = ()
    """Identities under which earlier versions, or earlier words, wrote shards of the same study."""
    boxes: tuple[tuple[tuple[tuple[int, int], ...], ...], ...]

    @property
    def text(self) -> str:
        return text_of(self.study)


class SessionEntry(_Part):
    """What one run of the command cost, and what it ran on."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)
    __pydantic_extra__: dict[str, str | int | float]  # pyright: ignore[reportIncompatibleVariableOverride]  # as pydantic has it

    wall_time: float = Field(ge=0)
    engine: str
    member_steps: NonNegativeInt
    lane_steps: NonNegativeInt


class Manifest(_Part):
    """The manifest of a run directory."""

    layout_version: int = Field(ge=1, le=LAYOUT_VERSION)
    generations: tuple[GenerationEntry, ...] = Field(min_length=1)
    sessions: tuple[SessionEntry, ...]
    checksum: str | None = None

    WAY_OUT: ClassVar[str] = (
        "the shards beside it are whole: bring back a copy of the manifest, or run the study into another directory"
    )

    @classmethod
    def read(cls, folder: Path) -> tuple[Self, str | None]:
        """The manifest of a directory, and what is wrong with the first of its two files where the second is taken.

        **Raises:** `FileNotFoundError` where there is none; `StoreError` where neither can be used, and where the first
        is of a newer version.
        """
        try:
            return cls._read(folder / MANIFEST), None
        except (FileNotFoundError, _DamagedError) as error:
            reason = str(error) if isinstance(error, _DamagedError) else f"{folder / MANIFEST}: is missing"
            try:
                return cls._read(folder / COPY), reason
            except (FileNotFoundError, StoreError):
                if isinstance(error, FileNotFoundError) and not (folder / COPY).exists():
                    raise
            raise StoreError(f"{reason}; {cls.WAY_OUT}") from None

    @classmethod
    def _read(cls, file: Path) -> Self:
        try:
            with open_plain(file) as opened:
                data = json.loads(opened.read())
            version = data["layout_version"]
            if isinstance(version, int) and version > LAYOUT_VERSION:
                raise StoreError(
                    f"{file}: got layout_version {version}, this version of gd-atlas reads up to {LAYOUT_VERSION}; "
                    f"update gd-atlas, or put {COPY} in its place where the number is damage"
                )
            manifest = cls.model_validate_json(json.dumps(data))
            if manifest.layout_version > 1 and manifest.checksum != checksum(data):
                raise ValueError("its checksum is wrong")
            for entry in manifest.generations:
                if not is_identity(entry.text, entry.study_hash):
                    raise ValueError("study_hash: does not belong to the stored study")
        except FileNotFoundError:
            raise
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise _DamagedError(f"{file}: cannot be read: {where}: {first['msg']}") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise _DamagedError(f"{file}: cannot be read: {str(error) or type(error).__name__}") from None
        return manifest

    @staticmethod
    def is_kept_twice(folder: Path) -> bool:
        """Whether both files say the same."""
        try:
            with open_plain(folder / MANIFEST) as first, open_plain(folder / COPY) as second:
                return first.read() == second.read()
        except OSError:
            return False

    def write(self, folder: Path) -> None:
        """Writes both files, the copy first: it is never older than the manifest."""
        data = self.model_dump(mode="json", exclude={"checksum"})
        text = json.dumps(data | {"checksum": checksum(data)})
        for name in (COPY, MANIFEST):
            replace_file(folder / name, text_writer(text))


class _DamagedError(StoreError):
    """One of the two files cannot be used."""


def checksum(data: dict[str, Any]) -> str:
    """SHA-256 of all that a manifest says but its checksum."""
    kept = {name: value for name, value in data.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(kept, separators=(",", ":")).encode()).hexdigest()
