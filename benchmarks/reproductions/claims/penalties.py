"""Penalties whose minima are known in closed form, and where neurons vanish."""

import math

import numpy as np

from ..base import AbstractClaim, bracket, exactly, within

KAPPA = 1 - 2 / math.pi
"""κ(1) of the centred absolute value."""


class WeightDecayMass(AbstractClaim):
    """One teacher neuron of mass 1, eight student neurons."""

    id = "l2_mass"
    claim = (
        "Under l2 of strength λ one unit neuron of centred abs keeps the mass 1 − λ/κ₁ at the risk λ − λ²/2κ₁, and "
        "none from λ = κ₁ on: R = κ₁/2."
    )
    source = "theory.md §8"
    interval = "largest and least of four seeds, ± 1e-7 (a gradient norm of 1e-9)"
    decays = (0.05, 0.1, 0.2, 0.3)

    def tables(self):
        study = {
            "name": "l2_mass",
            "question": "which mass does weight decay leave of one neuron?",
            "seeds": 4,
            "records": 0,
            "probes": ["loss", "risk", "total_mass"],
            "teacher": {"kind": "orthonormal", "activation": "abs_centred", "neurons": 1, "inputs": 3},
            "student": {"neurons": 8, "start": "balanced"},
            "protocol": {
                "kind": "fixed_decay",
                "weight_decay": 0.1,
                "step_size": 0.3,
                "steps": 200_000,
                "grad_norm": 1e-9,
            },
            "axes": {"weight_decay": [*self.decays, 0.4]},
        }
        return [study]

    def published(self):
        found = {}
        for decay in self.decays:
            found[f"mass at λ = {decay:g}"] = exactly(1 - decay / KAPPA, "1 − λ/κ₁")
            found[f"risk at λ = {decay:g}"] = exactly(decay - decay**2 / (2 * KAPPA), "λ − λ²/2κ₁")
        return found | {"mass at λ = 0.4": exactly(0.0), "risk at λ = 0.4": exactly(KAPPA / 2, "κ₁/2")}

    def measure(self, runs):
        ds = runs["l2_mass"]
        found = {}
        for decay in (*self.decays, 0.4):
            for name, probe in (("mass", "total_mass"), ("risk", "risk")):
                values = ds[probe].sel(weight_decay=decay).values
                found[f"{name} at λ = {decay:g}"] = bracket(values.min() - 1e-7, values.max() + 1e-7)
        return found


class GroupLasso(AbstractClaim):
    """The study that ships: proximal descent of one neuron on the teacher's line."""

    id = "group_lasso"
    claim = (
        "Group lasso: descent from mass 1 keeps a neuron up to λ = (2/3)^{3/2}κ₁, from mass 1/5 up to "
        "κ₁(1 − 1/5)√(2/5); the global minimum jumps to 0 at 2κ₁/3√3."
    )
    source = "theory.md §8"
    interval = "neighbouring λ of the grid, 0.005 apart; masses ± 1e-6 (a gradient norm of 1e-12)"
    file = "studies/hysteresis.toml"
    decays = (0.05, 0.1, 0.15)

    def published(self):
        def mass(decay: float) -> float:
            """The larger root m of κ₁(1 − m)√(2m) = λ."""
            low, high = 1 / 3, 1.0
            for _ in range(100):
                middle = 0.5 * (low + high)
                low, high = (middle, high) if KAPPA * (1 - middle) * math.sqrt(2 * middle) > decay else (low, middle)
            return low

        return {
            "last λ with a neuron, from mass 1": exactly((2 / 3) ** 1.5 * KAPPA, "(2/3)^{3/2}κ₁"),
            "last λ with a neuron, from mass 1/5": exactly(0.8 * math.sqrt(0.4) * KAPPA, "κ₁(1 − 1/5)√(2/5)"),
            "λ at which a neuron is worth no more than none": exactly(2 * KAPPA / (3 * math.sqrt(3)), "2κ₁/3√3"),
            **{f"mass at λ = {decay:g}, from mass 1": exactly(mass(decay)) for decay in self.decays},
        }

    def measure(self, runs):
        ds = runs["hysteresis"].isel(seed=0)
        decays = ds["weight_decay"].values
        found = {}
        for start, said in (("teacher", "1"), ("small", "1/5")):
            there = ds["total_mass"].sel(start=start).values > 0
            found[f"last λ with a neuron, from mass {said}"] = bracket(decays[there].max(), decays[~there].min())
        better = (ds["risk"].sel(start="teacher") < 0.5 * KAPPA - 1e-12).values
        found["λ at which a neuron is worth no more than none"] = bracket(decays[better].max(), decays[~better].min())
        for decay in self.decays:
            mass = ds["total_mass"].sel(start="teacher").isel(weight_decay=int(np.abs(decays - decay).argmin()))
            found[f"mass at λ = {decay:g}, from mass 1"] = within(float(mass), 1e-6)
        return found


class Bottleneck(AbstractClaim):
    """The study that ships, of its linear networks."""

    id = "bottleneck"
    claim = (
        "Linear networks under λ·I(x; h), and what the noise costs in the output, keep L = λ²/2 at I = −½ log λ, up to "
        "the onset λ = 1: L = ½ exp(−4I)."
    )
    source = "Tishby, Pereira & Bialek 1999; Chechik et al. 2005 (Gaussian information bottleneck); theory.md §8"
    interval = "largest and least of four seeds, ± 1e-6 (a gradient norm of 1e-8)"
    file = "studies/bottleneck.toml"
    prices = (0.05, 0.1, 0.2, 0.4)

    def files(self):
        fields = {"name": "bottleneck_linear", "axes.activation": ["linear"]}
        return [(self.file, fields | {"axes.information_price.values": list(self.prices)})]

    def published(self):
        found = {}
        for price in self.prices:
            found[f"L at λ = {price:g}"] = exactly(price**2 / 2, "λ²/2")
            found[f"I at λ = {price:g}, nats"] = exactly(-0.5 * math.log(price), "−½ log λ")
        return found

    def measure(self, runs):
        ds = runs["bottleneck_linear"].sel(activation="linear")
        found = {}
        for price in self.prices:
            cell = ds.sel(information_price=price)
            # λI + (s²/2)‖a‖² is what the penalty says; s = 0.3, strengths of the study file.
            noise = 0.5 * 0.3**2 * (cell["a"] ** 2).sum("neuron")
            information = (cell["penalty_value"] - noise) / price
            for name, values in (("L", cell["loss"]), ("I", information)):
                row = f"{name} at λ = {price:g}" + (", nats" if name == "I" else "")
                found[row] = bracket(float(values.min()) - 1e-6, float(values.max()) + 1e-6)
        return found
