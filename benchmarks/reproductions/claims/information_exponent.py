"""How long a single index takes to be found."""

import numpy as np

import analysis

from ..base import AbstractClaim, exactly, median

ETA = 0.05


class InformationExponent(AbstractClaim):
    """The study that ships; a seed has the same start at every d but for m ≈ z/√d, so that slopes are taken by seed."""

    id = "information_exponent"
    claim = (
        "Population descent on the sphere finds a single index h_k, ṁ = k m^{k−1}(1 − m²), in a time that grows "
        "as ¼ ln d for k = 2, as d^{1/2} for k = 3 and as d for k = 4."
    )
    source = "Ben Arous, Gheissari & Jagannath 2021, arXiv 2003.10409; theory.md §10"
    interval = "slope over d = 100, 1 000, 10 000 by seed: median with the 95% interval of order statistics"
    note = (
        "At finite d the time for k = 3 is A√d less a constant, since ∫dm/3m²(1 − m²) from m ≈ z/√d begins with 1/3m: "
        "the power that three d give is above ½ for it, and tends to it as d → ∞."
    )
    file = "studies/information_exponent.toml"

    def published(self):
        # A step multiplies a small m by 1 + 2η for k = 2, where the flow multiplies it by exp(2η).
        slope = ETA / (2 * np.log1p(2 * ETA))
        return {
            "slope per ln d, k = 2": exactly(slope, "η/(2 ln(1 + 2η)), → ¼ as η → 0,"),
            "power of d, k = 3": exactly(0.5),
            "power of d, k = 4": exactly(1.0),
        }

    def measure(self, runs):
        found = analysis.time_below(runs["information_exponent"], "max_angle", 1.0)
        time = ETA * np.sqrt(found["after"] * found["by"])
        d = np.log(time["inputs"].values.astype(float))
        rows = {}
        for row, k in zip(self.published(), (2, 3, 4), strict=True):
            values = time.sel(k=k).transpose("inputs", "seed").values
            values = values[:, np.isfinite(values).all(axis=0) & (values > 0).all(axis=0)]
            slopes = np.polyfit(d, values if k == 2 else np.log(values), 1)[0]
            rows[row] = median(slopes)
        return rows
