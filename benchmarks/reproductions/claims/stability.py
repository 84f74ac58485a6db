"""Where updates cease to come to rest."""

from typing import ClassVar

import numpy as np

import ensemble as ens

from ..base import AbstractClaim, Measured, bracket, exactly, limit, within

SHARES = (0.9, 0.97, 0.99, 0.997, 0.999, 1.001, 1.003, 1.01, 1.03, 1.1)
"""Step sizes beside a limit, over it."""


class StabilityLimits(AbstractClaim):
    """One linear neuron, output weight fixed at 1: the loss is ½‖w − w*‖², a quadratic of curvature ℓ = 1.

    Adam's preconditioner stands still where ε is far above every gradient: P = ε.
    """

    id = "stability_limits"
    claim = (
        "On a quadratic of curvature ℓ descent rests up to ηℓ = 2, heavy ball up to 2(1 + μ), Nesterov's up to "
        "2(1 + μ)/(1 + 2μ), Adam with its preconditioner P frozen up to ηλ_max(P⁻¹H) = (2 + 2β₁)/(1 − β₁)."
    )
    source = "Polyak 1964; Cohen et al. 2022, arXiv 2207.14484; theory.md §7"
    interval = "the last step size of the grid at which all members rest, and the first at which none does"
    frozen = 1e8
    updates: ClassVar = {
        "descent": ({"kind": "descent"}, 2.0, 1.0),
        "heavy ball, μ = 0.5": ({"kind": "momentum", "momentum": 0.5}, 3.0, 1.0),
        "heavy ball, μ = 0.9": ({"kind": "momentum", "momentum": 0.9}, 3.8, 1.0),
        "Nesterov, μ = 0.9": ({"kind": "nesterov", "momentum": 0.9}, 3.8 / 2.8, 1.0),
        "Adam, β₁ = 0.5": ({"kind": "adam", "b1": 0.5, "eps": frozen}, 6.0, frozen),
        "Adam, β₁ = 0.9": ({"kind": "adam", "b1": 0.9, "eps": frozen}, 38.0, frozen),
    }

    def tables(self):
        names = list(self.updates)
        cases = [(name, share) for name in names for share in SHARES]
        fields = {
            "protocol.update": [self.updates[name][0] for name, _ in cases],
            "protocol.step_size": [self.updates[name][1] * self.updates[name][2] * share for name, share in cases],
        }
        study = {
            "name": "stability_limits",
            "question": "up to which step size does every update come to rest on a quadratic?",
            "seeds": 3,
            "records": [0],
            "probes": ["loss"],
            "teacher": {"kind": "orthonormal", "activation": "linear", "neurons": 1, "inputs": 4},
            "student": {"neurons": 1, "start": "xavier"},
            "protocol": {"kind": "plain", "layers": "first", "step_size": 1.0, "steps": 60_000},
            "coordinates": "full",
            "axes": {"case": {"values": [f"{name}, {share:g}" for name, share in cases], "fields": fields}},
        }
        return [study]

    def published(self):
        return {f"limit of ηℓ, {name}": exactly(known) for name, (_, known, _) in self.updates.items()}

    def measure(self, runs):
        ds = runs["stability_limits"]
        found = {}
        for name, (_, known, _) in self.updates.items():
            cells = ds.sel(case=[f"{name}, {share:g}" for share in SHARES])
            before, after = cells["loss_history"].isel(record=0), cells["loss"]
            left = (after < 1e-6 * before).all("seed").values
            away = ((after > before) | (cells["status"] == ens.STATUS["diverged"])).all("seed").values
            calm = max((s for s, rests in zip(SHARES, left, strict=True) if rests), default=0.0)
            wild = min((s for s, leaves in zip(SHARES, away, strict=True) if leaves and s > calm), default=np.inf)
            found[f"limit of ηℓ, {name}"] = bracket(calm * known, wild * known)
        return found


class Balancing(AbstractClaim):
    """Two relu teachers, four neurons from rows and output weights of different size; Σ step size = 8."""

    id = "balancing"
    claim = (
        "Weight decay λ balances the layers: a² − ‖w‖² falls as exp(−2λt), whatever the teacher; under path_norm it "
        "stays."
    )
    source = "Du, Hu & Lee 2018, arXiv 1806.00900 (λ = 0); theory.md §4, §8"
    interval = "rate of ln max|a² − ‖w‖²| at η = 0.02, 0.01, 0.005, ± how far two limits of pairs differ"
    etas, decay = (0.02, 0.01, 0.005), 0.05

    def tables(self):
        etas = list(self.etas)
        study = {
            "name": "balancing",
            "question": "at which rate do the layers balance?",
            "records": [0],
            "probes": ["loss", "imbalance"],
            "teacher": {"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 4},
            "student": {"neurons": 4, "start": "xavier"},
            "protocol": {"kind": "fixed_decay", "weight_decay": self.decay, "step_size": 0.01, "steps": 800},
            "axes": {
                "penalty": ["l2", "path_norm"],
                "eta": {
                    "values": etas,
                    "fields": {"protocol.step_size": etas, "protocol.steps": [round(8 / eta) for eta in etas]},
                },
            },
        }
        return [study]

    def published(self):
        return {"rate under l2": exactly(2 * self.decay, "2λ"), "rate under path_norm": exactly(0.0)}

    def measure(self, runs):
        ds = runs["balancing"].isel(seed=0)
        fall = np.log(ds["imbalance_history"].isel(record=0) / ds["imbalance"]) / 8.0
        return {f"rate under {kind}": limit(*fall.sel(penalty=kind).values.tolist()) for kind in ("l2", "path_norm")}


class Certified(AbstractClaim):
    """The worked example of theory.md §4."""

    id = "certificate"
    claim = (
        "Three teachers at 0, 0.9 and 1.9 rad in d = 6, a* = (1, −1, 1.5), λ = 0.01, m = 24, centred abs: descent ends "
        "at the global minimum over networks of every width, which the duality gap proves."
    )
    source = "theory.md §4 (convex in the measure: Bach 2017, J. Mach. Learn. Res. 18(19))"
    interval = "least risk of four seeds, and the lower bound that its duality gap proves, less rounding (1e-13)"

    def tables(self):
        angles = np.array([0.0, 0.9, 1.9])
        rows = np.zeros((3, 6))
        rows[:, 0], rows[:, 1] = np.cos(angles), np.sin(angles)
        study = {
            "name": "certificate",
            "question": "is the network that descent finds the best of every width?",
            "seeds": 4,
            "records": 0,
            "probes": ["loss", "risk", "gap", "certificate_max"],
            "teacher": {"kind": "given", "activation": "abs_centred", "a": [1.0, -1.0, 1.5], "W": rows.tolist()},
            "student": {"neurons": 24, "start": "balanced"},
            "protocol": {"kind": "fixed_decay", "weight_decay": 0.01, "step_size": 0.2, "steps": 40_000},
        }
        return [study]

    def published(self):
        return {
            "least risk": exactly(0.0331907883537, digits=12),
            "max |c|/λ of the certificate": exactly(1.0),
        }

    def measure(self, runs):
        ds = runs["certificate"]
        best = ds.isel(seed=int(ds["gap"].argmin("seed")))
        risk, gap = float(best["risk"]), float(best["gap"])
        # The published risk has 13 decimals.
        return {
            "least risk": Measured(risk, risk - gap - 1e-13, risk + 1e-13),
            "max |c|/λ of the certificate": within(float(best["certificate_max"]), 1e-9),
        }
