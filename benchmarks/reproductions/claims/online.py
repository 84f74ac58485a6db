"""Online learning of committees: the symmetric plateau, noise floors, and networks of finitely many inputs."""

import math
from typing import Any

import numpy as np

import analysis
import ensemble as ens

from ..base import AbstractClaim, Measured, exactly, limit, mean, within


def plateau(K: int) -> float:
    """ε = (K/π)(π/6 − K arcsin(1/2K))."""
    return K / math.pi * (math.pi / 6 - K * math.asin(1 / (2 * K)))


class Plateaus(AbstractClaim):
    """Rows that are equal stay equal under the population's gradient, which leads them to the plateau's own point."""

    id = "plateaus"
    claim = (
        "An erf committee of K neurons that learns from K orthonormal ones waits at ε = (K/π)(π/6 − K arcsin(1/2K))."
    )
    source = "Saad & Solla 1995, Phys. Rev. E 52, 4225"
    interval = "the loss of descent from equal rows to a gradient norm of 1e-8, ± 1e-9"
    sizes = (2, 3, 4, 5)

    def tables(self):
        sizes = list(self.sizes)
        fields = {path: sizes for path in ("teacher.neurons", "teacher.inputs", "student.neurons")}
        fields["student.start"] = [{"kind": "given", "a": [1.0] * K, "W": np.full((K, K), 0.1).tolist()} for K in sizes]
        study = {
            "name": "plateaus",
            "question": "at which loss does an erf committee wait before its neurons part?",
            "records": 0,
            "probes": ["loss", "grad_norm"],
            "teacher": {"kind": "orthonormal", "activation": "erf", "neurons": 2, "inputs": 2},
            "student": {"neurons": 2, "start": fields["student.start"][0]},
            "protocol": {"kind": "plain", "layers": "first", "step_size": 0.2, "steps": 20_000, "grad_norm": 1e-8},
            "axes": {"K": {"values": sizes, "fields": fields}},
        }
        return [study]

    def published(self):
        return {f"ε at K = {K}": exactly(plateau(K)) for K in self.sizes}

    def measure(self, runs):
        loss = runs["plateaus"]["loss"].isel(seed=0)
        return {f"ε at K = {K}": within(float(loss.sel(K=K)), 1e-9) for K in self.sizes}


class NoiseFloorErf(AbstractClaim):
    """The closed equations at three step sizes, and what their floors tend to."""

    id = "noise_floor_erf"
    claim = (
        "Label noise σ leaves an online erf committee of K = M + L neurons at ε → (ησ²/2π)(L + M/√3) for small η "
        "(M = 2)."
    )
    source = "Goldt et al. 2019, arXiv 1906.08632; theory.md §10"
    interval = "the closed equations at ηd = 0.04, 0.02, 0.01: the limit ε/(ησ²), ± how far two limits of pairs differ"
    sizes, M, noise = (0.04, 0.02, 0.01), 2, 0.1

    def table(self, extra: int, size: float) -> dict[str, Any]:
        inputs, M = 400, self.M
        rows = np.zeros((M + extra, inputs))
        rows[:M, :M] = np.eye(M)
        rows[M:, inputs - extra :] = 0.01 * np.eye(extra)
        return {
            "name": f"noise_floor_erf_{extra}_{size:g}",
            "records": [0],
            "probes": ["loss"],
            "teacher": {"kind": "orthonormal", "activation": "erf", "neurons": M, "inputs": inputs},
            "student": {"neurons": M + extra, "start": {"kind": "given", "a": [1.0] * (M + extra), "W": rows.tolist()}},
            "protocol": {"kind": "plain", "layers": "first", "step_size": size / inputs, "steps": 40_000_000},
            "data": {"online": True, "noise": self.noise},
        }

    def tables(self):
        return [self.table(extra, size) for extra in (0, 1, 2) for size in self.sizes]

    def published(self):
        return {
            f"ε/(ησ²) at L = {L}": exactly((L + self.M / math.sqrt(3)) / (2 * math.pi), "(L + M/√3)/2π")
            for L in (0, 1, 2)
        }

    def measure(self, runs):
        found = {}
        for extra in (0, 1, 2):
            floors = []
            for size in self.sizes:
                study = ens.Study.model_validate(self.table(extra, size))
                # A floor is reached in a time of order 1/curvature, whatever the step size.
                solved = analysis.order_parameters(study, [0.0, 200.0, 500.0])["loss"].isel(seed=0)
                assert abs(float(solved[2] / solved[1]) - 1.0) < 1e-5, "the floor was not reached"
                floors.append(float(solved[2]) / (size * self.noise**2))
            found[f"ε/(ησ²) at L = {extra}"] = limit(*floors)
        return found


class NoiseFloorLinear(AbstractClaim):
    """Online members at d = 100, averaged over late records; a seed's mean is one value."""

    id = "noise_floor_linear"
    claim = "Label noise leaves online linear committees at ε = ησ²K/(4 − 2ηK) for d → ∞, at every η below 2/K."
    source = (
        "Saad & Solla 1995; Goldt et al. 2019; theory.md §10. At finite d: least mean squares, 2ηK(1 + 2/d) for 2ηK"
    )
    interval = "95%, Student's t over seeds of the mean over 18 records from time 17.5 to 60"
    sizes, d, eta, noise = (1, 2, 3), 100, 0.3, 0.2

    def tables(self):
        last = round(60 * self.d / self.eta)
        study = {
            "name": "noise_floor_linear",
            "question": "which loss does label noise leave to online learning of linear committees?",
            "seeds": 64,
            "records": [round(time * self.d / self.eta) for time in np.arange(17.5, 60.1, 2.5)],
            "probes": ["loss"],
            "teacher": {"kind": "orthonormal", "activation": "linear", "neurons": 1, "inputs": self.d},
            "student": {"neurons": 1, "start": "xavier"},
            "protocol": {"kind": "plain", "layers": "first", "step_size": self.eta / self.d, "steps": last},
            "data": {"online": True, "noise": self.noise},
            "axes": {"K": {"field": "student.neurons", "values": list(self.sizes)}},
        }
        return [study]

    def published(self):
        def floor(K: int) -> float:
            return self.eta * self.noise**2 * K / (4 - 2 * self.eta * K * (1 + 2 / self.d))

        return {f"ε at K = {K}, d = {self.d}": exactly(floor(K)) for K in self.sizes}

    def measure(self, runs):
        loss = runs["noise_floor_linear"]["loss_history"].mean("record")
        return {f"ε at K = {K}, d = {self.d}": mean(loss.sel(K=K)) for K in self.sizes}


class OnlineEquations(AbstractClaim):
    """The study that ships: every member against the equations from its own start."""

    id = "online_equations"
    claim = "Online erf committees of finitely many inputs follow the closed equations for d → ∞."
    source = "Saad & Solla 1995; Goldt et al. 2019"
    interval = "95%, Student's t over seeds of ε − solution, over the solution's ε"
    file = "studies/online.toml"
    times = (20.0, 60.0, 200.0)

    def published(self):
        return {f"(ε − solution)/solution at d = {d}, time {time:g}": exactly(0.0) for d, time in self._rows()}

    def _rows(self):
        return [(d, time) for d in (50, 100, 200, 400) for time in self.times]

    def measure(self, runs):
        found = analysis.order_deviation(runs["online"])
        rows = {}
        for d, time in self._rows():
            cell = found.sel(d=d)
            here = cell.isel(record=int(np.abs(cell["time"].values - time).argmin()))
            ends = [float(here[name] / here["solution"]) for name in ("mean", "mean_low", "mean_high")]
            rows[f"(ε − solution)/solution at d = {d}, time {time:g}"] = Measured(*ends)
        return rows
