"""Real features: the rows of a file."""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, model_validator

from ...parts import is_lenient
from .base import AbstractInputs

MOST_NUMBERS = 2**22
"""Numbers of a file, which every program that draws from it holds."""
USUAL_SHARE, USUAL_MOST = 5, 10_000
"""Held out where a study does not say: a fifth of the rows, and no more than so many."""


class Features(AbstractInputs):
    """x is a row of the matrix in a NumPy file, or in the `variable` of a netCDF file, as it is there.

    The last `held_out` rows are those that every member is scored on; samples are drawn from the others, with
    `replacement` or, without it, each row once at most. `digest` is the file's SHA-256, which a study has of its own: a
    file that has changed since is refused. `path` is as seen from the folder where the command runs, of workers, too.

    No closed form: such studies need samples, and a teacher gives the labels.
    """

    of_rows: ClassVar[bool] = True

    kind: Literal["features"] = "features"
    path: str
    variable: str = ""
    held_out: Annotated[int, Field(ge=2, le=2**53)] | None = None
    replacement: bool = True
    digest: str = ""

    def table(self) -> np.ndarray:
        """All rows.

        **Raises:** `ValueError` where the file is not there, has changed, or holds no finite matrix of this size.
        """
        found, known = _read(self.path, self.variable, _stamp(self.path))
        if self.digest and known != self.digest:
            raise ValueError(
                f"path: got {self.path!r}, whose digest is {known[:12]}… and was {self.digest[:12]}… when the study "
                "was made; put the file of then there, or leave digest out for a study of the new one"
            )
        return found

    @property
    def trained_on(self) -> int:
        """How many rows samples are drawn from."""
        return len(self.table()) - (self.held_out or 0)

    def draw(self, key, inputs):
        return jnp.asarray(self.table())[jax.random.randint(key, (), 0, self.trained_on)]

    def chosen(self, key: Any, count: int) -> jax.Array:
        """`count` different rows: the first of a permutation, so that more of them begin with the same ones."""
        return jnp.asarray(self.table())[jnp.argsort(jax.random.bits(key, (self.trained_on,)))[:count]]

    def scored_on(self, first: jax.Array, count: int) -> jax.Array:
        """Held-out rows `first` … of them."""
        return jax.lax.dynamic_slice_in_dim(jnp.asarray(self.table()), self.trained_on + first, count)

    def check(self, inputs, teacher):
        columns = self.table().shape[1]
        if columns != inputs:
            raise ValueError(
                f"path: got {self.path!r} with rows of {columns} numbers for {inputs} inputs; set teacher.inputs = "
                f"{columns}, or give another file"
            )

    def population_refusal(self, student, teacher):
        return ""

    def population(self, risk, inputs):
        return None

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        """With the digest of the file and the number of rows that are held out, which a study's text then has."""
        if is_lenient() or not isinstance(data, Mapping) or not isinstance(data.get("path"), str):
            return data
        found, digest = _read(data["path"], str(data.get("variable", "")), _stamp(data["path"]))
        usual = max(2, min(len(found) // USUAL_SHARE, USUAL_MOST))
        filled = {"digest": digest, "held_out": usual}
        return {**data, **{name: value for name, value in filled.items() if data.get(name) in (None, "")}}

    @model_validator(mode="after")
    def _check(self):
        if not is_lenient() and self.trained_on < 1:
            raise ValueError(
                f"held_out: got {self.held_out:,} of {len(self.table()):,} rows, which leaves none for samples; hold "
                "out fewer"
            )
        return self


def _stamp(path: str) -> tuple[int, int]:
    """By which a file is known to be as it was read."""
    try:
        found = Path(path).stat()
    except OSError:
        raise ValueError(f"path: got {path!r}, which is not there (looked from {Path.cwd()}); give the file") from None
    return found.st_mtime_ns, found.st_size


@functools.lru_cache(maxsize=8)
def _read(path: str, variable: str, stamp: tuple[int, int]) -> tuple[np.ndarray, str]:
    """(matrix, digest) of a file."""
    found = _numpy(path) if Path(path).suffix == ".npy" else _netcdf(path, variable)
    if found.ndim != 2 or found.shape[0] < 2 or found.shape[1] < 1 or found.dtype.kind not in "fiub":
        raise ValueError(
            f"path: got {path!r} with an array of shape {found.shape} and type {found.dtype}; give a matrix of "
            "numbers, one row a sample, of two rows or more"
        )
    if found.size > MOST_NUMBERS:
        raise ValueError(
            f"path: got {path!r} with {found.shape[0]:,} rows of {found.shape[1]:,} numbers; at most {MOST_NUMBERS:,} "
            f"numbers fit, {MOST_NUMBERS // found.shape[1]:,} such rows: give fewer rows or coordinates"
        )
    table = np.array(found, float)
    if not np.all(np.isfinite(table)):
        row, column = np.argwhere(~np.isfinite(table))[0]
        raise ValueError(
            f"path: got {path!r} with {table[row, column]} in row {row}, column {column}; give finite numbers"
        )
    table.setflags(write=False)
    return table, hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _numpy(path: str) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        # NumPy's own words name ways to load a file that could run code.
        raise ValueError(f"path: got {path!r}, which is no array of numbers saved by numpy.save; give one") from None


def _netcdf(path: str, variable: str) -> np.ndarray:
    import xarray as xr

    try:
        with xr.open_dataset(path, decode_times=False) as ds:
            names = [str(name) for name in ds.data_vars]
            if variable not in names:
                said = f"got {variable!r}" if variable else "is missing"
                raise KeyError(f"variable: {said}; {path} has {', '.join(names)}")
            if ds[variable].size > MOST_NUMBERS:
                return np.broadcast_to(np.zeros(()), ds[variable].shape)
            return ds[variable].values
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    except (OSError, ValueError) as error:
        raise ValueError(
            f"path: got {path!r}, which is neither a .npy file nor netCDF ({error}); give one of them"
        ) from None
