"""Logistic curves by Firth's penalised likelihood, many at once.

Jeffreys' prior gives the likelihood a finite maximum where all trials on one side fail and all on the other succeed
(Firth 1993, Biometrika 80, 27–38; Heinze & Schemper 2002, Stat. Med. 21, 2409–2419).
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

_STEPS = 200
_HALVINGS = 40
_TOLERANCE = 1e-9
_ROUNDING = 1e-14
_NUDGE = 1e-4
"""Of a standard error: how far the score is differenced."""


def logistic(at: np.ndarray, wins: np.ndarray, trials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(intercept, slope) of P = 1/(1 + exp(−(b₀ + b₁ at))) by Firth's penalised likelihood, one fit a row.

    Newton's method on the score Σ_i (s_i − n_i p_i + h_i(½ − p_i)) (1, at_i), h_i the leverage of all trials at i. A
    step that lowers the penalised likelihood is halved.

    **Returns:** NaN where fewer than two places have trials, and where the maximum was not reached.
    """
    b = np.zeros((len(wins), 2))
    value = _likelihood(b, at, wins, trials)
    done = np.zeros(len(wins), bool)
    going = np.flatnonzero((trials > 0).sum(axis=1) >= 2)
    for _ in range(_STEPS):
        step, near = _step(b[going], at, wins[going], trials[going])
        moved = np.zeros(len(going), bool)
        for halving in range(_HALVINGS):
            left = np.flatnonzero(~moved)
            if not len(left):
                break
            rows = going[left]
            tried = b[rows] + step[left] * 0.5**halving
            found = _likelihood(tried, at, wins[rows], trials[rows])
            better = found >= value[rows] - _ROUNDING * (1.0 + np.abs(value[rows]))
            b[rows[better]], value[rows[better]], moved[left[better]] = tried[better], found[better], True
        # Where no part of a step is uphill although the step is not small, the fit is given up.
        done[going[near]] = True
        going = going[~near & moved]
        if not len(going):
            break
    b[~done] = np.nan
    return b[:, 0], b[:, 1]


class _Local(NamedTuple):
    """What a row's fit is at some (b₀, b₁). Places are taken from their centre of weight: there the information is
    diagonal, and nothing cancels."""

    total: np.ndarray
    """The information of the level, Σ w."""
    centre: np.ndarray
    square: np.ndarray
    """The information of the tilt, Σ w (at − centre)²."""
    residual: np.ndarray
    """The terms of the score."""
    eta: np.ndarray


def _local(b, at, wins, trials) -> _Local:
    eta = b[:, :1] + b[:, 1:] * at
    p, q = expit(eta), expit(-eta)
    weight = trials * p * q
    total = np.maximum(weight.sum(axis=1), 1e-300)
    centre = (weight @ at) / total
    own = at - centre[:, None]
    square = np.maximum((weight * own * own).sum(axis=1), 1e-300)
    leverage = weight * (1.0 / total[:, None] + own * own / square[:, None])
    # Without cancellation at either end of the curve.
    residual = np.where(eta > 0, trials * q - (trials - wins), wins - trials * p) + 0.5 * leverage * (q - p)
    return _Local(total, centre, square, residual, eta)


def _likelihood(b, at, wins, trials) -> np.ndarray:
    here = _local(b, at, wins, trials)
    away = np.logaddexp(0.0, -here.eta), np.logaddexp(0.0, here.eta)
    return 0.5 * (np.log(here.total) + np.log(here.square)) - (wins * away[0] + (trials - wins) * away[1]).sum(axis=1)


def _step(b, at, wins, trials) -> tuple[np.ndarray, np.ndarray]:
    """(Newton's step, or that of Fisher scoring where the likelihood is not concave, whether it is one of rounding)."""
    here = _local(b, at, wins, trials)
    own = at - here.centre[:, None]
    units = 1.0 / np.sqrt(here.total), 1.0 / np.sqrt(here.square)  # a standard error of level and of tilt

    def slopes(level: float, tilt: float) -> np.ndarray:
        moved = b + np.stack([level * units[0] - tilt * units[1] * here.centre, tilt * units[1]], axis=1)
        residual = _local(moved, at, wins, trials).residual
        return np.stack([residual.sum(axis=1) * units[0], (residual * own).sum(axis=1) * units[1]])

    u, v = slopes(0.0, 0.0)
    (uu, vu), (uv, vv) = (
        (slopes(*(_NUDGE * e for e in unit)) - slopes(*(-_NUDGE * e for e in unit))) / (2.0 * _NUDGE)
        for unit in ((1.0, 0.0), (0.0, 1.0))
    )
    cross = 0.5 * (uv + vu)
    det = uu * vv - cross * cross
    concave = (det > 1e-3 * uu * vv) & (uu < 0) & (vv < 0)
    det = np.where(concave, det, 1.0)
    level = np.where(concave, (cross * v - vv * u) / det, u) * units[0]
    tilt = np.where(concave, (cross * u - uu * v) / det, v) * units[1]
    # At most five units of η at any cell: probabilities are flat further away.
    change = np.abs(level[:, None] + tilt[:, None] * own).max(axis=1)
    size = np.minimum(1.0, 5.0 / np.maximum(change, 1e-300))
    step = np.stack([(level - tilt * here.centre) * size, tilt * size], axis=1)
    return step, np.abs(step).max(axis=1) <= _TOLERANCE * (1.0 + np.abs(b).sum(axis=1))
