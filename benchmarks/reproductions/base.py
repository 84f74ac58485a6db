"""A claim, what was published of it, what is measured, and the verdict over both."""

import abc
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import xarray as xr
from scipy.stats import t as student

import analysis
import ensemble as ens
from ensemble.study.files import table_of

LEVEL = 0.95


class Published(NamedTuple):
    """A number of the literature, or a range: what a theorem bounds, or what a sentence excludes."""

    low: float
    high: float
    says: str
    """The number or the range in words, with its formula."""


def exactly(value: float, says: str = "", digits: int = 8) -> Published:
    number = f"{value:.{digits}g}"
    return Published(value, value, f"{says} = {number}" if says else number)


def between(low: float, high: float, says: str) -> Published:
    return Published(low, high, says)


class Measured(NamedTuple):
    """An estimate and the interval around it; what the interval is, the claim says."""

    estimate: float
    low: float
    high: float


def within(value: float, error: float) -> Measured:
    """A number that is known to an error."""
    return Measured(value, value - error, value + error)


def bracket(low: float, high: float) -> Measured:
    """A number that lies between two others."""
    return Measured(0.5 * (low + high), low, high)


def mean(values: Sequence[float] | np.ndarray | xr.DataArray) -> Measured:
    """The mean of independent values with its t-interval."""
    x = np.asarray(values, float).ravel()
    half = float(student.ppf(0.5 * (1 + LEVEL), len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    return within(float(x.mean()), half)


def share(condition: np.ndarray | xr.DataArray) -> Measured:
    """The share of members for which a condition holds, with its Wilson interval."""
    found = np.asarray(condition, bool).ravel()
    low, high = analysis.wilson(np.array(found.sum()), np.array(len(found)), LEVEL)
    return Measured(float(found.mean()), float(low), float(high))


def median(values: np.ndarray | xr.DataArray) -> Measured:
    """The median with the interval of order statistics."""
    array = xr.DataArray(np.asarray(values, float).ravel(), dims="seed")
    found = analysis.quantiles(array, (0.5,), level=LEVEL).isel(quantile=0)
    return Measured(float(found["value"]), float(found["low"]), float(found["high"]))


def limit(coarse: float, middle: float, fine: float) -> Measured:
    """What three values tend to whose error halves from each to the next, to how far two such limits differ."""
    first, second = 2 * middle - coarse, 2 * fine - middle
    return within(second, abs(second - first))


def verdict(published: Published, measured: Measured) -> str:
    """`inside`, `outside`, or `undecided`.

    A published number is inside where it lies in the measured interval. Of a published range the whole interval must
    lie in it; `undecided` is an interval that reaches over an end.
    """
    _, low, high = measured
    if math.isnan(low) or math.isnan(high):
        return "undecided"
    if published.low == published.high:
        return "inside" if low <= published.low <= high else "outside"
    if published.low <= low and high <= published.high:
        return "inside"
    return "outside" if high < published.low or published.high < low else "undecided"


class AbstractClaim(abc.ABC):
    """One claim: a sentence that can be wrong."""

    id: ClassVar[str]
    claim: ClassVar[str]
    source: ClassVar[str]
    interval: ClassVar[str]
    """What the measured intervals are."""
    note: ClassVar[str] = ""
    """What a reader of the numbers should know beside them."""
    file: ClassVar[str | None] = None
    """The study file that ships, where the studies are those of one."""

    def tables(self) -> list[dict[str, Any]]:
        """What is run (or, by closed equations, solved), as tables of a study; a name is that of a directory."""
        return []

    def files(self) -> list[tuple[str, dict[str, Any]]]:
        """The same, as study files with the fields that are others here; by default `file` as it is."""
        return [] if self.file is None else [(self.file, {})]

    def asked(self) -> list[dict[str, Any]]:
        """All of it as it was written, before today's defaults are filled in."""
        return [table_of(Path(file), fields) for file, fields in self.files()] + self.tables()

    def studies(self) -> list[ens.Study]:
        """All of it, validated."""
        made = [ens.Study.from_toml(file, fields) for file, fields in self.files()]
        return made + [ens.Study.model_validate(table) for table in self.tables()]

    @abc.abstractmethod
    def published(self) -> dict[str, Published]:
        """Rows by what they are of."""

    @abc.abstractmethod
    def measure(self, runs: Mapping[str, xr.Dataset]) -> dict[str, Measured]:
        """The same rows, measured; a dataset is run when it is first asked for."""
