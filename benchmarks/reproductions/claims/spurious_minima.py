"""Spurious minima of k orthonormal relu teachers, output weights fixed at 1."""

import itertools
import math
from typing import Any

import numpy as np
import scipy.optimize

import analysis

from ..base import AbstractClaim, Measured, Published, bracket, exactly, share

FILE = "studies/spurious_minima.toml"
KS = (7, 8, 12, 16, 20)


def relu_loss(W: np.ndarray, V: np.ndarray) -> float:
    """½E(Σ relu(w_i·x) − Σ relu(v_j·x))², written out: an independent path."""

    def kernel(A: np.ndarray, B: np.ndarray) -> float:
        sizes = np.linalg.norm(A, axis=1)[:, None] * np.linalg.norm(B, axis=1)
        cosine = np.clip(A @ B.T / sizes, -1.0, 1.0)
        angle = np.arccos(cosine)
        return float(np.sum(sizes * (np.sin(angle) + (math.pi - angle) * cosine)) / (2 * math.pi))

    return 0.5 * kernel(W, W) - kernel(W, V) + 0.5 * kernel(V, V)


def one_turned(k: int) -> float:
    """The loss of the minimum with one anti-aligned neuron, among networks that permutations of the other k − 1 leave
    as they are: five numbers, by minimisation."""

    def loss(p: np.ndarray) -> float:
        W = np.full((k, k), p[1])
        np.fill_diagonal(W, p[0])
        W[:-1, -1], W[-1, :-1], W[-1, -1] = p[2], p[3], p[4]
        return relu_loss(W, np.eye(k))

    start = np.array([1.0, 0.0, 2.0 / k, 2.0 / k, -1.0])
    return float(scipy.optimize.minimize(loss, start, method="BFGS", jac="3-point", options={"gtol": 1e-9}).fun)


class SpuriousShares(AbstractClaim):
    """The study that ships, at five k of its fifteen and 300 of its 1 000 seeds."""

    id = "spurious_shares"
    claim = (
        "Descent from random rows ends in spurious minima for 6 ≤ k ≤ 20, the more often the larger k; one extra "
        "neuron makes them drastically rarer."
    )
    source = "Safran & Shamir 2018, arXiv 1712.08968, abstract (the percentages of its tables were not at hand)"
    interval = "95%: Wilson of 300 seeds; differences: Newcombe, paired by seed"
    file = FILE

    def files(self):
        return [(FILE, _axis(KS))]

    def published(self):
        some, more = np.nextafter(0.0, 1.0), "> 0"
        rows = {f"share that ends in a spurious minimum, k = {k}": Published(some, 1.0, more) for k in KS}
        for few, many in itertools.pairwise(KS):
            rows[f"the same at k = {many} less that at k = {few}"] = Published(some, 1.0, more)
        for k in KS[1:]:
            rows[f"at k = {k} less that with an extra neuron"] = Published(some, 1.0, more)
        return rows

    def measure(self, runs):
        ds = runs["spurious_minima"]
        plain, extra = ds.sel(extra_neurons=0), ds.sel(extra_neurons=1)
        rows = {}
        for k in KS:
            rows[f"share that ends in a spurious minimum, k = {k}"] = share(plain["loss"].sel(k=k) > 1e-12)

        def less(one, other) -> Measured:
            """How much more often `one` ends above the global minimum: how much more often `other` ends below 1e-12."""
            found = analysis.difference(one.drop_vars("k"), other.drop_vars("k"), "loss", 1e-12)
            return Measured(*(float(found[name]) for name in ("difference", "low", "high")))

        for few, many in itertools.pairwise(KS):
            rows[f"the same at k = {many} less that at k = {few}"] = less(plain.sel(k=many), plain.sel(k=few))
        for k in KS[1:]:
            rows[f"at k = {k} less that with an extra neuron"] = less(plain.sel(k=k), extra.sel(k=k))
        return rows


class SpuriousFamily(AbstractClaim):
    """Of the same runs: the family of spurious minima of least loss."""

    id = "spurious_family"
    claim = (
        "The spurious minima of least loss are those with one anti-aligned neuron, which permutations of the "
        "other k − 1 leave as they are: their loss is a minimum over five numbers."
    )
    source = "Arjevani & Field 2019 to 2021 (symmetry breaking); the five-number minimum is computed here by SciPy"
    interval = "least and largest loss of the family's members, ± 1e-9"
    file = FILE
    ks = (8, 12, 16, 20)

    def files(self):
        return [(FILE, _axis(KS))]

    def published(self):
        return {f"least spurious loss at k = {k}": exactly(one_turned(k)) for k in self.ks}

    def measure(self, runs):
        found = analysis.minima(runs["spurious_minima"].sel(extra_neurons=[0])).isel(extra_neurons=0)
        rows = {}
        for k in self.ks:
            cell = found.sel(k=k)
            first = int(np.flatnonzero((cell["count"] > 0) & ~cell["is_global"])[0])
            loss, spread = (float(cell[name].isel(family=first)) for name in ("loss", "spread"))
            rows[f"least spurious loss at k = {k}"] = bracket(loss - spread - 1e-9, loss + spread + 1e-9)
        return rows


def _axis(ks: tuple[int, ...]) -> dict[str, Any]:
    """The axis over k at some of its values."""
    paths = ("teacher.neurons", "teacher.inputs", "student.neurons")
    return {"seeds": 300, "axes.k.values": list(ks), "axes.k.fields": {path: list(ks) for path in paths}}
