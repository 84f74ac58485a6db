"""gd-atlas, the analysis: datasets in, statistics and pictures out, each number with its interval.

Functions take the dataset of `ensemble.run` or `ensemble.open_dataset` and return labelled datasets.
"""

from .alignment import by_stage, recovered, trajectory
from .certificate import certificates, duality_gap, final_decay
from .convergence import convergence_time, stopping_time, time_quantiles
from .members import below, finished
from .minima import minima, spurious
from .phase import marginal, phase
from .plots import phase_picture
from .statistics import quantiles, share, wilson
from .summary import summary

__all__ = [
    "below",
    "by_stage",
    "certificates",
    "convergence_time",
    "duality_gap",
    "final_decay",
    "finished",
    "marginal",
    "minima",
    "phase",
    "phase_picture",
    "quantiles",
    "recovered",
    "share",
    "spurious",
    "stopping_time",
    "summary",
    "time_quantiles",
    "trajectory",
    "wilson",
]
