"""Feature maps: which student neuron carries which feature of the teacher, and what the network is without the rest.

A feature is a teacher neuron's a*_j σ(w*_jᵀx). Variances and covariances are exact, from the kernel: directions of
x at a right angle are independent, so Cov(σ(wᵀx), σ(vᵀx)) = K(w, v) − K at wᵀv = 0.
"""

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from ensemble.numerics import safe_divide
from ensemble.probes.geometry import angles
from ensemble.problem.models import TwoLayer, masses, row_norms, unit_rows
from ensemble.problem.risks import kernel, population_loss

from ..networks import mapped, networks
from ..problems import cells

KINDS = ("vanished", "aligned", "merged", "stray")
"""What a neuron is, by its number in `neuron_kind`."""
TOLERANCE = 0.1
"""Radians."""


def features(ds: xr.Dataset, *, tolerance: float = TOLERANCE, threshold: float = 1e-3) -> xr.Dataset:
    """Which student neuron carries which teacher feature, of every finished member.

    **Arguments:** `ds`: a dataset of a study of two-layer students with `store_weights = true`; `tolerance` in radians;
    `threshold`: a neuron is active at this share of the largest teacher mass.

    **Returns:** over axes and `seed`, all exact:

    - over `neuron` and `teacher_neuron`: `carried`, Corr²(σ(w_iᵀx), σ(w*_jᵀx)): the share of the variance of feature j
      that neuron i alone explains, at its best weight;
    - over `neuron`: `owner`, the nearest teacher neuron; `neuron_kind`: 0 vanished (not active), 1 aligned (within
      `tolerance` of its owner), 2 merged (within `tolerance` of the plane of its owner and a second teacher neuron, not
      of its owner), 3 stray (neither);
    - over `teacher_neuron`: `feature_neurons`, how many aligned neurons a feature has (0: missed, 2 and more: split);
      `feature_explained`, 1 − Var(F_j − f*_j)/Var f*_j with F_j = Σ_{i owned by j} a_i σ(w_iᵀx): the share of the
      variance of feature j that the neurons which it owns explain as they are (below 0 where they say something else);
    - `split`, `missed`, `merged`, `stray`: counts of features and of neurons;
    - `loss_of_owners`: the loss where every neuron has the direction of its owner and its own mass and sign;
      `faithfulness`: 1 − E(f − f_owners)²/E f²: 1 where the network is what its owners say, 0 of no network.

    Members with a teacher of one neuron merge none. Entries beyond a cell's own neurons are 0.

    **Raises:** `ValueError` where weights were not stored, students are no two-layer networks, activations differ, and
    for a tolerance that is not positive.
    """
    if not tolerance > 0:
        raise ValueError(f"tolerance: got {tolerance}; give an angle above 0 in radians")
    if not threshold > 0:
        raise ValueError(f"threshold: got {threshold}; give a share of the largest teacher mass above 0")
    members = networks(ds, "a feature map")
    found = mapped(_features, members, tolerance, threshold)
    made = members.labelled(found, _SAYS)
    counts = np.vectorize(lambda cell: cell.teacher.shape()[0], otypes=[int])(cells(members.ds))
    # Teachers beyond a cell's own are zeros: no feature is missed there.
    own = xr.DataArray(np.arange(made.sizes["teacher_neuron"]), dims="teacher_neuron") < xr.DataArray(
        counts, dims=members.dims[:-1]
    )
    missed = ((made["feature_neurons"] == 0) & own).sum("teacher_neuron").where(made["split"].notnull())
    made["missed"] = missed.transpose(*members.dims).assign_attrs(
        units="1", long_name="teacher features with no aligned neuron"
    )
    made["neuron_kind"].attrs |= {"flag_values": list(range(len(KINDS))), "flag_meanings": " ".join(KINDS)}
    made.attrs |= {"tolerance": tolerance, "threshold": threshold}
    return made


def _features(student: TwoLayer, teacher: TwoLayer, tolerance: float, threshold: float) -> dict[str, Array]:
    mass, teacher_mass = masses(student.a, student.W), masses(teacher.a, teacher.W)
    # Among rows that exist: those of smaller cells are filled up with zeros, whose angles are the widest.
    between = angles(student.W, teacher.W, student.activation.symmetry)
    owner, angle = jnp.argmin(between, axis=1), jnp.min(between, axis=1)
    away = (jnp.sum(student.W * teacher.W[owner], axis=1) < 0.0) & (student.activation.symmetry == "line")
    orientation = jnp.where(away, -1.0, 1.0).astype(student.a.dtype)
    active = mass >= threshold * jnp.max(teacher_mass)
    aligned = active & (angle <= tolerance)
    merged = active & ~aligned & (_angle_to_planes(student.W, teacher.W, owner) <= tolerance)
    kind = jnp.where(aligned, 1, jnp.where(merged, 2, jnp.where(active, 3, 0)))
    owned = owner[:, None] == jnp.arange(len(teacher.a))[None, :]
    neurons = jnp.sum(owned & aligned[:, None], axis=0)
    # The same network with every neuron on the direction of its owner.
    turned = orientation[:, None] * row_norms(student.W)[:, None] * unit_rows(teacher.W)[owner]
    replaced = TwoLayer(student.a, turned, student.activation)
    own_norm = student.a @ kernel(student.activation, student.W, student.W) @ student.a
    apart = 2.0 * population_loss(replaced, student)
    real = student.a.dtype
    return {
        "carried": _squared_correlation(student, teacher),
        "owner": owner.astype(real),
        "neuron_kind": kind.astype(real),
        "feature_neurons": neurons.astype(real),
        "feature_explained": _explained(student, teacher, owned.astype(real)),
        "split": jnp.sum(neurons > 1).astype(real),
        "merged": jnp.sum(merged).astype(real),
        "stray": jnp.sum(kind == 3).astype(real),
        "loss_of_owners": population_loss(replaced, teacher),
        "faithfulness": jnp.where(own_norm > 0.0, 1.0 - safe_divide(apart, own_norm), 0.0),
    }


def _angle_to_planes(W: Array, V: Array, owner: Array) -> Array:
    """The least angle of every row to the planes of its owner and another teacher neuron; π/2 where there is none."""
    u, v = unit_rows(W), unit_rows(V)
    first = v[owner][:, None, :]
    across = v[None, :, :] - jnp.sum(first * v[None, :, :], axis=-1, keepdims=True) * first
    size = row_norms(across)
    side = safe_divide(across, size[..., None])
    # Parallel teacher neurons span no plane: what is left of them is rounding.
    spans = size > 1e-9
    in_plane = jnp.sum(first * u[:, None, :], axis=-1)[..., None] * first
    in_plane = in_plane + jnp.sum(side * u[:, None, :], axis=-1)[..., None] * side
    out = row_norms(u[:, None, :] - in_plane)
    angle = jnp.arctan2(out, row_norms(in_plane))
    return jnp.min(jnp.where(spans, angle, 0.5 * jnp.pi), axis=1)


def _covariance(network: TwoLayer, other: TwoLayer) -> Array:
    """Cov(σ(w_iᵀx), σ(v_jᵀx))."""
    sigma, of_w, of_v = network.activation, row_norms(network.W)[:, None], row_norms(other.W)[None, :]
    apart = sigma.dual(jnp.zeros((len(network.a), len(other.a)), network.a.dtype), of_w, of_v)
    return kernel(sigma, network.W, other.W) - apart


def _squared_correlation(student: TwoLayer, teacher: TwoLayer) -> Array:
    own, others = (jnp.diag(_covariance(net, net)) for net in (student, teacher))
    return jnp.minimum(safe_divide(_covariance(student, teacher) ** 2, own[:, None] * others[None, :]), 1.0)


def _explained(student: TwoLayer, teacher: TwoLayer, owned: Array) -> Array:
    """1 − Var(F_j − f*_j)/Var f*_j of every teacher neuron."""
    mine = owned * student.a[:, None]
    own = jnp.sum(mine * (_covariance(student, student) @ mine), axis=0)
    cross = jnp.sum(mine * _covariance(student, teacher), axis=0) * teacher.a
    target = jnp.diag(_covariance(teacher, teacher)) * teacher.a**2
    return safe_divide(2.0 * cross - own, target)


_SAYS = {
    "carried": (
        ("neuron", "teacher_neuron"),
        "1",
        "share of a teacher feature's variance that a neuron alone explains",
    ),
    "owner": (("neuron",), "1", "index of the nearest teacher neuron"),
    "neuron_kind": (("neuron",), "1", "vanished 0, aligned 1, merged 2, stray 3"),
    "feature_neurons": (("teacher_neuron",), "1", "aligned neurons of a teacher feature"),
    "feature_explained": (("teacher_neuron",), "1", "share of a teacher feature's variance that its neurons explain"),
    "split": ((), "1", "teacher features with two aligned neurons or more"),
    "merged": ((), "1", "active neurons between two teacher neurons"),
    "stray": ((), "1", "active neurons near no teacher neuron and no plane of two"),
    "loss_of_owners": ((), "1", "loss with every neuron on the direction of its owner"),
    "faithfulness": ((), "1", "1 − E(f − f_owners)²/Ef²"),
}
