"""Projected gradient ascent: the strongest small change of every input that many starts find."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ensemble.numerics import safe_divide
from ensemble.numerics.keys import fixed_key
from ensemble.problem.risks.adversary import Norm, ascend, dual_norm, projected, steepest

__all__ = ["POINTS", "STARTS", "STEPS", "Attack", "Norm", "attack", "dual_norm", "projected", "steepest"]

POINTS, STARTS, STEPS = 256, 24, 30
"""Inputs, starts at each, and steps from each, unless others are asked for."""


class Attack(NamedTuple):
    """What was found at every radius."""

    growth: Float[Array, " radius"]
    """Mean growth of the objective."""
    error: Float[Array, " radius"]
    """Its standard error over the points."""
    alignment: Float[Array, " radius"]
    """Σ‖Pδ‖²/Σ‖δ‖² over the points: the share of the squared attacks inside a subspace."""


def attack(
    values: Callable[[Array], Array],
    labels: Callable[[Array], Array],
    subspace: Float[Array, "row input"],
    radii: tuple[float, ...],
    norm: Norm,
    points: int,
    starts: int,
    steps: int,
) -> Attack:
    """The largest ½‖values(x + δ) − labels(x)‖² over ‖δ‖ ≤ ε that ascent finds, at every x and radius.

    **Arguments:** functions of inputs (…, input) with values (…, output); `subspace`: orthonormal rows or zeros; the
    radii from the smallest. The x are the same for all networks of as many coordinates. At each, ascent begins at
    δ = 0, at the best δ of the radius before, at the two steepest ones for the sum of outputs, and at random ones on
    the ball's surface, `starts` in all beside the first two.

    **Returns:** an `Attack`, none of whose values is above the maximum but for the sampling of x.
    """
    width, dtype = subspace.shape[-1], subspace.dtype
    key_x, key_starts = jax.random.split(fixed_key(1))
    x = jax.random.normal(key_x, (points, width), dtype)
    random = jax.random.normal(key_starts, (points, max(starts - 2, 0), width), dtype)
    random = steepest(random, norm)
    uphill = steepest(jax.grad(lambda x: jnp.sum(values(x)))(x), norm)
    unit = jnp.concatenate([jnp.stack([uphill, -uphill], axis=1), random], axis=1)[:, :starts]
    there = labels(x)[:, None, :]

    def height(delta: Array) -> tuple[Array, Array]:
        each = 0.5 * jnp.sum((values(x[:, None, :] + delta) - there) ** 2, axis=-1)
        return jnp.sum(each), each

    clean = height(jnp.zeros((points, 1, width), dtype))[1][:, 0]

    def at_radius(before: Array, radius: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        begin = jnp.concatenate([jnp.zeros_like(before), before, radius * unit], axis=1)
        best = ascend(height, begin, radius, norm, steps)
        top = jnp.argmax(best.height, axis=1)[:, None]
        delta = jnp.take_along_axis(best.delta, top[..., None], axis=1)
        growth = jnp.take_along_axis(best.height, top, axis=1)[:, 0] - clean
        # Sums, so that inputs at which nothing can be gained, whose δ is 0, do not count.
        share = safe_divide(jnp.sum((delta[:, 0] @ subspace.T) ** 2), jnp.sum(delta**2))
        error = jnp.std(growth, ddof=1) / jnp.sqrt(jnp.asarray(points, dtype))
        return delta, (jnp.mean(growth), error, share)

    _, found = jax.lax.scan(at_radius, jnp.zeros((points, 1, width), dtype), jnp.asarray(radii, dtype))
    return Attack(*found)
