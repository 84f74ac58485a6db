"""The step size beyond which descent cannot rest at the teacher.

Near a minimum, descent with step size η is stable only if η × sharpness ≤ 2; heavy ball and Nesterov's momentum up to another number, which the
update says (`limit`). The sharpness at a network is
at least that of each of its layers alone, and at the teacher these have closed lower bounds: for the output
layer the largest eigenvalue of K(W*, W*); for the first layer that of (a*_i a*_j κ′(ρ_ij)), the mean over
unit u of the curvature along rows t_i u. Scaling w by s and a by 1/s multiplies the first by s² and the
second by s⁻²: where both layers move, the larger of the two is at least their geometric mean.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ..problem.activations import AbstractHomogeneous
from ..problem.teachers import AbstractTeacher, AbstractTwoLayerTeacher
from .stages import Layers
from .updates import AbstractSteppedUpdate, AbstractUpdate


def largest_stable_step(
    teacher: AbstractTeacher, update: AbstractUpdate, layers: Layers, weight_decay: float
) -> float | None:
    """The update's limit / (lower bound of the sharpness at the teacher); None where there is no such bound.

    There is none for the output layer alone (its curvature is the student's own), for activations that are
    not 1-homogeneous, for teachers that differ from seed to seed or are no two-layer networks, and for updates whose stability depends on
    more than the sharpness.
    """
    limit = update.limit() if isinstance(update, AbstractSteppedUpdate) else None
    if limit is None or not isinstance(teacher, AbstractTwoLayerTeacher):
        return None
    known, sigma = teacher.known(), teacher.sigma
    if known is None or layers == "output" or not isinstance(sigma, AbstractHomogeneous):
        return None
    a, gram = known
    norms = np.sqrt(np.diag(gram))
    kappa, slope = _dual(sigma, gram / np.outer(norms, norms))
    first = _largest_eigenvalue(np.outer(a, a) * slope)
    if layers == "first":
        return limit / (first + weight_decay)
    return limit / (np.sqrt(first * _largest_eigenvalue(np.outer(norms, norms) * kappa)) + weight_decay)


def _dual(sigma: AbstractHomogeneous, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(κ, κ′) at every ρ, through arrays of one length: each activation is compiled once, not once a size."""
    values, place = np.unique(np.clip(rho, -1.0, 1.0), return_inverse=True)
    padded = np.zeros(-(-len(values) // 1024) * 1024)
    padded[: len(values)] = values
    kappa, slope = _compiled(sigma, jnp.asarray(padded))
    return np.asarray(kappa)[place].reshape(rho.shape), np.asarray(slope)[place].reshape(rho.shape)


@functools.partial(jax.jit, static_argnums=0)
def _compiled(sigma: AbstractHomogeneous, rho: jax.Array) -> tuple[jax.Array, jax.Array]:
    return sigma.kappa(rho), sigma.kappa_slopes(rho)[1]


def _largest_eigenvalue(matrix: np.ndarray) -> float:
    return float(np.linalg.eigvalsh(matrix)[-1])
