"""gd-atlas, the analysis: datasets in, statistics and pictures out, each number with its interval.

Functions take the dataset of `ensemble.run` or `ensemble.open_dataset` and return labelled datasets.
"""

from .alignment import by_stage, recovered, trajectory
from .boundary import boundary
from .certificate import certificates, duality_gap, profile
from .convergence import convergence_time, stopping_time, time_quantiles
from .decay import decay_history, final_decay
from .families import families
from .hessian import hessian_eigenvalues
from .members import below, finished
from .minima import minima, spurious
from .phase import difference, marginal, order_parameter, phase
from .plots import phase_picture
from .rates import rates
from .reference import optimality_gap, reference_optimum
from .scaling import scaling
from .statistics import quantiles, share, wilson
from .summary import summary
from .survival import log_rank, survival

__all__ = [
    "below",
    "boundary",
    "by_stage",
    "certificates",
    "convergence_time",
    "decay_history",
    "difference",
    "duality_gap",
    "families",
    "final_decay",
    "finished",
    "hessian_eigenvalues",
    "log_rank",
    "marginal",
    "minima",
    "optimality_gap",
    "order_parameter",
    "phase",
    "phase_picture",
    "profile",
    "quantiles",
    "rates",
    "recovered",
    "reference_optimum",
    "scaling",
    "share",
    "spurious",
    "stopping_time",
    "summary",
    "survival",
    "time_quantiles",
    "trajectory",
    "wilson",
]
