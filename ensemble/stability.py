"""The step size beyond which descent cannot rest at the teacher.

Near a minimum, descent with step size η is stable only if η × sharpness ≤ 2. The sharpness at a network is
at least that of each of its layers alone, and at the teacher these have closed lower bounds: for the output
layer the largest eigenvalue of K(W*, W*); for the first layer that of (a*_i a*_j κ′(ρ_ij)), the mean over
unit u of the curvature along rows t_i u. Scaling w by s and a by 1/s multiplies the first by s² and the
second by s⁻²: where both layers move, the larger of the two is at least their geometric mean.
"""

import jax
import numpy as np

from .network import row_norms
from .protocol import Layers
from .teachers import AbstractTeacher, RandomSeparated


def largest_stable_step(teacher: AbstractTeacher, layers: Layers, weight_decay: float) -> float | None:
    """2 / (lower bound of the sharpness at the teacher); None where there is no such bound.

    There is none for the output layer alone (its curvature is the student's own), for activations that are
    not 1-homogeneous, and for teachers that differ from seed to seed.
    """
    sigma = teacher.sigma
    if isinstance(teacher, RandomSeparated) or layers == "output" or not sigma.homogeneous:
        return None
    drawn = teacher.draw(jax.random.key(0))
    norms = row_norms(drawn.W)
    of_pair = drawn.W @ drawn.W.T, norms[:, None], norms[None, :]
    a = np.abs(np.asarray(drawn.a))
    first = _largest_eigenvalue(a[:, None] * np.asarray(sigma.dual_slopes(*of_pair)[1]) * a[None, :])
    if layers == "first":
        return 2.0 / (first + weight_decay)
    return 2.0 / (np.sqrt(first * _largest_eigenvalue(np.asarray(sigma.dual(*of_pair)))) + weight_decay)


def _largest_eigenvalue(matrix: np.ndarray) -> float:
    return float(np.linalg.eigvalsh(matrix)[-1])
