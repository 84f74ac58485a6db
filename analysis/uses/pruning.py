"""How much every neuron matters, and what is left without the least: importance, pruning curves, pruned networks."""

import jax.numpy as jnp
import numpy as np
import xarray as xr
from scipy.stats import rankdata

from ensemble.dynamics.updates.prune import By, increases, narrowest, removals, terms, without
from ensemble.problem.models import TwoLayer, masses

from ..members import finished
from ..networks import mapped, networks
from ..statistics import quantiles

MEASURES: tuple[str, ...] = ("mass", "loss_increase", "saliency")
"""What neurons are ranked by."""
PAIRS = tuple((first, second) for i, first in enumerate(MEASURES) for second in MEASURES[i + 1 :])
TOLERANCE = 1e-3


def importance(ds: xr.Dataset) -> xr.Dataset:
    """How much every neuron of every finished member matters, by three measures, and whether these agree.

        loss_increase_i = L(without i) − L = −a_i ∂L/∂a_i + ½ a_i² K_ii,    saliency_i = |a_i ∂L/∂a_i|

    **Arguments:** `ds`: a dataset of a study of two-layer students with `store_weights = true`.

    **Returns:** over axes, `seed` and `neuron`: `mass` |a_i|‖w_i‖, `leave_one_out` (the exact population loss without
    the neuron), `loss_increase`, `saliency` (the first-order term alone: near 0 at a minimum without decay, whatever
    the neuron does); over axes, `seed` and `measure_pair`: `rank_agreement`, Spearman's correlation of two over
    the neurons that the cell has, those of mass 0 left out (NaN for fewer than two, or where a measure is constant).

    **Raises:** `ValueError` where weights were not stored, students are no two-layer networks, or activations differ.
    """
    members = networks(ds, "importance")
    mass, left, grown, saliency = mapped(_importance, members)
    ranks = np.full((len(mass), len(PAIRS)), np.nan)
    measures: dict[str, np.ndarray] = dict(zip(MEASURES, (mass, grown, saliency), strict=True))
    for row in range(len(mass)):
        there = mass[row] > 0
        for column, pair in enumerate(PAIRS):
            ranks[row, column] = _spearman(*(measures[name][row][there] for name in pair))
    found = {"mass": mass, "leave_one_out": left, "loss_increase": grown, "saliency": saliency, "rank_agreement": ranks}
    made = members.labelled(found, _OF_NEURONS)
    labels = np.array([f"{first}–{second}" for first, second in PAIRS])
    return made.assign_coords(
        measure_pair=("measure_pair", labels, {"units": "1", "long_name": "measures that are compared"})
    )


def _importance(student: TwoLayer, teacher: TwoLayer):
    a, of = student.a, terms(student, teacher)
    loss = 0.5 * a @ of.K @ a - a @ of.b + of.target
    grown = increases(a, of)
    return masses(a, student.W), loss + grown, grown, jnp.abs(a * (of.K @ a - of.b))


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


_OF_NEURONS = {
    "mass": (("neuron",), "1", "mass |a_i|‖w_i‖"),
    "leave_one_out": (("neuron",), "1", "population loss without the neuron"),
    "loss_increase": (("neuron",), "1", "growth of the population loss without the neuron"),
    "saliency": (("neuron",), "1", "|a_i ∂L/∂a_i|: the first-order part of that growth"),
    "rank_agreement": (("measure_pair",), "1", "Spearman's rank correlation of two measures of importance"),
}


def pruning(ds: xr.Dataset, by: By = "mass", *, tolerance: float = TOLERANCE) -> xr.Dataset:
    """The population loss against how many neurons are kept, exactly, and the least number that keeps a tolerance.

    **Arguments:** `ds`: a dataset of a study of two-layer students with `store_weights = true`; `by`: `"mass"` (the
    smallest |a_i|‖w_i‖ leaves first) or `"importance"` (the neuron of least growth of the loss, looked at anew after
    every removal); `tolerance`: in units of ½‖f*‖², the loss of no network.

    **Returns:** over axes and `seed`: `pruned_loss` at every number of `kept` neurons, 0 (½‖f*‖²) to the widest cell's
    (a narrower cell's own loss stands at all numbers above its width); `minimal_width`: the least number ≥ 1 from which
    on the loss is within `tolerance` · ½‖f*‖² above that of the whole network. And over the axes, `kept` and
    `quantile` (0.1, 0.5, 0.9): `value`, `low`, `high`: quantiles over seeds with 95% order-statistic intervals, and
    `seeds`. NaN for members without a result.

    **Raises:** `ValueError` as `importance`, for an unknown `by`, and for a tolerance outside (0, 1).
    """
    _require(by, tolerance)
    members = networks(ds, "pruning")
    kept, width = mapped(_pruning, members, by, tolerance)
    made = members.labelled({"pruned_loss": kept, "minimal_width": width}, _OF_CURVES)
    made = made.assign_coords(kept=("kept", np.arange(kept.shape[1]), {"units": "1", "long_name": "neurons kept"}))
    spread = quantiles(made["pruned_loss"], (0.1, 0.5, 0.9), finished(members.ds).drop_vars("stage", errors="ignore"))
    made = made.merge(spread)
    made.attrs |= {"by": by, "tolerance": tolerance}
    return made


def _pruning(student: TwoLayer, teacher: TwoLayer, by: By, tolerance: float):
    kept = removals(student, teacher, by).kept
    return kept, narrowest(kept, kept[-1] + tolerance * kept[0]).astype(kept.dtype)


_OF_CURVES = {
    "pruned_loss": (("kept",), "1", "population loss of the neurons kept"),
    "minimal_width": ((), "1", "fewest neurons that keep the loss within the tolerance"),
}


def pruned(ds: xr.Dataset, by: By = "mass", *, keep: int | None = None, tolerance: float | None = None) -> xr.Dataset:
    """The dataset with its networks pruned, for all that looks at weights: certificates, families, robustness.

        analysis.certificates(ds), analysis.certificates(analysis.pruned(ds, keep=4))

    are the gap and the certificate before and after.

    **Arguments:** `ds` and `by` as in `pruning`; one of `keep`, how many neurons stay, and `tolerance`, which keeps
    each member's `minimal_width`.

    **Returns:** the dataset with pruned `a` and `W`. Probes, which are of the networks before, are left out, but for λ
    and η of the last step.

    **Raises:** `ValueError` as `pruning`, for `keep` below 1 or above the neurons there are, and where both or neither
    of `keep` and `tolerance` are given.
    """
    if (keep is None) == (tolerance is None):
        raise ValueError(f"keep: got {keep} and tolerance {tolerance}; give one of them")
    _require(by, TOLERANCE if tolerance is None else tolerance)
    members = networks(ds, "pruning")
    most = members.ds.sizes["neuron"]
    if keep is not None and not (1 <= keep <= most and keep == int(keep)):
        raise ValueError(f"keep: got {keep}; give a whole number from 1 to {most}, the neurons there are")
    a, W = mapped(_pruned, members, by, keep, tolerance)
    made = members.labelled({"a": a, "W": W}, _OF_WEIGHTS)
    told = members.ds.drop_vars([name for name in members.ds.data_vars if str(name) not in _STAY])
    return told.assign({name: made[name].assign_attrs(members.ds[name].attrs) for name in ("a", "W")})


def _pruned(student: TwoLayer, teacher: TwoLayer, by: By, keep: int | None, tolerance: float | None):
    order, kept = removals(student, teacher, by)
    count = keep if tolerance is None else narrowest(kept, kept[-1] + tolerance * kept[0])
    left = without(student, order, count)
    return left.a, left.W


_OF_WEIGHTS = {"a": (("neuron",), "1", "output weights"), "W": (("neuron", "input"), "1", "first-layer weights")}
_STAY = {
    *("status", "stop_step", "teacher_a", "teacher_W", "applied_decay", "applied_step_size"),
    *("student_neurons", "teacher_neurons", "inputs", "coordinates"),
}


def _require(by: str, tolerance: float) -> None:
    if by not in ("mass", "importance"):
        raise ValueError(f"by: got {by!r}; give 'mass' or 'importance'")
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance: got {tolerance}; it is a share of the teacher's ½‖f*‖², between 0 and 1")
