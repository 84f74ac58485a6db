"""Which curves fit a column, and the intervals in which its share may pass one half: the sets of crossing.py."""

from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np

from .crossing import CELLS, FITS, GLOBAL, LOCAL, NEAREST, Columns, Fit, score

FITTING = 0.5
"""A reach is taken where one of its curves has a p-value of fit above this; the next shorter one is asked otherwise."""
_DOUBTFUL, _SEEDS = 0.3, 20
"""Every other curve of the reach with a p-value above this is believed as well; with more seeds, above this times 20 of
them: the set of one curve narrows with their number, what curves disagree about does not."""
_SAY, _CELLS_SAY = 0.5, 0.2
"""Weights of the p-values of curves with a shorter reach than the one that is taken, and of the cells alone where that
is not the whole column: a stiff curve may fit by chance, and no curve is asked how it runs between two cells. What they
reject at p < 0.1 and p < 0.25 is left out."""
_MEMBERS = 12
"""Fewer in the neighbourhood of a place have no say against the curve that is taken."""
_CANDIDATES = 8
"""For each level of the grid."""
_SECTIONS, _ROUNDS = 8, 4
"""Ends lie between two candidates, which are divided so often."""


class Interval(NamedTuple):
    """A connected part of a confidence set."""

    low: float
    """−∞ where the set reaches beyond the cells."""
    place: float
    """Where the share passes one half; ±∞ beyond the cells; NaN where it may do so twice or not at all."""
    high: float


class Band(NamedTuple):
    """What is known of one column, in positions along which success grows."""

    intervals: list[Interval]
    side: float
    """Where the crossing is if it is nowhere in the grid: −∞ or +∞."""
    fit: str
    """The curve that fits best of those that are united."""
    misfit: float
    """Its p-value."""
    p_values: np.ndarray
    """Of P(c) = ½, over the candidates."""

    def crossings(self) -> list[Interval]:
        """The intervals in which the share passes one half."""
        return [found for found in self.intervals if not np.isnan(found.place)]

    def hull(self) -> Interval:
        """The only crossing (NaN of several), and the ends of the whole set."""
        known = self.crossings()
        place = known[0].place if len(known) == 1 else np.nan if known else self.side
        ends = [place] if not np.isnan(place) else []
        low = min([found.low for found in self.intervals] + ends)
        return Interval(low, place, max([found.high for found in self.intervals] + ends))


def candidates(columns: Columns) -> np.ndarray:
    """The places that are tested: every cell, and evenly between the levels of the grid."""
    inner = np.linspace(0.0, len(columns.grid) - 1.0, (len(columns.grid) - 1) * _CANDIDATES + 1)
    places = np.interp(inner, np.arange(len(columns.grid)), columns.grid)
    low, high = columns.at[0], columns.at[-1]
    return np.unique(np.concatenate([places[(places >= low) & (places <= high)], columns.at]))


def bands(columns: Columns, level: float) -> tuple[np.ndarray, list[Band]]:
    """(candidates, the band of every column)."""
    at = candidates(columns)
    rows = len(columns.wins)
    found = _Found.nothing(rows, len(at))
    weight = np.zeros((len(FITS), rows))
    open_ = np.ones(rows, bool)
    for reach in (GLOBAL, LOCAL, NEAREST):
        mine = np.array([i for i, fit in enumerate(FITS) if fit.reach == reach])
        for i in mine:
            found.ask(columns, int(i), at)
        misfit = found.misfit[mine]
        fits = misfit.max(axis=0) >= FITTING
        doubtful = _DOUBTFUL * np.minimum(1.0, _SEEDS / np.maximum(columns.seeds, 1))
        believed = misfit >= np.minimum(doubtful, misfit.max(axis=0))
        # Where the local curves fail, they stay beside the nearest, which two cells cannot contradict.
        weight[mine] = believed * np.where(open_, fits | (reach != GLOBAL), _SAY)
        open_ &= ~fits
    best = np.where(weight == 1.0, found.misfit, -1.0).argmax(axis=0)
    misfit, own = found.misfit, np.arange(rows)
    statistic = found.statistic[best, own]
    whole = ~np.isfinite([FITS[i].reach for i in best])
    weight = np.concatenate([weight, [np.where(whole, 0.0, _CELLS_SAY)]])
    found.ask_cells(columns, at)
    p_value = _weighed(weight[..., None], found.p_value, found.members).max(axis=0)
    intervals = _intervals(_Tests(columns, weight, best, 1.0 - level), at, statistic, p_value)
    side = np.where(statistic.mean(axis=1) < 0, np.inf, -np.inf)
    return at, [
        Band(intervals[r], float(side[r]), FITS[best[r]].name, float(misfit[best[r], r]), p_value[r]) for r in own
    ]


def _weighed(weight: np.ndarray, p_value: np.ndarray, members: np.ndarray) -> np.ndarray:
    """p-values as they count."""
    return p_value * np.where((weight == 1.0) | (members >= _MEMBERS), weight, 0.0)


class _Found(NamedTuple):
    """What was asked of every fit and column so far."""

    statistic: np.ndarray
    """(fit, column, candidate)"""
    p_value: np.ndarray
    """The same, and behind all fits that of the cells alone."""
    misfit: np.ndarray
    """(fit, column); −1 where it was not asked."""
    members: np.ndarray
    """As `p_value`."""

    @classmethod
    def nothing(cls, rows: int, places: int) -> Self:
        fits = len(FITS)
        every = np.zeros((fits, rows, places)), np.zeros((fits + 1, rows, places))
        return cls(*every, np.full((fits, rows), -1.0), np.zeros((fits + 1, rows, places)))

    def ask(self, columns: Columns, i: int, at: np.ndarray) -> None:
        """Tests one fit at all candidates of all columns."""
        self._keep(columns, i, FITS[i], at)
        rows = np.arange(len(columns.wins))
        self.misfit[i] = _misfit(columns, FITS[i], at, rows, self.statistic[i])

    def ask_cells(self, columns: Columns, at: np.ndarray) -> None:
        """Tests the cells alone."""
        self._keep(columns, len(FITS), CELLS, at)

    def _keep(self, columns: Columns, i: int, fit: Fit, at: np.ndarray) -> None:
        rows = len(columns.wins)
        tested = score(columns, fit, np.repeat(np.arange(rows), len(at)), np.tile(at, rows))
        if i < len(FITS):
            self.statistic[i] = tested.statistic.reshape(rows, -1)
        self.p_value[i], self.members[i] = tested.p_value().reshape(rows, -1), tested.members.reshape(rows, -1)


def _misfit(columns: Columns, fit: Fit, at: np.ndarray, rows: np.ndarray, statistic: np.ndarray) -> np.ndarray:
    """The p-value of a fit in some columns: the worst of its crossings; without one, at the nearest approach."""
    passes = (statistic[:, :-1] > 0) != (statistic[:, 1:] > 0)
    row, k = np.nonzero(passes)
    falls = statistic[row, k] > 0
    without, within = np.where(falls, at[k + 1], at[k]), np.where(falls, at[k], at[k + 1])
    root = _between(lambda r, c: score(columns, fit, r, c).statistic > 0, rows[row], without, within)
    rest = np.flatnonzero(~passes.any(axis=1))
    row = np.concatenate([row, rest])
    c = np.concatenate([root, at[np.abs(statistic[rest]).argmin(axis=1)]])
    worst = np.ones(len(rows))
    np.minimum.at(worst, row, score(columns, fit, rows[row], c, misfit=True).misfit)
    return np.minimum(worst * np.bincount(row, minlength=len(worst)), 1.0)


def _between(test: Callable, row: np.ndarray, without: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Where a test turns true between two places, one at which it is not and one at which it is."""
    inner = np.arange(1, _SECTIONS) / _SECTIONS
    for _ in range(_ROUNDS if len(row) else 0):
        places = without[:, None] + (within - without)[:, None] * inner
        holds = test(np.repeat(row, len(inner)), places.ravel()).reshape(places.shape)
        places = np.concatenate([without[:, None], places, within[:, None]], axis=1)
        first = np.where(holds.any(axis=1), holds.argmax(axis=1), len(inner)) + 1
        own = np.arange(len(row))
        without, within = places[own, first - 1], places[own, first]
    return within


class _Tests:
    """Tests between the candidates, by the curves that each column has chosen."""

    def __init__(self, columns: Columns, weight: np.ndarray, best: np.ndarray, tail: float):
        self.columns, self.weight, self.best, self.tail = columns, weight, best, tail

    def inside(self, row: np.ndarray, c: np.ndarray) -> np.ndarray:
        """Whether c belongs to the set of its column."""
        found = np.zeros(len(row))
        for i, fit in enumerate((*FITS, CELLS)):
            weight = self.weight[i, row]
            mine = weight > 0
            if mine.any():
                tested = score(self.columns, fit, row[mine], c[mine])
                found[mine] = np.maximum(found[mine], _weighed(weight[mine], tested.p_value(), tested.members))
        return found >= self.tail

    def sign(self, row: np.ndarray, c: np.ndarray) -> np.ndarray:
        """+1 where the best curve has the share at c above one half, −1 where below, 0 where it says nothing."""
        found = np.zeros(len(row))
        for i in np.unique(self.best[row]):
            mine = self.best[row] == i
            found[mine] = np.sign(score(self.columns, FITS[i], row[mine], c[mine]).statistic)
        return found


def _intervals(tests: _Tests, at: np.ndarray, statistic: np.ndarray, p_value: np.ndarray) -> list[list[Interval]]:
    """The set of every column, its ends to a small part of the distance between two candidates."""
    parts = [_parts(t, p >= tests.tail) for t, p in zip(statistic, p_value, strict=True)]
    row = np.repeat(np.arange(len(parts)), [len(found) for found in parts])
    first, last, before, after = np.array([part for found in parts for part in found], int).reshape(-1, 4).T
    place = np.full(len(row), np.nan)
    there = before >= 0
    own, left, right = row[there], at[before[there]], at[after[there]]
    rises = np.repeat(np.sign(statistic[own, after[there]]), _SECTIONS - 1)  # one for each place that is tested
    place[there] = 0.5 * (
        _between(lambda r, c: tests.sign(r, c) * rises < 0, own, right, left)
        + _between(lambda r, c: tests.sign(r, c) * rises > 0, own, left, right)
    )
    low, high = np.full(len(row), -np.inf), np.full(len(row), np.inf)
    hidden = first > last  # between two candidates that are both rejected: its place alone is known to be inside
    for end, outer, edge in ((low, first - 1, first), (high, last + 1, last)):
        ends = (outer >= 0) & (outer < len(at))
        inner = np.where(hidden[ends], place[ends], at[np.clip(edge[ends], 0, len(at) - 1)])
        end[ends] = _between(tests.inside, row[ends], at[outer[ends]], inner)
    # Open to one side, and nowhere one half: the share passes it beyond the cells.
    beyond = ~there & (np.isinf(low) | np.isinf(high))
    upwards = np.isinf(high) & (np.isfinite(low) | (statistic.mean(axis=1)[row] < 0))
    place = np.where(beyond, np.where(upwards, np.inf, -np.inf), place)
    made: list[list[Interval]] = [[] for _ in parts]
    for r, *ends in zip(row, low, place, high, strict=True):
        made[r].append(Interval(*(float(end) for end in ends)))
    return made


def _parts(t: np.ndarray, inside: np.ndarray) -> list[tuple[int, int, int, int]]:
    """The connected parts of a set of candidates: (first, last, the candidates before and after a turn or −1).

    A turn between two candidates that are both rejected is a part, too: (k + 1, k, k, k + 1).
    """
    # Where the statistic says nothing, between two separated cells, the turn is the whole stretch.
    known = np.flatnonzero(t != 0)
    turned = t[known[:-1]] * t[known[1:]] < 0
    before, after = known[:-1][turned], known[1:][turned]
    edges = np.diff(np.concatenate([[0], inside.astype(int), [0]]))
    hidden = before[(after == before + 1) & ~inside[before] & ~inside[after]].tolist()
    found = [(k + 1, k, k, k + 1) for k in hidden]
    for first, last in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1, strict=True):
        mine = np.flatnonzero((after >= first) & (before <= last))
        # On the same side before and after: not at all, or twice.
        closed = first > 0 and last < len(t) - 1
        sure = len(mine) > 0 and not (closed and len(mine) % 2 == 0)
        middle = mine[len(mine) // 2] if sure else None
        start, end = (-1, -1) if middle is None else (int(before[middle]), int(after[middle]))
        found.append((int(first), int(last), start, end))
    return sorted(found)
