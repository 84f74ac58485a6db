"""Deep linear networks: exact curves of the modes."""

import math

import numpy as np
from scipy.integrate import quad

import analysis

from ..base import AbstractClaim, exactly, within

MODES = (3.0, 2.0, 1.0)
TEACHER = {"kind": "deep_linear", "singular_values": list(MODES), "inputs": 6, "outputs": 4, "rotation": "random"}
FLOW = {"kind": "flow", "rtol": 1e-10, "atol": 1e-12}


def half_time(depth: int, s: float, scale: float) -> float:
    """t at which u = s/2 from u₀ = `scale`: ∫ du/(L u^{2−2/L}(s − u)), for two layers ln(s/u₀ − 1)/2s."""
    if depth == 2:
        return math.log(s / scale - 1.0) / (2.0 * s)

    def slowness(x: float) -> float:  # in x = ln u
        return math.exp(x * (2.0 / depth - 1.0)) / (depth * (s - math.exp(x)))

    return quad(slowness, math.log(scale), math.log(s / 2), epsabs=1e-13)[0]


class ModeCurves(AbstractClaim):
    """Gradient flow until the very time at which a mode should have half of its singular value."""

    id = "deep_linear_modes"
    claim = (
        "From a balanced, aligned start every mode follows u̇ = L u^{2−2/L}(s − u): its half time is that of the "
        "integral."
    )
    source = "Saxe, McClelland & Ganguli 2014, arXiv 1312.6120"
    interval = "strength at the exact half time under flow solved to rtol 1e-10, ± 1e-7"
    depths, scale, ticks = (2, 3, 4), 0.05, 10

    def _cases(self):
        return [(depth, s) for depth in self.depths for s in MODES]

    def tables(self):
        names = [self._name(*case) for case in self._cases()]
        sizes = [half_time(depth, s, self.scale) / self.ticks for depth, s in self._cases()]
        start = {"kind": "aligned_balanced", "scale": self.scale}
        fields = {"student.depth": [depth for depth, _ in self._cases()], "protocol.step_size": sizes}
        study = {
            "name": "deep_linear_modes",
            "question": "has every mode half of its singular value at the exact time?",
            "records": 0,
            "probes": ["loss", "mode_strength"],
            "teacher": TEACHER,
            "student": {"kind": "deep_linear", "depth": 2, "width": 5, "start": start},
            "protocol": {"kind": "plain", "update": FLOW, "step_size": 0.1, "steps": self.ticks},
            "axes": {"case": {"values": names, "fields": fields}},
        }
        return [study]

    def _name(self, depth: int, s: float) -> str:
        return f"L = {depth}, s = {s:g}"

    def published(self):
        return {
            f"u at t = {half_time(depth, s, self.scale):.5f}, {self._name(depth, s)}": exactly(s / 2, "s/2")
            for depth, s in self._cases()
        }

    def measure(self, runs):
        u = runs["deep_linear_modes"]["mode_strength"].isel(seed=0)
        found = [float(u.sel(case=self._name(depth, s)).isel(mode=MODES.index(s))) for depth, s in self._cases()]
        return {row: within(value, 1e-7) for row, value in zip(self.published(), found, strict=True)}


class RichToLazy(AbstractClaim):
    """Two layers of unequal size: z of theory.md §11 falls exponentially, at a rate that the imbalance sets."""

    id = "deep_linear_imbalance"
    claim = "Two layers with w₂² − w₁² = λ: (z − z₊)/(z − z₋) falls as exp(−√(4s² + λ²) t), from rich to lazy (s = 2)."
    source = "Dominé et al. 2024, arXiv 2409.14623; theory.md §11"
    interval = "the rate between time 0 and 1 under flow solved to rtol 1e-10, ± 1e-6"
    s, scale, sizes = 2.0, 0.01, (0.3, 1.0, 4.0)

    def tables(self):
        study = {
            "name": "deep_linear_imbalance",
            "question": "at which rate does a mode of unequal layers settle?",
            "records": [0, 10],
            "probes": ["loss", "mode_strength"],
            "teacher": TEACHER | {"singular_values": [self.s]},
            "student": {
                "kind": "deep_linear",
                "depth": 2,
                "width": 5,
                "start": {"kind": "lambda_balanced", "scale": self.scale, "imbalance": 1.0},
            },
            "protocol": {"kind": "plain", "update": FLOW, "step_size": 0.1, "steps": 10},
            "axes": {"lambda": {"field": "student.start.imbalance", "values": list(self.sizes)}},
        }
        return [study]

    def published(self):
        return {
            f"rate at λ = {size:g}": exactly(math.sqrt(4 * self.s**2 + size**2), "√(4s² + λ²)") for size in self.sizes
        }

    def measure(self, runs):
        found = {}
        for size in self.sizes:
            u = runs["deep_linear_imbalance"]["mode_strength_history"].sel({"lambda": size}).isel(seed=0, mode=0).values
            z = (2 * u + np.sqrt(size**2 + 4 * u**2)) / size
            root = math.sqrt(4 * self.s**2 + size**2)
            ratio = (z - (2 * self.s + root) / size) / (z - (2 * self.s - root) / size)
            found[f"rate at λ = {size:g}"] = within(float(-np.log(ratio[1] / ratio[0])), 1e-6)
        return found


class DescentOfModes(AbstractClaim):
    """Descent against the exact curves at three step sizes and one time."""

    id = "deep_linear_descent"
    claim = "Descent of deep linear networks is at a distance of order η from the exact curves."
    source = "theory.md §11"
    interval = (
        "power of η between the two smallest of four step sizes, ± 1.5 times how far it is from that of the pair before"
    )
    etas, depths, time = (0.02, 0.01, 0.005, 0.0025), (2, 3, 4), 4.0

    def tables(self):
        etas = list(self.etas)
        steps = [round(self.time / eta) for eta in etas]
        study = {
            "name": "deep_linear_descent",
            "question": "how far is descent from the exact curves?",
            "records": sorted({k * n // 20 for n in steps for k in range(21)}),
            "probes": ["loss", "mode_strength"],
            "teacher": TEACHER,
            "student": {
                "kind": "deep_linear",
                "depth": 3,
                "width": 5,
                "start": {"kind": "aligned_balanced", "scale": 0.05},
            },
            "protocol": {"kind": "plain", "step_size": 0.02, "steps": 200},
            "axes": {
                "depth": list(self.depths),
                "eta": {"values": etas, "fields": {"protocol.step_size": etas, "protocol.steps": steps}},
            },
        }
        return [study]

    def published(self):
        return {f"power of η, L = {depth}": exactly(1.0) for depth in self.depths}

    def measure(self, runs):
        ds = runs["deep_linear_descent"].isel(seed=0)
        far = np.abs(ds["mode_strength_history"] - analysis.mode_curves(runs["deep_linear_descent"])["exact"]).max(
            "mode"
        )
        found = {}
        for depth in self.depths:
            # At the same twenty times for every step size.
            at = [np.isin(ds["step"], np.arange(21) * round(self.time / eta) // 20) for eta in self.etas]
            distances = [
                float(far.sel(depth=depth, eta=eta)[there].max()) for eta, there in zip(self.etas, at, strict=True)
            ]
            logs = np.log(distances)
            powers = np.diff(logs) / np.diff(np.log(self.etas))
            last = float(powers[-1])
            found[f"power of η, L = {depth}"] = within(last, 1.5 * abs(last - float(powers[-2])))
        return found
