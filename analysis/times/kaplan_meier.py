"""Kaplan–Meier curves, their quantiles and restricted means, with intervals that hold under censoring."""

import numpy as np

from ..statistics import wilson


class Curve:
    """Kaplan–Meier curves along the last dimension; members that do not count are left out.

    Members are taken one by one in order of time, events before censorings of the same step: the factors of events
    at one time multiply to 1 − d/n.
    """

    def __init__(self, time: np.ndarray, event: np.ndarray, counted: np.ndarray):
        time = np.where(counted, time, np.inf)
        event = event & counted & np.isfinite(time)
        order = np.lexsort((~event, time), axis=-1)
        self.time = np.take_along_axis(time, order, -1)
        self.event = np.take_along_axis(event, order, -1)
        self.n = counted.sum(axis=-1)[..., None]
        risk = np.maximum(self.n - np.arange(time.shape[-1]), 0)
        safe = np.maximum(risk, 1)
        self.survival = np.cumprod(np.where(self.event, (safe - 1) / safe, 1.0), axis=-1)
        self.greenwood = np.cumsum(np.where(self.event & (risk > 1), 1.0 / (safe * np.maximum(safe - 1, 1)), 0.0), -1)
        self.risk = safe
        # How many were followed up to each time: those of the same time all were.
        new = np.concatenate([np.ones_like(event[..., :1]), self.time[..., 1:] != self.time[..., :-1]], -1)
        begin = np.maximum.accumulate(np.where(new, np.arange(time.shape[-1]), 0), -1)
        self.followed = np.maximum(self.n - begin, 0)
        before = np.take_along_axis(self.survival, np.maximum(begin - 1, 0), -1)
        self.before = np.where(begin > 0, before, 1.0)

    def _size(self) -> np.ndarray:
        """The effective sample size of the curve at every time: how many uncensored members would know S as well.

        Greenwood's variance says (1 − S)/(S Σ d/(n(n − d))), which forgets that members are missing where none of
        those left has an event, and is all of them where the last one does; the members at risk say n_i/S(t_i−) (Peto
        et al. 1977, Br. J. Cancer 35, 1–39), which is too few. Their harmonic mean, the first counted twice: where
        their coverage errs as far to either side (tests/test_survival.py). All are n without censoring.
        """
        at_risk = self.followed / np.where(self.before > 0, self.before, 1.0)
        inside = (self.survival > 0.0) & (self.greenwood > 0.0)
        spread = np.where(inside, self.survival * self.greenwood, 1.0)
        greenwood = np.where(inside, (1.0 - self.survival) / spread, at_risk)
        both = greenwood + 2.0 * at_risk
        return np.where(both > 0, 3.0 * greenwood * at_risk / np.where(both > 0, both, 1.0), 0.0)

    def _bounds(self, survival: np.ndarray, size: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Wilson's interval at the effective sample size."""
        low, high = wilson(survival * size, size, level)
        return np.where(survival <= 0.0, 0.0, low), np.where(survival >= 1.0, 1.0, high)

    def at(self, grid: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(S, low, high) at some times: a new last dimension."""
        shape = (*self.time.shape[:-1], len(grid))
        flat = self.time.reshape(-1, self.time.shape[-1])
        index = np.array([np.searchsorted(row, grid, side="right") for row in flat], int).reshape(shape) - 1
        at = np.maximum(index, 0)
        some = index >= 0

        def pick(values, before):
            return np.where(some, np.take_along_axis(values, at, -1), before)

        survival = pick(self.survival, 1.0)
        low, high = self._bounds(survival, pick(self._size(), self.n), level)
        none = self.n == 0
        return np.where(none, np.nan, survival), np.where(none, 0.0, low), np.where(none, 1.0, high)

    def quantile(self, q: float, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(time at which S falls to 1 − q, and those at which the lower and the upper end of its interval do)."""
        low, high = self._bounds(self.survival, self._size(), level)
        # Inside a run of tied events the curve is not the one after all of them.
        last = np.concatenate([self.time[..., 1:] != self.time[..., :-1], np.ones_like(self.event[..., :1])], -1)

        def first(curve):
            reached = (curve <= 1.0 - q + 1e-12) & last & np.isfinite(self.time)
            found = np.take_along_axis(self.time, np.argmax(reached, -1)[..., None], -1)[..., 0]
            return np.where(reached.any(-1), found, np.inf)

        middle = np.where(self.n[..., 0] > 0, first(self.survival), np.nan)
        return middle, np.where(self.n[..., 0] > 0, first(low), 0.0), first(high)

    def restricted_mean(self, horizon: float, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(∫₀^τ S, and the ends of its interval).

        The time that events save, τ − ∫S, is a share p of members with an event times what one saves, s. The interval
        is Wilson's in p at the effective size at which the binomial variance s² p(1 − p)/n is Greenwood's, and s is
        the mean of what each event saves, weighted with it, and of one more event that saves all of τ: so that few
        events do not make an interval short because they came late or alike. Without an event it is that of 0 of n.
        """
        begin = np.zeros_like(self.time[..., :1])
        clipped = np.minimum(self.time, horizon)
        width = np.diff(np.concatenate([begin, clipped, begin + horizon], -1), axis=-1)
        height = np.concatenate([np.ones_like(begin), self.survival], -1)
        area = width * height
        mean = area.sum(-1)
        drop = np.where(self.event & (self.time < horizon), height[..., :-1] - self.survival, 0.0)
        saved = np.where(drop > 0, horizon - clipped, 0.0)
        lost, square = (drop * saved).sum(-1), (drop * saved**2).sum(-1)
        count = (drop > 0).sum(-1)
        unit = (np.where(lost > 0, square / np.where(lost > 0, lost, 1.0), 0.0) * count + horizon) / (count + 1)
        size = self._size_of_mean(area, mean, square - lost**2, drop)
        low, high = wilson(np.clip(lost / np.maximum(unit, 1e-300), 0.0, 1.0) * size, size, level)
        none = self.n[..., 0] == 0
        low, high = np.maximum(horizon - unit * high, 0.0), np.minimum(horizon - unit * low, horizon)
        return np.where(none, np.nan, mean), np.where(none, 0.0, low), np.where(none, horizon, high)

    def _size_of_mean(self, area: np.ndarray, mean: np.ndarray, variance: np.ndarray, drop: np.ndarray) -> np.ndarray:
        """How many uncensored members would know the mean as well: one member's variance over Greenwood's."""
        beyond = mean[..., None] - np.cumsum(area[..., :-1], -1)  # ∫ from each event to τ
        weight = np.where((drop > 0) & (self.risk > 1), 1.0 / (self.risk * np.maximum(self.risk - 1, 1)), 0.0)
        greenwood = (beyond**2 * weight).sum(-1)
        known = (greenwood > 0) & (variance > 0)
        size = np.where(known, variance / np.where(known, greenwood, 1.0), self.n[..., 0])
        return np.minimum(size, self.n[..., 0])
