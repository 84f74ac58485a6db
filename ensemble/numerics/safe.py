"""Norms and quotients without a singularity: neurons do vanish, and a zero row must give 0, never NaN."""

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
