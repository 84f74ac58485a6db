"""gd-atlas, the analysis: datasets in, statistics and pictures out, each number with its interval.

Functions take the dataset of `ensemble.run` or `ensemble.open_dataset` and return labelled datasets.
"""

from .alignment import by_stage, recovered, trajectory
from .boundaries.boundary import boundary
from .boundaries.complexity import sample_complexity
from .boundaries.refine import refine
from .learning_curves import double_descent, learning_curve
from .members import below, finished
from .modes import learning_steps, learning_time, mode_curves, mode_strength
from .online.deviation import deviation_exponent, order_deviation
from .online.order_parameters import order_parameters
from .phase import difference, marginal, order_parameter, phase
from .plots import (
    angle_picture,
    complexity_picture,
    difference_picture,
    feature_picture,
    layer_picture,
    mode_picture,
    neuron_picture,
    online_picture,
    order_picture,
    overlap_picture,
    phase_picture,
    profile_picture,
    pruning_picture,
    robustness_picture,
    save,
    shift_picture,
    survival_picture,
    trajectory_picture,
    transfer_picture,
)
from .predictions import predictions
from .statistics import quantiles, share, wilson
from .summary import summary
from .tables import table
from .times.convergence import stopping_time, time_below, time_quantiles
from .times.plateaus import escape_times
from .times.rates import rates
from .times.records import record_times
from .times.survival import log_rank, survival
from .two_layer.certificate import certificates, duality_gap, profile
from .two_layer.families import families
from .two_layer.hessian import hessian_eigenvalues
from .two_layer.minima import minima, spurious
from .two_layer.reference import Reference, ReferenceWarning, optimality_gap, reference_optimum
from .two_layer.scaling import scaling
from .uses.features import features
from .uses.paired import paired
from .uses.pruning import importance, pruned, pruning
from .uses.robustness import robust_loss
from .uses.shift import shifted_loss
from .uses.transfer import transfer

__all__ = [
    "Reference",
    "ReferenceWarning",
    "angle_picture",
    "below",
    "boundary",
    "by_stage",
    "certificates",
    "complexity_picture",
    "deviation_exponent",
    "difference",
    "difference_picture",
    "double_descent",
    "duality_gap",
    "escape_times",
    "families",
    "feature_picture",
    "features",
    "finished",
    "hessian_eigenvalues",
    "importance",
    "layer_picture",
    "learning_curve",
    "learning_steps",
    "learning_time",
    "log_rank",
    "marginal",
    "minima",
    "mode_curves",
    "mode_picture",
    "mode_strength",
    "neuron_picture",
    "online_picture",
    "optimality_gap",
    "order_deviation",
    "order_parameter",
    "order_parameters",
    "order_picture",
    "overlap_picture",
    "paired",
    "phase",
    "phase_picture",
    "predictions",
    "profile",
    "profile_picture",
    "pruned",
    "pruning",
    "pruning_picture",
    "quantiles",
    "rates",
    "record_times",
    "recovered",
    "reference_optimum",
    "refine",
    "robust_loss",
    "robustness_picture",
    "sample_complexity",
    "save",
    "scaling",
    "share",
    "shift_picture",
    "shifted_loss",
    "spurious",
    "stopping_time",
    "summary",
    "survival",
    "survival_picture",
    "table",
    "time_below",
    "time_quantiles",
    "trajectory",
    "trajectory_picture",
    "transfer",
    "transfer_picture",
    "wilson",
]
