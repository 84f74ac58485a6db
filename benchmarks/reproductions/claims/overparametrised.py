"""One teacher neuron, learned by one student neuron or by more."""

import analysis

from ..base import AbstractClaim, Measured, exactly, median, share


class OverParametrised(AbstractClaim):
    """The study that ships. A window's exponent is that of (T + T₀)⁻³: short of 3 by a term of order T₀/T."""

    id = "overparametrised"
    claim = (
        "One relu teacher neuron, output weights fixed at 1: the loss of gradient descent falls as exp(−Ω(T)) for n = "
        "1 student neuron, and as T⁻³ for n ≥ 2."
    )
    source = "Xu & Du 2023, arXiv 2302.10034, abstract"
    interval = (
        "shares of seeds: Wilson, 95%. Exponents: those of `analysis.rates` from step 10⁴ on and from 10³ to 10⁴, "
        "extrapolated to T → ∞ seed by seed (what is missing falls as 1/T); the interval reaches from the lower end of "
        "the median's 95% interval at 10⁴ to as far above the extrapolated median"
    )
    file = "studies/overparametrised.toml"
    widths = (2, 3, 4, 8)

    def published(self):
        rows = {"share of seeds that fall exponentially from step 30 on, n = 1": exactly(1.0)}
        for n in self.widths:
            rows[f"exponent of T, n = {n}"] = exactly(3.0)
            rows[f"share of seeds that fall by a power law from 10⁴ on, n = {n}"] = exactly(1.0)
        return rows

    def measure(self, runs):
        ds = runs["overparametrised"]
        # From step 30 on: before, a neuron that began far away turns to its teacher.
        one = analysis.rates(ds.sel(width=[1]), "loss", after=30)
        rows = {"share of seeds that fall exponentially from step 30 on, n = 1": share(one["law"] == "exponential")}
        more = ds.sel(width=list(self.widths))
        early = analysis.rates(more, "loss", after=1e3, until=1e4)
        late = analysis.rates(more, "loss", after=1e4)
        tended = late["exponent"] + (late["exponent"] - early["exponent"]) / 9.0
        for n in self.widths:
            low, estimate = median(late["exponent"].sel(width=n)).low, median(tended.sel(width=n)).estimate
            rows[f"exponent of T, n = {n}"] = Measured(estimate, low, 2 * estimate - low)
            row = f"share of seeds that fall by a power law from 10⁴ on, n = {n}"
            rows[row] = share(late["law"].sel(width=n) == "power law")
        return rows
