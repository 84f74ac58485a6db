"""Norms and quotients without a singularity: neurons do vanish, and a zero row must give 0, never NaN.

And maxima whose derivatives do not hang on rounding: JAX gives the derivative of a maximum to what equals it. Where a
compiler computes a value twice and rounds it in two ways, nothing equals it, and the derivative is lost.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def safe_norm(squared: Float[Array, "..."]) -> Float[Array, "..."]:
    """√squared whose derivative at 0 is 0 instead of infinite."""
    positive = squared > 0.0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)


def safe_divide(numerator: Float[Array, "..."], denominator: Float[Array, "..."]) -> Float[Array, "..."]:
    """numerator / denominator, and 0 where the denominator is 0."""
    nonzero = denominator != 0.0
    return jnp.where(nonzero, numerator / jnp.where(nonzero, denominator, 1.0), 0.0)


@jax.custom_jvp
def positive_part(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """max(x, 0); its derivative is 1 where x > 0, and 1/2 at 0."""
    return jnp.maximum(x, 0.0)


@positive_part.defjvp
def _positive_part_jvp(primals, tangents):
    (x,), (direction,) = primals, tangents
    return positive_part(x), direction * (0.5 * (1.0 + jnp.sign(x)))


def largest(values: Float[Array, "... place"]) -> Float[Array, "..."]:
    """The maximum over the last dimension; the derivative is that of the first place which has it."""
    first = jax.nn.one_hot(jnp.argmax(values, axis=-1), values.shape[-1], dtype=bool)
    return jnp.sum(jnp.where(first, values, 0.0), axis=-1)
