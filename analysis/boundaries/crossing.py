"""Where a share passes one half along y: confidence sets by inversion of tests.

For every candidate c the hypothesis P(c) = ½ is tested, and the set is what is not rejected. No estimate is needed,
which could lie beyond the grid. Where all cells on one side fail and all on the other succeed, the whole gap between
two cells is left. And members may be placed by what those before them found: the residuals of a score are a
martingale, whatever chose the cells. A test is the score test of the intercept in

    P(y) = G(β (y − c)),     G(0) = ½

with β fitted under the hypothesis, of trials weighted by a kernel of the distance from c. Its variance is the binomial
one of the hypothesis, times a design effect from the covariance between cells of one seed: a seed has the same draws in
every cell. (Rao 1948, Proc. Camb. Phil. Soc. 44, 50–57; Boos 1992, Am. Stat. 46, 327–333.)

Curves G are logistic or skew to either side; kernels reach over the whole column or over a few levels of the grid.
Whether a curve fits is asked of the data by score tests of a bend and a twist that it does not have. The set is the
union over all curves that fit with one reach: what they disagree about, such as the course between two cells, the data
do not say. Curves of a shorter reach, and the cells to either side of c alone, have a say at a lower level: whether a
stiffer curve fits is itself known from the data alone.
"""

from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np
from scipy.special import expit
from scipy.stats import t as student

LN2 = float(np.log(2.0))
GLOBAL, LOCAL, NEAREST = np.inf, 2.5, 1.5
"""Reaches of the kernel, in levels of the grid: the whole column, two levels and one to either side."""
_CLIP = 35.0
_NOTHING = 0.01
"""A statistic that says nothing: in the gap between two cells that are separated."""
_PRIOR = 0.01
"""Weight of the log-F prior of β (Greenland & Mansournia 2015, Stat. Med. 34, 3133–3143), so small that it only keeps
separated columns finite."""
_LEAST_DESIGN = 0.25
"""Cells of one seed may repel each other in a sample by chance; no interval is narrower than half for it."""
_NEWTON_STEPS = 80
_ENTRIES = 2_000_000
"""Numbers of the largest temporary array: it stays in memory."""


def _logistic(e: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    p, q = expit(e), expit(-e)
    return p, q, p * q


def _late(e: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """1 − 2^(−exp η), the complementary log-log curve: leaves 0 slowly and reaches 1 fast."""
    rate = LN2 * np.exp(np.minimum(e, 8.0))
    q = np.exp(-rate)
    return -np.expm1(-rate), q, rate * q


def _early(e: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    q, p, d = _late(-e)
    return p, q, d


class Fit(NamedTuple):
    """A curve through one half and how far its kernel reaches."""

    name: str
    curve: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
    """η to (G, 1 − G, G′)."""
    reach: float


_CURVES = {"logistic": _logistic, "cloglog": _late, "loglog": _early}
FITS = tuple(
    Fit(f"{prefix}{name}", curve, reach)
    for prefix, reach in (("", GLOBAL), ("local ", LOCAL), ("nearest ", NEAREST))
    for name, curve in _CURVES.items()
)
"""From the stiffest to the most flexible."""
CELLS = Fit("cells", _logistic, NEAREST)
"""No curve: the cells to either side of c, each of which is on its own side of one half."""


class Columns(NamedTuple):
    """Counts of many columns over common positions; success grows with the position over all of them together."""

    at: np.ndarray
    """Increasing positions (y)."""
    level: np.ndarray
    """The same in levels of the study's own grid."""
    grid: np.ndarray
    """The study's own positions."""
    wins: np.ndarray
    """(column, y)"""
    trials: np.ndarray
    shared: np.ndarray
    """(column, y, y): the sum over seeds of products of residuals in two cells."""
    alone: np.ndarray
    """(column, y): what its diagonal would be; both 0 where a cell's members agree."""
    seeds: np.ndarray
    """(column): seeds with a member."""

    @classmethod
    def of(cls, positions: np.ndarray, grid: np.ndarray, inside: np.ndarray, counted: np.ndarray) -> Self:
        """From booleans (column, y, seed)."""
        wins, trials = inside.sum(axis=-1).astype(float), counted.sum(axis=-1).astype(float)
        share = wins / np.maximum(trials, 1.0)
        residual = (inside - share[..., None]) * counted
        shared = residual @ residual.transpose(0, 2, 1)
        level = np.interp(positions, grid, np.arange(len(grid)))
        seeds = counted.any(axis=1).sum(axis=-1)
        return cls(positions, level, grid, wins, trials, shared, trials * share * (1.0 - share), seeds)


class Score(NamedTuple):
    """Tests of P(c) = ½, one a row."""

    statistic: np.ndarray
    """Positive where the share at c is above one half."""
    degrees: np.ndarray
    """Of Student's t."""
    misfit: np.ndarray
    """p-value of the curve with this β and c; only where it was asked for, else NaN."""
    members: np.ndarray
    """How many members it rests on, by the kernel's weights."""

    def p_value(self) -> np.ndarray:
        return 2.0 * student.sf(np.abs(self.statistic), self.degrees)


def score(columns: Columns, fit: Fit, row: np.ndarray, c: np.ndarray, misfit: bool = False) -> Score:
    """Tests at the candidates `c`, each of the column `row`; and of the fit itself where asked for."""
    part = max(1, _ENTRIES // max(len(columns.at) ** 2, 1))
    found = [_score(columns, fit, row[i : i + part], c[i : i + part], misfit) for i in range(0, len(row), part)]
    return Score(*(np.concatenate(values) for values in zip(*found, strict=True))) if found else Score(*[c[:0]] * 4)


def _of_cells(columns: Columns, row: np.ndarray, c: np.ndarray) -> Score:
    """Tests of P ≤ ½ at the cells before c and P ≥ ½ at those behind it, or the other way round.

    It is what P(c) = ½ says of a share that only rises, or only falls, from one level to the next, however fast: where
    c lies between two cells, it is theirs.
    """
    z = columns.at - c[:, None]
    kernel = _kernel(columns, CELLS, c)
    wins, trials = columns.wins[row], columns.trials[row]
    known = columns.shared[row], columns.alone[row]
    members = (kernel * trials).sum(axis=1)
    sides = [_standardised(kernel * side, wins - 0.5 * trials, 0.25 * trials, *known) for side in (z <= 0, z >= 0)]
    (before, estimated), (behind, also) = sides
    rising, falling = np.maximum(before, -behind), np.maximum(-before, behind)
    rises = rising <= falling
    sign = np.where(rises == (np.where(rises, before, -before) >= np.where(rises, -behind, behind)), 1.0, -1.0)
    seeds = columns.seeds[row]
    degrees = np.maximum(np.where(estimated | also, 2 * (seeds - 1), seeds), 1).astype(float)
    return Score(sign * np.maximum(np.minimum(rising, falling), 0.0), degrees, np.full(len(row), np.nan), members)


def _kernel(columns: Columns, fit: Fit, c: np.ndarray) -> np.ndarray:
    """Weights of the cells by their distance from c."""
    if not np.isfinite(fit.reach):
        return np.ones((len(c), len(columns.at)))
    own = np.interp(c, columns.grid, np.arange(len(columns.grid)))
    return np.clip(1.0 - np.abs(columns.level - own[:, None]) / fit.reach, 0.0, None)


def _score(columns: Columns, fit: Fit, row: np.ndarray, c: np.ndarray, misfit: bool) -> Score:
    if fit is CELLS:
        return _of_cells(columns, row, c)
    z = columns.at - c[:, None]
    kernel = _kernel(columns, fit, c)
    wins, trials = columns.wins[row], columns.trials[row]
    members = (kernel * trials).sum(axis=1)
    slope = _slopes(fit, z, kernel * wins, kernel * trials, np.diff(columns.at).min())
    p, q, d = fit.curve(np.clip(slope[:, None] * z, -_CLIP, _CLIP))
    v = np.maximum(p * q, 1e-300)
    gain = kernel * d / v
    weight, noise, residual = gain * trials * d, trials * v, wins - trials * p
    slant = (weight * z).sum(axis=1) / np.maximum((weight * z * z).sum(axis=1), 1e-300)
    known = columns.shared[row], columns.alone[row]
    statistic, estimated = _standardised(gain * (1.0 - slant[:, None] * z), residual, noise, *known)
    seeds = columns.seeds[row]
    # A variance that is the hypothesis's own alone is as exact as the sign test that is left then.
    # A design effect is the ratio of two sums over the same residuals, and known better than either.
    degrees = np.maximum(np.where(estimated, 2 * (seeds - 1), seeds), 1).astype(float)
    if fit.reach == GLOBAL:
        statistic = _with_agreement(columns, row, c, statistic, degrees)
    if not misfit:
        return Score(statistic, degrees, np.full(len(row), np.nan), members)
    powers = (2, 3) if fit.reach > 2.0 else (2,)  # two cells to one side have no twist
    basis = [np.ones_like(z), z / np.ptp(columns.at)]
    worst = np.zeros(len(row))
    for power in powers:
        x = _orthogonal(basis[1] ** power, basis, weight)
        basis.append(x)
        bend, _ = _standardised(gain * x, residual, noise, *known)
        worst = np.maximum(worst, np.abs(bend))
    p_value = np.minimum(len(powers) * 2.0 * student.sf(worst, np.maximum(seeds - 1, 1)), 1.0)
    return Score(statistic, degrees, p_value, members)


def _with_agreement(columns: Columns, row: np.ndarray, c: np.ndarray, statistic: np.ndarray, degrees: np.ndarray):
    """Statistics no nearer to 0 than that of the sign test of a cell whose members all agree on the wrong side of c.

    A few of them are a small part of a column's score and alone enough: 0 of 6 at y ≥ c has probability 1/64 or less.
    """
    wins, trials = columns.wins[row], columns.trials[row]
    above = columns.at >= c[:, None]
    none = np.where(above & (wins == 0), trials, 0.0).max(axis=1)
    all_ = np.where(~above & (wins == trials), trials, 0.0).max(axis=1)
    beyond = [np.where(n > 0, student.isf(0.5 ** np.maximum(n, 1.0), degrees), 0.0) for n in (none, all_)]
    statistic = np.where(none > all_, np.minimum(statistic, -beyond[0]), statistic)
    return np.where(all_ > none, np.maximum(statistic, beyond[1]), statistic)


def _standardised(h, residual, noise, shared, alone) -> tuple[np.ndarray, np.ndarray]:
    """(Σ h r in standard deviations, whether a design effect was estimated)."""
    variance = (h * h * noise).sum(axis=1)
    scale = np.maximum(np.abs(h).max(axis=1, initial=0.0) ** 2, 1e-300)
    independent = (h * h * alone).sum(axis=1)
    estimated = independent > 1e-9 * scale
    together = np.einsum("ny,nyz,nz->n", h, shared, h, optimize=True)
    design = np.where(estimated, together / np.where(estimated, independent, 1.0), 1.0)
    some = variance > 1e-9 * scale
    spread = np.sqrt(np.where(some, variance * np.maximum(design, _LEAST_DESIGN), 1.0))
    # Without variance all that was seen is certain under the hypothesis, which is not rejected.
    found = np.where(some, (h * residual).sum(axis=1) / spread, 0.0)
    return np.where(np.abs(found) < _NOTHING, 0.0, found), estimated


def _orthogonal(x: np.ndarray, basis: list[np.ndarray], weight: np.ndarray) -> np.ndarray:
    """x without what the basis explains of it, in the weighted product."""
    A = np.stack(basis, axis=-1)
    left = np.einsum("nyi,ny,nyj->nij", A, weight, A, optimize=True)
    right = np.einsum("nyi,ny,ny->ni", A, weight, x, optimize=True)
    return x - np.einsum("nyi,ni->ny", A, np.einsum("nij,nj->ni", np.linalg.pinv(left, hermitian=True), right))


def _slopes(fit: Fit, z: np.ndarray, wins: np.ndarray, trials: np.ndarray, spacing: float) -> np.ndarray:
    """β of the greatest likelihood under P(c) = ½, by Newton's method kept within a bracket that halves.

    The likelihood of all three curves is concave in β. Over a whole column β ≥ 0: success grows with y.
    """
    reach = np.ptp(z[:1]) if len(z) else 1.0
    far = np.full(len(z), 200.0 / spacing)
    low, high = (np.zeros(len(z)), far) if fit.reach == GLOBAL else (-far, far)
    slope = np.full(len(z), 4.0 / reach if fit.reach == GLOBAL else 0.0)
    going = np.arange(len(z))
    for _ in range(_NEWTON_STEPS):
        b, y = slope[going], z[going]
        p, q, d = fit.curve(np.clip(b[:, None] * y, -_CLIP, _CLIP))
        gain = d / np.maximum(p * q, 1e-300)
        half = np.clip(0.5 * b * reach, -300.0, 300.0)
        rise = ((wins[going] - trials[going] * p) * gain * y).sum(axis=1) - 0.5 * _PRIOR * reach * np.tanh(half)
        fall = (trials[going] * d * gain * y * y).sum(axis=1) + 0.25 * _PRIOR * (reach / np.cosh(half)) ** 2
        low[going], high[going] = np.where(rise > 0, b, low[going]), np.where(rise > 0, high[going], b)
        new = b + rise / np.maximum(fall, 1e-300)
        outside = (new <= low[going]) | (new >= high[going])
        new = np.where(outside, 0.5 * (low[going] + high[going]), new)
        slope[going] = new
        going = going[np.abs(new - b) > 1e-7 * (np.abs(b) + 1e-3 / reach)]
        if not len(going):
            break
    return slope
