"""How fast the tangent kernel ceases to move as the output scale grows."""

import numpy as np

from ..base import AbstractClaim, Measured, exactly, mean

SCALES = {"erf": (10.0, 30.0, 100.0, 300.0), "abs_centred": (30.0, 100.0, 300.0, 1000.0)}
"""α² of a smooth activation falls to the rounding of the kernel's change, 1e-7, beyond 300."""


class LazySlopes(AbstractClaim):
    """Recentred students at one time for every α (step size η/α²), eight neurons, from both kinds of start."""

    id = "lazy_slopes"
    claim = (
        "The relative change of the tangent kernel falls with the output scale α as α⁻¹ from an independent start "
        "and as α⁻² from an antisymmetric one, where its first order cancels; with a kink (relu, abs) as α^(−1/2) "
        "from both."
    )
    source = (
        "Chizat, Oyallon & Bach 2019, arXiv 1812.07956 (the limit); theory.md §11 and docs/theory.md (the exponents)"
    )
    interval = (
        "exponent between the two largest α, seed by seed: mean with Student's t at 95%, or, where that is wider, "
        "± how far it is from the exponent of the pair before"
    )
    starts = ("balanced", "symmetric")

    def tables(self):
        def study(sigma: str, eta: float) -> dict:
            start = {
                "values": list(self.starts),
                "fields": {"student.start": [{"kind": kind, "scale": 8.0**0.5} for kind in self.starts]},
            }
            scales = list(SCALES[sigma])
            sizes = [eta / scale**2 for scale in scales]
            scale = {
                "values": scales,
                "fields": {"student.output_scale": scales, "protocol.step_size": sizes},
            }
            return {
                "name": f"lazy_slopes_{sigma}",
                "question": "how fast does the change of the tangent kernel fall with the output scale?",
                "seeds": 10,
                "records": [0],
                "probes": ["loss", "kernel_change"],
                "teacher": {"kind": "orthonormal", "activation": sigma, "neurons": 2, "inputs": 3},
                "student": {
                    "neurons": 8,
                    "recentred": True,
                    "output_scale": 1.0,
                    "start": {"kind": "balanced", "scale": 8.0**0.5},
                },
                "protocol": {"kind": "plain", "step_size": 0.5, "steps": 100},
                "axes": {"start": start, "scale": scale},
            }

        return [study("erf", 0.5), study("abs_centred", 0.2)]

    def published(self):
        rows = {}
        for sigma, (independent, symmetric) in {"erf": (-1.0, -2.0), "abs_centred": (-0.5, -0.5)}.items():
            rows[f"exponent of α, {sigma}, independent start"] = exactly(independent)
            rows[f"exponent of α, {sigma}, antisymmetric start"] = exactly(symmetric)
        return rows

    def measure(self, runs):
        rows = {}
        for sigma in ("erf", "abs_centred"):
            change = runs[f"lazy_slopes_{sigma}"]["kernel_change"]
            for start, said in zip(self.starts, ("independent", "antisymmetric"), strict=True):
                logs = np.log(change.sel(start=start, scale=list(SCALES[sigma])).transpose("seed", "scale").values)
                slopes = np.diff(logs, axis=1) / np.diff(np.log(SCALES[sigma]))
                found = mean(slopes[:, -1])
                far = max(found.high - found.estimate, abs(found.estimate - float(slopes[:, -2].mean())))
                values = Measured(found.estimate, found.estimate - far, found.estimate + far)
                rows[f"exponent of α, {sigma}, {said} start"] = values
        return rows
