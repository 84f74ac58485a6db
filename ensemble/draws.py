"""Random draws that the parts of a member share.

Row i of a draw depends on the key and on i alone, so that a wider network's first rows are the narrower
one's: members that differ only in width have common random numbers.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .network import row_norms

PURPOSES = ("teacher", "start", "data")


def member_key(root_seed: int | Array, seed: int | Array, purpose: str) -> PRNGKeyArray:
    """The key of one purpose of one member: a function of the two seeds and of the purpose alone."""
    root = jax.random.key(root_seed, impl="threefry2x32")
    return jax.random.fold_in(jax.random.fold_in(root, seed), PURPOSES.index(purpose))


def normal_rows(key: PRNGKeyArray, rows: int, columns: int) -> Float[Array, "rows columns"]:
    """Independent N(0, 1) entries."""
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(rows))
    return jax.vmap(lambda k: jax.random.normal(k, (columns,)))(keys)


def uniform_directions(key: PRNGKeyArray, rows: int, columns: int) -> Float[Array, "rows columns"]:
    """Independent uniform unit vectors."""
    draws = normal_rows(key, rows, columns)
    return draws / row_norms(draws)[:, None]


def random_signs(key: PRNGKeyArray, rows: int) -> Float[Array, " rows"]:
    """Independent fair signs ±1."""
    return jnp.where(normal_rows(key, rows, 1)[:, 0] < 0.0, -1.0, 1.0)
