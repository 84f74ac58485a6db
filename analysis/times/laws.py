"""Which law the logarithm of a decaying history follows: exponential, power law, either, or neither.

With x = t for an exponential and x = ln t for a power law, both after a plateau that ends at the record b (its first,
where there is none),

    ln v = α − slope · (x − x_b)₊ + ε,      ε_i = ρ ε_{i−1} + noise of one size

is fitted by least squares on whitened records. b is the one of the greatest likelihood, and is believed where it gains
more than a change point costs. A law *fits* unless a bend and a twist, (x − x_b)₊² and (x − x_b)₊³, explain more of
its residuals than chance (an F test) and more than a small part of the decay: records of an exact descent have no
noise, and no law is exact. ρ is that of the residuals of the better of the two laws with bend and twist.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.stats import f as fisher
from scipy.stats import t as student

LAWS = ("exponential", "power law", "neither", "undecided")
"""What may be said of a history. Undecided: both laws fit, and neither is much likelier."""
FEWEST = 4
"""Records that a fit needs."""
ENOUGH = 8
"""Records after a plateau that a verdict needs."""
EVIDENCE = 3.0
"""Log-likelihood by which one of two laws that fit is preferred: twenty to one."""
_STRUCTURED = 0.01
"""A bend and a twist are believed below this p-value."""
_MATERIAL = 0.03
"""They matter above this part of the decay, in root mean squares: a slope that changes by a quarter from end to end."""
_CLEAN = 0.2
"""A law is believed where it leaves less than this part of the decay, in root mean squares."""
_DECAYS = 0.005
"""A slope is one of decay below this p-value."""
_CHANGE = 3.0
"""What a plateau costs, in ln n of twice the log-likelihood."""
_PLACES = 32
"""Records at which a plateau may end, at most."""
_BETWEEN = 4
"""Parts of the distance between two of them at which it may end, too."""
_MOST_LAG = 0.9


class Laws(NamedTuple):
    """What is known of histories, one a row; NaN where fewer than four records count."""

    rate: np.ndarray
    exponent: np.ndarray
    evidence: np.ndarray
    """Log-likelihood of the exponential minus that of the power law, both with the cost of their plateau."""
    residual: np.ndarray
    """Root mean square of ln v around the likelier law."""
    begin: np.ndarray
    """The step from which the likelier law is fitted."""
    law: np.ndarray
    """Index into `LAWS`; −1 where there is no fit."""
    records: np.ndarray


class _Fit(NamedTuple):
    slope: np.ndarray
    cost: np.ndarray
    """−2 log-likelihood, up to a constant of the records, with the cost of a plateau."""
    begin: np.ndarray
    """Index of the record at which the plateau ends."""
    flexible: np.ndarray
    """(row, record) residuals beside bend and twist."""
    residual: np.ndarray
    decays: np.ndarray
    fits: np.ndarray
    known: np.ndarray
    """Whether it has enough records after its plateau, and little beside the decay is left."""


def laws(t: np.ndarray, y: np.ndarray, kept: np.ndarray) -> Laws:
    """The laws of many histories.

    **Arguments:** steps > 0, logarithms of the values and which of them count, each (row, record).
    """
    order = np.argsort(~kept, axis=-1, kind="stable")
    t, y, kept = (np.take_along_axis(values, order, axis=-1) for values in (t, y, kept))
    n = kept.sum(axis=-1)
    last = np.take_along_axis(t, np.maximum(n - 1, 0)[:, None], axis=-1)
    t = np.where(kept, t, np.maximum(last, 1.0))
    y = np.where(kept, y, 0.0)
    y = np.where(kept, y - (y.sum(axis=-1) / np.maximum(n, 1))[:, None], 0.0)
    first = _both(t, y, kept, n, np.zeros(len(y)))
    better = (first[0].flexible ** 2).sum(axis=-1) <= (first[1].flexible ** 2).sum(axis=-1)
    lag = _lag(np.where(better[:, None], first[0].flexible, first[1].flexible), n)
    exponential, power = _both(t, y, kept, n, lag)
    evidence = 0.5 * (power.cost - exponential.cost)
    likelier = evidence > 0

    def of_likelier(name: str) -> np.ndarray:
        one, other = getattr(exponential, name), getattr(power, name)
        return np.where(likelier.reshape(-1, *[1] * (one.ndim - 1)), one, other)

    residual = np.sqrt((of_likelier("residual") ** 2).sum(axis=-1) / np.maximum(n, 1))
    begin = _at(t, of_likelier("begin"))[:, 0]
    enough = n >= FEWEST

    def known(values: np.ndarray) -> np.ndarray:
        return np.where(enough, values, np.nan)

    law = np.where(enough, _verdict(exponential, power, evidence), -1)
    rate, exponent = known(exponential.slope), known(power.slope)
    return Laws(rate, exponent, known(evidence), known(residual), known(begin), law, n)


def _both(t: np.ndarray, y: np.ndarray, kept: np.ndarray, n: np.ndarray, lag: np.ndarray) -> tuple[_Fit, _Fit]:
    """The exponential and the power law of records of this correlation."""
    return _fit(t, np.log(t), y, kept, n, lag), _fit(np.log(t), t, y, kept, n, lag)


def _verdict(exponential: _Fit, power: _Fit, evidence: np.ndarray) -> np.ndarray:
    """Index into `LAWS`."""
    exponentially, by_power = (one.fits & one.decays for one in (exponential, power))
    clear = np.abs(evidence) >= EVIDENCE
    return np.select(
        [
            exponentially & exponential.known & (evidence > 0) & clear,
            by_power & power.known & (evidence < 0) & clear,
            exponentially | by_power,
        ],
        [LAWS.index(name) for name in ("exponential", "power law", "undecided")],
        LAWS.index("neither"),
    )


def _fit(x: np.ndarray, other: np.ndarray, y: np.ndarray, kept: np.ndarray, n: np.ndarray, lag: np.ndarray) -> _Fit:
    """The law that is straight in x, with the likeliest plateau before it; `other` is what its rival is straight in."""
    tiny = np.finfo(float).tiny
    reach = np.maximum(np.ptp(x, axis=-1), tiny)
    x, other = _unit(x), _unit(other)
    level, target = _whitened(kept.astype(float), lag, kept), _whitened(y, lag, kept)

    (basis,), _ = _basis([level])
    around = target - _along(target, basis) * basis

    def cost(at: np.ndarray) -> np.ndarray:
        column = _whitened(_bent(x, at, kept), lag, kept)
        column = column - _along(column, basis) * basis
        rest = around - _along(around, column) / np.maximum(_along(column, column), tiny) * column
        return n * np.log(np.maximum(_along(rest, rest)[:, 0], tiny))

    best, end = _plateau(cost, n, y.shape[-1])
    h, g = _bent(x, end, kept), _bent(other, end, kept)
    columns = [kept.astype(float), h, h**2, g, g**2]
    coefficients, rss = _nested([_whitened(column, lag, kept) for column in columns], target)
    freedom = n - 2 - (end > 0)
    slope = -coefficients[1]
    spread = np.sqrt(np.maximum(rss[1], tiny) / np.maximum(freedom, 1))
    t = np.sqrt(np.maximum(rss[0] - rss[1], 0.0)) * np.sign(slope) / spread
    decays = (freedom > 0) & (student.sf(t, np.maximum(freedom, 1)) < _DECAYS)
    more = len(columns) - 2
    gained = np.maximum(rss[1] - rss[-1], 0.0)
    ratio = gained / more / (np.maximum(rss[-1], tiny) / np.maximum(freedom - more, 1))
    structured = (freedom > more) & (fisher.sf(ratio, more, np.maximum(freedom - more, 1)) < _STRUCTURED)
    material = gained > _MATERIAL**2 * (rss[0] - rss[1])
    plain, flexible = _remainder(columns[:2], y), _remainder(columns, y)
    left = (plain**2).sum(axis=-1)
    known = (left < _CLEAN**2 * ((y**2).sum(axis=-1) - left)) & (n - np.ceil(end) >= ENOUGH)
    return _Fit(slope / reach, best, end, flexible, plain, decays, ~(structured & material), known)


def _plateau(cost: Callable[[np.ndarray], np.ndarray], n: np.ndarray, records: int) -> tuple[np.ndarray, np.ndarray]:
    """(least cost, the place between records at which its plateau ends: 0 where one gains less than its price)."""
    plain, best, end = cost(0.0 * n), np.full(len(n), np.inf), 0.0 * n
    latest = np.maximum(n - FEWEST, 0).astype(float)
    step = max(1.0, records / _PLACES)

    def ask(at: np.ndarray) -> None:
        nonlocal best, end
        at = np.clip(at, 0.0, latest)
        found = cost(at)
        best, end = np.minimum(found, best), np.where(found < best, at, end)

    for i in range(1, min(_PLACES, records)):
        ask(i * step + 0.0 * n)
    whole = end
    for i in range(1, _BETWEEN):
        ask(whole + step * i / _BETWEEN)
        ask(whole - step * i / _BETWEEN)
    best = best + _CHANGE * np.log(np.maximum(n, 2))
    return np.minimum(best, plain), np.where(best < plain, end, 0.0)


def _unit(x: np.ndarray) -> np.ndarray:
    """From 0 at the first to 1 at the last record."""
    x = x - x[:, :1]
    return x / np.maximum(x[:, -1:], np.finfo(float).tiny)


def _at(x: np.ndarray, place: np.ndarray) -> np.ndarray:
    """x at a place between records."""
    below = np.minimum(place.astype(int), x.shape[-1] - 1)[:, None]
    above = np.minimum(below + 1, x.shape[-1] - 1)
    low, high = np.take_along_axis(x, below, axis=-1), np.take_along_axis(x, above, axis=-1)
    return low + (place[:, None] - below) * (high - low)


def _bent(x: np.ndarray, place: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return np.where(kept, np.maximum(x - _at(x, place), 0.0), 0.0)


def _whitened(values: np.ndarray, lag: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Without the correlation of neighbours (Prais & Winsten 1954)."""
    r = lag[:, None]
    return np.where(
        kept, np.concatenate([values[:, :1] * np.sqrt(1 - r * r), values[:, 1:] - r * values[:, :-1]], 1), 0
    )


def _lag(residual: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Correlation of neighbours, with what five fitted numbers take from it given back."""
    square = np.maximum((residual**2).sum(axis=-1), np.finfo(float).tiny)
    found = (residual[:, 1:] * residual[:, :-1]).sum(axis=-1) / square
    return np.clip(found + (1 + 4 * np.maximum(found, 0)) / np.maximum(n, 1), 0.0, _MOST_LAG)


def _along(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Scalar products of rows, (row, 1)."""
    return np.einsum("ri,ri->r", a, b)[:, None]


def _basis(columns: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(orthonormal columns, lengths of what the columns before leave of each)."""
    basis, lengths = [], []
    for column in columns:
        size = np.sqrt(_along(column, column))
        own = column
        for _ in range(2):
            for q in basis:
                own = own - _along(own, q) * q
        length = np.sqrt(_along(own, own))
        there = length > 1e-10 * size
        basis.append(np.where(there, own / np.where(there, length, 1.0), 0.0))
        lengths.append(np.where(there, length, np.inf)[:, 0])
    return basis, lengths


def _nested(columns: list[np.ndarray], y: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(the coefficient of every column beside those before it, the residual sum of squares with it), of whitened y."""
    basis, lengths = _basis(columns)
    coefficients, squares = [], []
    for q, length in zip(basis, lengths, strict=True):
        part = _along(y, q)
        y = y - part * q
        coefficients.append(part[:, 0] / length)
        squares.append((y**2).sum(axis=-1))
    return coefficients, squares


def _remainder(columns: list[np.ndarray], y: np.ndarray) -> np.ndarray:
    """Residuals of ordinary least squares."""
    for q in _basis(columns)[0]:
        y = y - _along(y, q) * q
    return y
