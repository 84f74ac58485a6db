"""Least squares on finite samples."""

import numpy as np

from ..base import AbstractClaim, exactly, mean


class LeastSquares(AbstractClaim):
    """y = w*·x + noise fitted by the output layer over W = I, exactly and with the least norm.

    Within three of d the error has no variance, and a mean no interval.
    """

    id = "least_squares"
    claim = (
        "Gaussian least squares in d = 8: E excess = σ²d/(n − d − 1) for n > d + 1; with the least norm "
        "‖w*‖²(1 − n/d) + σ²n/(d − n − 1) for n < d − 1 (σ = ‖w*‖ = 1)."
    )
    source = "Hastie et al. 2022, Ann. Stat. 50, 949; exact at finite n: theory.md §10"
    interval = "95%, Student's t over seeds"
    d, sizes = 8, (2, 3, 4, 14, 20, 32, 64)

    def tables(self):
        d = self.d
        fit = {"name": "fit", "update": "ridge", "layers": "output"}
        rest = {"name": "rest", "step_size": 1e-300, "steps": 1}  # a member takes at least one step
        study = {
            "name": "least_squares",
            "question": "which excess risk does least squares have at finite n?",
            "seeds": 4000,
            "records": 0,
            "probes": ["loss"],
            "teacher": {"kind": "orthonormal", "activation": "linear", "neurons": 1, "inputs": d, "rotation": "random"},
            "student": {"neurons": d, "start": {"kind": "given", "a": [0.0] * d, "W": np.eye(d).tolist()}},
            "data": {"samples": 20, "noise": 1.0},
            "protocol": {"kind": "stages", "stages": [fit, rest]},
            "axes": {"samples": list(self.sizes)},
        }
        return [study]

    def published(self):
        d = self.d

        def excess(n: int) -> float:
            return d / (n - d - 1) if n > d + 1 else 1.0 - n / d + n / (d - n - 1)

        return {f"E‖w − w*‖² at n = {n}": exactly(excess(n)) for n in self.sizes}

    def measure(self, runs):
        loss = runs["least_squares"]["loss"]
        return {f"E‖w − w*‖² at n = {n}": mean(2.0 * loss.sel(samples=n)) for n in self.sizes}
