"""The inverse and the determinant of I + A, A positive semidefinite, by elimination: many small matrices at once."""

from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float

_AT_ONCE = 4
"""Rows that are eliminated in one pass over the matrix, which its size decides the cost of."""

Eliminated: TypeAlias = tuple[Array, Array]


@jax.custom_jvp
def inverse_of_one_plus(A: Float[Array, "n n"]) -> tuple[Float[Array, "n n"], Float[Array, ""]]:
    """((I + A)⁻¹, log det(I + A)) of a symmetric positive semidefinite A.

    Row by row, with pivots p_k that are 1 or more: B ← B − (B_k − e_k)(B_k − e_k)ᵀ/p_k, p_k = B_kk, from B = I + A. It
    ends at 2I − (I + A)⁻¹, and det is Π p_k. No routine of LAPACK, which is slow on many small matrices and can wait
    for ever on XLA's threads (docs/running.md). Under `jax.vmap` the last axis runs over the matrices, so that a vector
    register holds as many of them as it has numbers, and the order of a sum is that of one matrix alone.

    **Arguments:** A, n × n; what rounding makes slightly negative of it counts as 0 in a pivot.

    **Returns:** the inverse, n × n, and log det ≥ 0, a scalar; both to a few ulp of n(1 + ‖A‖). Differentiable.
    """
    return _inverse_of_one_plus(A)


@inverse_of_one_plus.defjvp
def _slopes(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Eliminated, Eliminated]:
    inverse, log_det = inverse_of_one_plus(*primals)
    (dA,) = tangents
    return (inverse, log_det), (-inverse @ dA @ inverse, jnp.sum(inverse * dA))


@custom_vmap
def _inverse_of_one_plus(A: Array) -> Eliminated:
    inverse, log_det = _eliminated(A[:, :, None])
    return inverse[:, :, 0], log_det[0]


@_inverse_of_one_plus.def_vmap
def _of_many(size: int, batched: list[bool], A: Float[Array, "many n n"]) -> tuple[Eliminated, tuple[bool, bool]]:
    inverse, log_det = _eliminated(jnp.moveaxis(A, 0, -1))
    return (jnp.moveaxis(inverse, -1, 0), log_det), (True, True)


@jax.jit  # compiled once a shape where nothing around it is compiled
def _eliminated(A: Float[Array, "n n many"]) -> tuple[Float[Array, "n n many"], Float[Array, " many"]]:
    n, many = len(A), A.shape[-1]
    rows = -(-n // _AT_ONCE) * _AT_ONCE  # rows of zeros, whose pivots are 1
    one = jnp.eye(rows, dtype=A.dtype)[:, :, None]
    B = jnp.pad(A, ((0, rows - n), (0, rows - n), (0, 0))) + one

    at_row = jax.lax.dynamic_index_in_dim

    def less(B: Array, due: tuple[Array, ...]) -> Array:
        for s in due:
            B = B - s[:, None] * s[None]
        return B

    # The next block subtracts what a block leaves: XLA would repeat the arithmetic of a matrix at each of its uses in
    # the block that makes it.
    def block(index: Array, carry: tuple[Array, tuple[Array, ...], Array]) -> tuple[Array, tuple[Array, ...], Array]:
        B, due, log_det = carry
        B = less(B, due)
        due = ()
        for k in range(_AT_ONCE):
            row = index * _AT_ONCE + k
            u = at_row(B, row)[0] - at_row(one, row)[0]
            for s in due:
                u = u - at_row(s, row) * s
            above_one = jnp.maximum(at_row(u, row), 0.0)
            log_det = log_det + jnp.log1p(above_one)
            due = (*due, u * jax.lax.rsqrt(1.0 + above_one))
        return B, due, log_det

    nothing = (jnp.zeros((rows, many), A.dtype),) * _AT_ONCE
    begin = B, nothing, jnp.zeros((1, many), A.dtype)
    B, due, log_det = jax.lax.fori_loop(0, rows // _AT_ONCE, block, begin)
    return (2.0 * one - less(B, due))[:n, :n], log_det[0]
