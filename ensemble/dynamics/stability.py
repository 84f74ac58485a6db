"""The step size beyond which descent cannot rest at the teacher.

Near a minimum, descent with step size η is stable only if η × sharpness ≤ 2; heavy ball and Nesterov's momentum up to
another number, which the update says (`limit`). The sharpness at a network is
at least that of each of its layers alone, and at the teacher these have closed lower bounds: for the output
layer the largest eigenvalue of K(W*, W*); for the first layer that of (a*_i a*_j κ′(ρ_ij)), the mean over
unit u of the curvature along rows t_i u. Scaling w by s and a by 1/s multiplies the first by s² and the
second by s⁻²: where both layers move, the larger of the two is at least their geometric mean.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics import member_key
from ..problem.activations import AbstractHomogeneous
from ..problem.teachers import AbstractTeacher, AbstractTwoLayerTeacher
from .stages import Layers
from .updates import AbstractSteppedUpdate, AbstractUpdate

_MOST_NEURONS = 1024


def largest_stable_step(
    teacher: AbstractTeacher, update: AbstractUpdate, layers: Layers, weight_decay: float
) -> float | None:
    """The update's limit / (lower bound of the sharpness at the teacher); None where there is no such bound.

    There is none for the output layer alone (its curvature is the student's own), for activations that are
    not 1-homogeneous, for teachers that differ from seed to seed (`drawn_stable_step`), are no two-layer networks or
    have more than 1024 neurons (whose eigenvalues take seconds), and for updates whose stability depends on more than
    the sharpness.
    """
    limit, sigma = _bounded(teacher, update, layers)
    known = teacher.known() if isinstance(teacher, AbstractTwoLayerTeacher) else None
    if limit is None or sigma is None or known is None:
        return None
    return _quotient(limit, _sharpness(*known, sigma, layers) + weight_decay)


def drawn_stable_step(
    teacher: AbstractTeacher,
    update: AbstractUpdate,
    layers: Layers,
    weight_decay: float,
    step_size: float,
    root_seed: int,
    seeds: Sequence[int],
) -> tuple[float, int] | None:
    """The least `largest_stable_step` over the teachers that some seeds draw, and whose it is.

    **Arguments:** `step_size`: what is to be judged. Teachers are drawn only where rows of unit length could be too
    sharp for it.

    **Returns:** None where they are not drawn, and where there is no bound or all seeds have one teacher.
    """
    limit, sigma = _bounded(teacher, update, layers)
    if limit is None or sigma is None or not isinstance(teacher, AbstractTwoLayerTeacher):
        return None
    if teacher.known() is not None or not len(seeds) or step_size <= limit / (_most(teacher, sigma) + weight_decay):
        return None
    sharp = [_sharpness(np.abs(a), W @ W.T, sigma, layers) for a, W in _drawn(teacher, root_seed, seeds)]
    worst = int(np.argmax(sharp))
    return _quotient(limit, sharp[worst] + weight_decay), seeds[worst]


def _bounded(
    teacher: AbstractTeacher, update: AbstractUpdate, layers: Layers
) -> tuple[float | None, AbstractHomogeneous | None]:
    """The update's limit and the teacher's activation, where the sharpness at a teacher has a closed lower bound."""
    limit = update.limit() if isinstance(update, AbstractSteppedUpdate) else None
    if layers == "output" or not isinstance(teacher, AbstractTwoLayerTeacher) or teacher.shape()[0] > _MOST_NEURONS:
        return limit, None
    return limit, teacher.sigma if isinstance(teacher.sigma, AbstractHomogeneous) else None


def _quotient(limit: float, sharpness: float) -> float:
    """A teacher that is 0 is flat."""
    return limit / sharpness if sharpness > 0 else np.inf


def _sharpness(a: np.ndarray, gram: np.ndarray, sigma: AbstractHomogeneous, layers: Layers) -> float:
    """The lower bound of the sharpness at a teacher of output weights of sizes `a` and a Gram matrix."""
    norms = np.sqrt(np.diag(gram))
    kappa, slope = _dual(sigma, gram / np.outer(norms, norms))
    with np.errstate(over="ignore"):
        sizes = np.outer(a, a)
    if not np.isfinite(sizes).all():
        return np.inf
    first = _largest_eigenvalue(sizes * slope)
    return first if layers == "first" else float(np.sqrt(first * _largest_eigenvalue(np.outer(norms, norms) * kappa)))


def _most(teacher: AbstractTwoLayerTeacher, sigma: AbstractHomogeneous) -> float:
    """What no sharpness bound of unit rows exceeds: largest eigenvalues are at most traces."""
    kappa, slope = _dual(sigma, np.ones((1, 1)))
    weights = getattr(teacher, "output_weights", None)
    squares = float(np.sum(np.square(weights))) if isinstance(weights, tuple) else teacher.shape()[0]
    both = np.sqrt(squares * abs(slope.item()) * teacher.shape()[0] * abs(kappa.item()))
    return max(squares * abs(slope.item()), float(both), np.finfo(float).tiny)


def _drawn(teacher: AbstractTwoLayerTeacher, root_seed: int, seeds: Sequence[int]) -> list[tuple[Any, Any]]:
    """The teachers of some seeds, in coordinates of their own plane: (a*, W*)."""

    def draw(seed: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = teacher.draw(member_key(root_seed, seed, "teacher"), teacher.plane())
        return found.a, found.W

    a, W = jax.jit(jax.vmap(draw))(jnp.asarray(seeds))
    return list(zip(np.asarray(a), np.asarray(W), strict=True))


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
