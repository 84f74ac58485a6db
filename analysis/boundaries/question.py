"""What a refinement asked, kept beside its run, so that a page of the run opens with it."""

from pathlib import Path
from typing import Literal

import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..members import axes
from ..writing import replace, require_free

_FILE = "refinement.json"
_MOST_BYTES = 2**16


class Question(BaseModel):
    """Where over `y` the share of members with `measure` < `below` passes one half, for every `x`."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    written_by: Literal["gd-atlas refinement"] = "gd-atlas refinement"
    x: str
    y: str
    measure: str
    below: float = Field(gt=0)

    def fits(self, ds: xr.Dataset) -> bool:
        """Whether a dataset has the measure and both axes: a part of a refined run may have lost some."""
        return self.measure in ds and {self.x, self.y} <= set(axes(ds))


def require_room(directory: Path) -> None:
    """**Raises:** `ValueError` where another file stands in the place of what is kept."""
    require_free(directory / _FILE, "refinement")


def keep(directory: Path, question: Question) -> None:
    """Writes it into a run directory, unless it is there."""
    if kept(directory) != question:
        text = question.model_dump_json(indent=2)
        replace(directory / _FILE, "refinement", lambda temporary: temporary.write_text(text, encoding="utf-8"))


def kept(directory: Path) -> Question | None:
    """What the last refinement of a run directory asked; None where none did, or the file says something else."""
    file = directory / _FILE
    try:
        if file.is_symlink() or not file.is_file() or file.stat().st_size > _MOST_BYTES:
            return None
        return Question.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
