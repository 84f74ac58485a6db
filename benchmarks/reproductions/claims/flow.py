"""Descent beside gradient flow."""

import numpy as np
import xarray as xr

from ..base import AbstractClaim, Measured, exactly, median


class DescentOfFlow(AbstractClaim):
    """The study that ships: how far descent is from the flow, at the times that every step size has a record of."""

    id = "descent_flow"
    claim = (
        "The loss of descent is at a distance of order η from that of gradient flow, from small starts, which wait "
        "at a saddle, as from large ones."
    )
    source = "Euler's method is of first order (Hairer, Nørsett & Wanner 1993, II.3); theory.md §7"
    interval = (
        "power of η of the largest distance over time, extrapolated seed by seed to η → 0 from 0.2, 0.1 and 0.05 (what "
        "is missing halves with η): the median's 95% interval of order statistics, and on both sides how far that "
        "median is from the one of 0.4, 0.2 and 0.1"
    )
    note = (
        "Between 0.1 and 0.05 themselves it is 0.907 [0.903, 0.937], 0.943 [0.940, 1.072] and 0.999 [0.988, 1.025]: at "
        "a finite η below 1 from the smallest start."
    )
    file = "studies/flow.toml"
    scales, etas = (0.01, 0.1, 1.0), (0.4, 0.2, 0.1, 0.05)

    def published(self):
        return {f"power of η, start of scale {scale:g}": exactly(1.0) for scale in self.scales}

    def measure(self, runs):
        far = distances(runs["flow"], self.etas)
        powers = [np.log(far[k] / far[k + 1]) / np.log(self.etas[k] / self.etas[k + 1]) for k in range(3)]
        earlier, last = (2.0 * powers[k + 1] - powers[k] for k in range(2))
        found = {}
        for row, scale in zip(self.published(), self.scales, strict=True):
            before, now = (median(power.sel(scale=scale)) for power in (earlier, last))
            unsure = abs(now.estimate - before.estimate)
            found[row] = Measured(now.estimate, now.low - unsure, now.high + unsure)
        return found


def distances(ds: xr.Dataset, etas: tuple[float, ...]) -> list[xr.DataArray]:
    """max over time of |loss of descent − loss of flow| for every η: (scale, seed), at the times common to all η."""
    of_steps = ds["loss_history"].drop_vars("step")
    losses = [of_steps.sel(step_size=eta).assign_coords(record=np.round(ds["step"].values * eta, 9)) for eta in etas]
    return [abs(x.sel(update="descent") - x.sel(update="flow")).max("record") for x in xr.align(*losses, join="inner")]
