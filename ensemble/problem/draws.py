"""Random draws that the parts of a member share.

Row i of a draw depends on the key and on i alone, so that a wider network's first rows are the narrower
one's: members that differ only in width have common random numbers.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .models import row_norms


class Space(NamedTuple):
    """The coordinates that a member's rows are written in.

    The dynamics depends on rows through their inner products alone, so it never leaves span{w_i(0), w*_j}. In
    *reduced* coordinates the first `plane` columns are those of the teacher's subspace and the others of an
    orthonormal basis that the student's rows themselves unfold, one new direction a row (theory.md §3).
    """

    columns: int
    plane: int
    inputs: int | Float[Array, ""]
    """The dimension d of the input x; a traced number where `reduced`."""
    reduced: bool


def full_space(inputs: int) -> Space:
    """All d coordinates of the input."""
    return Space(columns=inputs, plane=inputs, inputs=inputs, reduced=False)


def isotropic_rows(key: PRNGKeyArray, rows: int, space: Space) -> Float[Array, "rows columns"]:
    """Independent N(0, I_d) rows, in the coordinates of `space`.

    In reduced coordinates: independent normals in the plane, and outside it the lower-triangular Bartlett factor of
    a Wishart matrix, with independent normals below the diagonal and a χ variable of d − r − i degrees of freedom at
    diagonal entry i. Their inner products with each other and with the plane have exactly the distribution that
    those of d-dimensional rows have; no array has d entries.
    """
    if not space.reduced:
        return normal_rows(key, rows, space.columns)
    below = normal_entries(jax.random.fold_in(key, 0), rows, rows)
    freedom = jnp.asarray(space.inputs, float) - space.plane - jnp.arange(rows, dtype=float)
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.fold_in(key, 1), i))(jnp.arange(rows))
    diagonal = jnp.sqrt(2.0 * jax.vmap(jax.random.gamma)(keys, 0.5 * freedom))
    outside = jnp.tril(below, -1) + jnp.diag(diagonal)
    outside = jnp.pad(outside, ((0, 0), (0, space.columns - space.plane - rows)))
    inside = normal_rows(jax.random.fold_in(key, 2), rows, space.plane)
    return jnp.concatenate([inside, outside], axis=1)


def normal_rows(key: PRNGKeyArray, rows: int, columns: int) -> Float[Array, "rows columns"]:
    """Independent N(0, 1) entries."""
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(rows))
    return jax.vmap(lambda k: jax.random.normal(k, (columns,)))(keys)


def normal_entries(key: PRNGKeyArray, rows: int, columns: int) -> Float[Array, "rows columns"]:
    """Independent N(0, 1) entries, each a function of the key and its own two indices."""

    def entry(i, j):
        return jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, i), j))

    return jax.vmap(lambda i: jax.vmap(lambda j: entry(i, j))(jnp.arange(columns)))(jnp.arange(rows))


_BIASES = 45_477
"""What a key is folded with for biases: no number of a neuron."""


def normal_biases(key: PRNGKeyArray, rows: int) -> Float[Array, " rows"]:
    """Independent N(0, 1) numbers, of the same key as weights and independent of them."""
    return normal_rows(jax.random.fold_in(key, _BIASES), rows, 1)[:, 0]


def uniform_directions(key: PRNGKeyArray, rows: int, space: Space) -> Float[Array, "rows columns"]:
    """Independent uniform unit vectors of the input space, in the coordinates of `space`."""
    draws = isotropic_rows(key, rows, space)
    return draws / row_norms(draws)[:, None]


def random_signs(key: PRNGKeyArray, rows: int) -> Float[Array, " rows"]:
    """Independent fair signs ±1."""
    return jnp.where(normal_rows(key, rows, 1)[:, 0] < 0.0, -1.0, 1.0)


def random_frame(key: PRNGKeyArray, inputs: int, columns: int) -> Float[Array, "input column"]:
    """Orthonormal columns with the distribution of the first columns of a uniform (Haar) rotation of R^inputs.

    QR of a Gaussian matrix, with the signs of R's diagonal moved to Q: without them Q is not uniform (Mezzadri 2007).
    """
    Q, R = jnp.linalg.qr(jax.random.normal(key, (inputs, columns)))
    return Q * jnp.where(jnp.diag(R) < 0.0, -1.0, 1.0)[None, :]
