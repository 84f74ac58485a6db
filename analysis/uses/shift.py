"""Domain shift: the loss under other inputs than those of training, exactly.

    ½E(f(x) − f*(x))²,   x = s Σ^{1/2} z,   z ~ N(0, I)

Σ has the eigenvalues κ^{t−½}, t even in [0, 1], times what makes their mean 1, on the axes of the input or turned by
one rotation; s = 1, or √((ν − 2)/χ²_ν): Student's t of variance 1 along every direction.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from ensemble import population_loss
from ensemble.numerics.keys import fixed_key
from ensemble.problem.draws import random_frame
from ensemble.problem.models import DeepLinear, TwoLayer, row_norms
from ensemble.problem.risks.other_inputs import CENTRED, C

from ..members import standard
from ..networks import mapped, matrices, networks


class _Asked(NamedTuple):
    """What is asked of every member; static."""

    conditions: tuple[float, ...]
    turned: bool
    tails: float | None


def shifted_loss(
    ds: xr.Dataset, conditions: Sequence[float] = (1.0, 4.0, 16.0), *, turned: bool = False, tails: float | None = None
) -> xr.Dataset:
    """The loss under inputs of another covariance, and heavier tails, of every finished member: exact.

    **Arguments:**

    - `ds`: a dataset of a study of two-layer or deep linear students with `store_weights = true`, trained on N(0, I).
    - `conditions`: κ ≥ 1, the ratio of the largest to the smallest eigenvalue of Σ, whose eigenvalues are evenly spaced
      in their logarithm, of mean 1, the largest along the first eigenvector; 1: Σ = I.
    - `turned`: eigenvectors of a fixed random rotation, the same for all members, in place of the axes.
    - `tails`: ν > 2, the freedom of a Student t that every input is scaled by as a whole, of variance 1.

    **Returns:** over axes, `seed` and `condition_number`: `shifted_loss`; `shift_ratio`, over the loss under N(0, I)
    (NaN where that is 0).

    A 1-homogeneous network of no bias has the loss of ν = ∞ under every ν: f(sz) = s f(z) and E s² = 1. A centred
    activation k(|wᵀx| − c‖w‖) keeps c‖w‖ of training: what the mean of |wᵀx| has become beside it is a constant error.

    **Raises:** `ValueError` for conditions below 1 or twice, `tails` not above 2, tails with an activation that is not
    1-homogeneous, weights that were not stored, and rows in reduced coordinates, whose axes are not the input's.
    """
    asked = _checked(conditions, turned, tails)
    ds = standard(ds)
    deep = "layer_weights" in ds
    members = (matrices if deep else networks)(ds, "the shifted loss")
    if not deep and bool((members.ds["coordinates"] < members.ds["inputs"]).any()):
        raise ValueError(
            "coordinates: got rows in reduced ones, whose axes are not those of the input; run the study with "
            'coordinates = "full"'
        )
    if tails is not None and members.sigma is not None and not members.sigma.homogeneous:
        raise ValueError(
            f"tails: got {tails:g} with activation {members.sigma.name}, of which f(sx) is not s f(x); leave tails out"
        )
    found = mapped(_of_member, members, asked)
    made = members.labelled(dict(zip(_SAYS, found, strict=True)), _SAYS)
    words = {"units": "1", "long_name": "condition number κ of the inputs' covariance"}
    made = made.assign_coords(condition_number=("condition_number", np.array(asked.conditions), words))
    made.attrs |= {"conditions": list(asked.conditions), "turned": int(turned)}
    made.attrs |= {} if tails is None else {"tails": float(tails)}
    return made


def _checked(conditions: Any, turned: Any, tails: Any) -> _Asked:
    values = [float(value) for value in np.atleast_1d(np.asarray(conditions, float))]
    wrong = [value for value in values if not (value >= 1.0 and math.isfinite(value))]
    if not values or wrong:
        raise ValueError(f"conditions: got {wrong[0] if wrong else 'none'}; give finite condition numbers, 1 or more")
    if len(set(values)) < len(values):
        raise ValueError(f"conditions: got {values}; give every one once")
    if tails is not None and not (tails > 2.0 and math.isfinite(tails)):
        raise ValueError(f"tails: got {tails}; a Student t of variance 1 needs more than 2 degrees of freedom")
    return _Asked(tuple(sorted(values)), bool(turned), None if tails is None else float(tails))


_SAYS = {
    "shifted_loss": (("condition_number",), "1", "population loss under the shifted inputs"),
    "shift_ratio": (("condition_number",), "1", "population loss under the shifted inputs over that under N(0, I)"),
}


def spectrum(condition: float, inputs: int) -> np.ndarray:
    """Eigenvalues of Σ, the largest first, of mean 1."""
    values = condition ** np.linspace(0.5, -0.5, inputs) if inputs > 1 else np.ones(1)
    return values / values.mean()


def root(condition: float, inputs: int, turned: bool) -> Float[Array, "input input"]:
    """Σ^{1/2}: on the axes, or along the columns of one rotation, the same for every condition."""
    values = jnp.asarray(np.sqrt(spectrum(condition, inputs)))
    if not turned:
        return jnp.diag(values)
    # Made where the program is traced: no routine of LAPACK is part of it.
    with jax.ensure_compile_time_eval():
        frame = random_frame(fixed_key(2), inputs, inputs)
        return (frame * values[None, :]) @ frame.T


def mean_scale(tails: float | None) -> float:
    """E s of s = √((ν − 2)/χ²_ν): √((ν − 2)/2) Γ((ν − 1)/2)/Γ(ν/2), below 1."""
    if tails is None:
        return 1.0
    return math.sqrt(0.5 * (tails - 2.0)) * math.exp(math.lgamma(0.5 * (tails - 1.0)) - math.lgamma(0.5 * tails))


def _of_member(student: Any, teacher: Any, asked: _Asked) -> tuple[Array, Array]:
    inputs = (student.W if isinstance(student, TwoLayer) else student.matrix).shape[-1]
    plain = _loss(student, teacher, jnp.eye(inputs), 1.0)
    roots = [root(condition, inputs, asked.turned) for condition in asked.conditions]
    found = jnp.stack([_loss(student, teacher, one, mean_scale(asked.tails)) for one in roots])
    return found, jnp.where(plain > 0.0, found / jnp.where(plain > 0.0, plain, 1.0), jnp.nan)


def _loss(student: Any, teacher: Any, root: Float[Array, "input input"], scale: float) -> Float[Array, ""]:
    """½E(f − f*)² for x = s Σ^{1/2} z with E s = `scale` and E s² = 1."""
    if isinstance(student, DeepLinear):
        return 0.5 * jnp.sum(((student.matrix - teacher.matrix) @ root) ** 2)
    nets = [TwoLayer(net.a, net.W @ root, net.activation) for net in (student, teacher)]
    loss = population_loss(*nets)
    if k := CENTRED.get(student.activation.name, 0.0):
        # f = k(s Σa|w̃ᵀz| − c Σa‖w‖), w̃ = Σ^{1/2}w. With N = Σa‖w̃‖ and M = Σa‖w‖, student's minus teacher's, the loss
        # is that of s = 1 and of its own mean, ½k²(E(Σa|w̃ᵀz|)² − c²N²), plus ½k²c²(N² − 2·E s·N·M + M²).
        N, M = (jnp.sum(a.a * row_norms(a.W)) - jnp.sum(b.a * row_norms(b.W)) for a, b in (nets, (student, teacher)))
        loss = loss + 0.5 * (k * C) ** 2 * ((N - M) ** 2 + 2.0 * (1.0 - scale) * N * M)
    return loss
