"""Robust losses: what the loss becomes where every input may be moved a little, against the network.

    ½ E max_{‖δ‖ ≤ ε} (f(x + δ) − f*(x))²        x ~ N(0, I)

Exact where f is linear with one output. Elsewhere the maximum is sought by projected gradient ascent from many starts,
at many x: what is found is a lower bound, and its mean over x has a standard error.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from ensemble import population_loss
from ensemble.problem.models import DeepLinear, TwoLayer

from ..members import standard
from ..networks import mapped, matrices, networks
from .ascent import POINTS, STARTS, STEPS, Norm, attack, dual_norm, steepest

Label = Literal["kept", "moved"]


class Asked(NamedTuple):
    """What is asked of every member; static."""

    radii: tuple[float, ...]
    norm: Norm
    label: Label
    points: int
    starts: int
    steps: int


def robust_loss(
    ds: xr.Dataset,
    radii: Sequence[float],
    norm: Literal[2, "inf"] = 2,
    *,
    label: Label = "kept",
    points: int = POINTS,
    starts: int = STARTS,
    steps: int = STEPS,
) -> xr.Dataset:
    """The loss under the strongest change of every input within a radius, of every finished member.

    **Arguments:**

    - `ds`: a dataset of a study of two-layer or deep linear students with `store_weights = true`.
    - `radii`: ε > 0, in the units of x, whose coordinates have variance 1.
    - `norm`: of δ, 2 or `"inf"`.
    - `label`: `"kept"`: f(x + δ) against f*(x), so that the teacher itself has a robust loss above 0; `"moved"`:
      against f*(x + δ), whose robust loss is 0 where f = f*.
    - `points`: inputs x at which the maximum is sought, the same for all members; `starts`: of the ascent at each,
      beside δ = 0 and the best δ of the radius before; `steps` of it.

    **Returns:** over axes, `seed` and `radius`: `robust_loss`; `robust_loss_error`, its standard error over the points
    (0 where it is exact); `attack_alignment`: the share Σ‖P_S*δ‖²/Σ‖δ‖² of the attacks inside the teacher's subspace.
    The attribute `method` is `exact` (linear networks of one output) or `lower bound by projected ascent`: the exact
    loss plus the mean growth that was found, which never falls with the radius.

    **Raises:** `ValueError` for radii that are not positive or stand twice, another norm or label, counts below 2
    points or 1 start and step, weights that were not stored, and `"inf"` of rows in reduced coordinates, whose axes are
    not those of the input.

    Under `label = "kept"` and ℓ2 a linear network w has ½(s² + 2ε‖w‖s√(2/π) + ε²‖w‖²), s = ‖w − w*‖.
    """
    asked = checked(radii, norm, label, points, starts, steps)
    ds = standard(ds)
    deep = "layer_weights" in ds
    members = (matrices if deep else networks)(ds, "the robust loss")
    if asked.norm == "inf" and not deep and bool((ds["coordinates"] < ds["inputs"]).any()):
        raise ValueError(
            'norm: got "inf" of rows in reduced coordinates, whose axes are not those of the input; run the study with '
            'coordinates = "full", or take the norm 2'
        )
    exact = members.arrays[0].shape[1] == 1 if members.sigma is None else members.sigma.name == "linear"
    found = mapped(_exact, members, asked) if exact else mapped(_ascended, members, asked, batch=_BATCH)
    made = members.labelled(dict(zip(_SAYS, found, strict=True)), _SAYS)
    values = np.array(asked.radii)
    made = made.assign_coords(radius=("radius", values, {"units": "1", "long_name": "radius ε of the attack"}))
    made.attrs |= asked._asdict() | {"radii": list(asked.radii)}
    made.attrs["method"] = "exact" if exact else "lower bound by projected ascent"
    return made


def checked(radii: Any, norm: Any, label: Any, points: int, starts: int, steps: int) -> Asked:
    """What is asked of `robust_loss`, the radii from the smallest.

    **Raises:** `ValueError` as there, for what is no attack.
    """
    radii = [float(radius) for radius in np.atleast_1d(np.asarray(radii, float))]
    wrong = [radius for radius in radii if not (radius > 0 and np.isfinite(radius))]
    if not radii or wrong:
        raise ValueError(f"radii: got {wrong[0] if wrong else 'none'}; give finite radii above 0")
    if len(set(radii)) < len(radii):
        raise ValueError(f"radii: got {radii}; give every radius once")
    if norm not in (2, "2", "inf", np.inf):
        raise ValueError(f'norm: got {norm!r}; give 2 or "inf"')
    if label not in ("kept", "moved"):
        raise ValueError(f"label: got {label!r}; give 'kept' or 'moved'")
    for name, value, least in (("points", points, 2), ("starts", starts, 1), ("steps", steps, 1)):
        if not (value >= least and value == int(value)):
            raise ValueError(f"{name}: got {value}; give a whole number, {least} or more")
    kind: Norm = 2 if norm in (2, "2") else "inf"
    return Asked(tuple(sorted(radii)), kind, label, int(points), int(starts), int(steps))


_SAYS = {
    "robust_loss": (("radius",), "1", "loss under the strongest change of the input within the radius"),
    "robust_loss_error": (("radius",), "1", "standard error over inputs of the robust loss"),
    "attack_alignment": (("radius",), "1", "share of the attack inside the teacher's subspace"),
}


Network = TwoLayer | DeepLinear
_BATCH = 4
"""Members that ascend side by side on a core: their points and starts fill its cache."""


def _ascended(student: Network, teacher: Network, asked: Asked) -> tuple[Array, Array, Array]:
    """By ascent."""
    moved = asked.label == "moved"

    def values(x: Array) -> Array:
        return _outputs(student, x) - _outputs(teacher, x) if moved else _outputs(student, x)

    def labels(x: Array) -> Array:
        there = _outputs(teacher, x)
        return jnp.zeros_like(there) if moved else there

    how = asked.radii, asked.norm, asked.points, asked.starts, asked.steps
    found = attack(values, labels, _rows(_inputs_seen(teacher)), *how)
    return _loss(student, teacher) + found.growth, found.error, found.alignment


def _exact(student: Network, teacher: Network, asked: Asked) -> tuple[Array, Array, Array]:
    """Of linear networks of one output: the attack is ±ε times one direction, whatever x is."""
    w, target = (
        net.a @ net.W if isinstance(net, TwoLayer) else net.matrix[0]  # one output: one row
        for net in (student, teacher)
    )
    s = jnp.linalg.norm(w - target)
    moving = w - target if asked.label == "moved" else w
    push = jnp.asarray(asked.radii, w.dtype) * dual_norm(moving, asked.norm)
    loss = 0.5 * (s**2 + 2.0 * push * s * np.sqrt(2.0 / np.pi) + push**2)
    direction = steepest(moving, asked.norm)
    size = jnp.sum(direction**2)
    inside = jnp.sum((_rows(target[None, :]) @ direction) ** 2)
    share = jnp.where(size > 0.0, inside / jnp.where(size > 0.0, size, 1.0), 0.0)
    return loss, jnp.zeros_like(loss), jnp.broadcast_to(share, loss.shape)


def _outputs(network: Network, x: Array) -> Array:
    """Of inputs of shape (…, input), shape (…, output)."""
    return network(x)[..., None] if isinstance(network, TwoLayer) else x @ network.matrix.T


def _inputs_seen(teacher: Network) -> Array:
    return teacher.W if isinstance(teacher, TwoLayer) else teacher.matrix


def _loss(student: Network, teacher: Network) -> Array:
    if isinstance(student, TwoLayer) and isinstance(teacher, TwoLayer):
        return population_loss(student, teacher)
    return 0.5 * jnp.sum((_inputs_seen(student) - _inputs_seen(teacher)) ** 2)


def _rows(matrix: Array) -> Array:
    """Orthonormal rows, and zeros, that span the rows of a matrix."""
    _, sizes, rows = jnp.linalg.svd(matrix, full_matrices=False)
    tolerance = max(matrix.shape) * jnp.finfo(matrix.dtype).eps * sizes[0]
    return jnp.where(sizes[:, None] > tolerance, rows, 0.0)
