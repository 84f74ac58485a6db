"""Small changes of inputs that lower a fit most: projected gradient ascent, and the risk of training against them."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...numerics import safe_divide
from .base import AbstractScoredRisk
from .sample import SampleRisk, in_parts, largest

Norm = Literal[2, "inf"]
STARTS = 3
"""Changes from which a member's own ascent begins at every sample."""


def dual_norm(vector: Float[Array, "*points input"], norm: Norm) -> Float[Array, "*points"]:
    """max over ‖δ‖ ≤ 1 of vectorᵀδ: ‖·‖₂ of ℓ2, ‖·‖₁ of ℓ∞."""
    return jnp.linalg.norm(vector, axis=-1) if norm == 2 else jnp.sum(jnp.abs(vector), axis=-1)


def steepest(vector: Float[Array, "*points input"], norm: Norm) -> Float[Array, "*points input"]:
    """The δ of norm 1 along which a gradient rises most; 0 of a zero gradient."""
    if norm == 2:
        return safe_divide(vector, jnp.linalg.norm(vector, axis=-1, keepdims=True))
    return jnp.sign(vector)


def projected(delta: Float[Array, "*points input"], radius: Array, norm: Norm) -> Float[Array, "*points input"]:
    """The nearest point (in ℓ2) with ‖δ‖ ≤ radius."""
    if norm == 2:
        size = jnp.linalg.norm(delta, axis=-1, keepdims=True)
        return delta * jnp.minimum(1.0, safe_divide(jnp.broadcast_to(radius, size.shape), size))
    return jnp.clip(delta, -radius, radius)


class Climbers(NamedTuple):
    """Changes of inputs that ascend, leading axes the point and the start."""

    delta: Array
    height: Array
    slope: Array
    length: Array


def ascend(height: Callable, begin: Array, radius: Array, norm: Norm, steps: int) -> Climbers:
    """Steps along the steepest direction and back into the ball; longer while they climb, shorter where they do not.

    **Arguments:** `height(delta)`: (sum, each) over points and starts; `begin`: (point, start, input).
    """
    climb = jax.value_and_grad(height, has_aux=True)
    (_, first), slope = climb(begin)

    def step(_: Any, at: Climbers) -> Climbers:
        tried = projected(at.delta + at.length[..., None] * steepest(at.slope, norm), radius, norm)
        (_, value), slope = climb(tried)
        better = value > at.height
        choose = better[..., None]
        return Climbers(
            jnp.where(choose, tried, at.delta),
            jnp.where(better, value, at.height),
            jnp.where(choose, slope, at.slope),
            at.length * jnp.where(better, 1.6, 0.4),
        )

    length = jnp.full(first.shape, 1.0, first.dtype) * radius
    return jax.lax.fori_loop(0, steps, step, Climbers(begin, first, slope, length))


def worst_changes(
    model: Any,
    x: Float[Array, "sample input"],
    y: Float[Array, "sample *output"],
    radius: Array,
    norm: Norm,
    steps: int,
) -> Float[Array, "sample input"]:
    """The δ of every sample with ‖δ‖ ≤ radius for which ascent finds the largest ½‖f(x + δ) − y‖².

    From δ = 0 and from both ends of the steepest direction of the sum of outputs, which for a linear f of one output
    are the exact maximum: its δ is ±radius times one direction.
    """

    def height(delta: Array) -> tuple[Array, Array]:
        values = jax.vmap(jax.vmap(model))(x[:, None, :] + delta)
        each = 0.5 * jnp.sum((values - y[:, None]).reshape(*values.shape[:2], -1) ** 2, axis=-1)
        return jnp.sum(each), each

    uphill = radius * steepest(jax.grad(lambda x: jnp.sum(jax.vmap(model)(x)))(x), norm)
    best = ascend(height, jnp.stack([uphill, -uphill, jnp.zeros_like(x)], axis=1), radius, norm, steps)
    top = jnp.argmax(best.height, axis=1)[:, None, None]
    return jnp.take_along_axis(best.delta, top, axis=1)[:, 0]


class AdversarialRisk(AbstractScoredRisk):
    """½ mean_i max over ‖δ_i‖ ≤ ε of ‖f(x_i + δ_i) − y_i‖², the maximum as projected ascent finds it.

    Its gradient is that at the δ_i found (Danskin: the gradient of a maximum is that of what attains it). Exact for
    linear models of one output; else a lower bound, by `steps` steps from three starts.

    **Arguments:** `sample`; `radius`, ε in the units of x; `norm` of δ, 2 or "inf".

    Source: Madry et al. 2018, arXiv 1706.06083.
    """

    sample: SampleRisk
    radius: Float[Array, "*batch"]
    norm: Norm = eqx.field(static=True)
    steps: int = eqx.field(static=True)

    @property
    def scoring(self):
        return self.sample.population

    def value(self, model):
        return self._sum(self._half_squares, model) / len(self.sample.x)

    def value_and_gradient(self, model):
        def of_part(model: Any, x: Array, y: Array) -> Any:
            return jax.value_and_grad(self._half_squares)(model, x, y)

        return jax.tree.map(lambda total: total / len(self.sample.x), self._sum(of_part, model))

    def _sum(self, of_part: Callable, model: Any) -> Any:
        numbers = STARTS * largest(model)
        return in_parts(lambda x, y: of_part(model, x, y), self.sample.x, self.sample.y, numbers=numbers)

    def _half_squares(self, model: Any, x: Array, y: Array) -> Array:
        held = jax.lax.stop_gradient(model)
        moved = x + jax.lax.stop_gradient(worst_changes(held, x, y, self.radius, self.norm, self.steps))
        return 0.5 * jnp.sum((jax.vmap(model)(moved) - y) ** 2)

    def of_target(self, share: Float[Array, " neuron"]) -> "AdversarialRisk":
        """As that of the sample."""
        return AdversarialRisk(self.sample.of_target(share), self.radius, self.norm, self.steps)
