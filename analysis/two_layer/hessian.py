"""The Hessian of the regularised risk, in closed form: is a stationary point a minimum, a saddle, or flat?

With unit vectors ŵ, v̂, ρ = ŵᵀv̂, r = v̂ − ρŵ, q = ŵ − ρv̂ and s = √(1 − ρ²), the kernel of a 1-homogeneous activation has

    ∂²K/∂w∂wᵀ = (‖v‖/‖w‖) [ (κ − ρκ′)(I − ŵŵᵀ) + κ″ r rᵀ ]
    ∂²K/∂w∂vᵀ = (κ − ρκ′) ŵ v̂ᵀ + κ′ I + κ″ r qᵀ

κ″ = b/s is infinite at |ρ| = 1, but ‖r‖ = ‖q‖ = s: the terms vanish there, and both blocks are continuous. (They follow
from the slopes of theory.md §2 by one more derivative; tested against finite differences of the gradient.) Other
activations are smooth, and differentiated by JAX. At w = 0 the risk has no second derivative: the first block is 0.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.sparse.linalg import LinearOperator, eigsh

from ensemble import TwoLayer, population_gradient
from ensemble.numerics import safe_divide
from ensemble.problem.models import row_norms

Layers = Literal["both", "first", "output"]
_DENSE = 1500
"""Parameters up to which the whole matrix is diagonalised; beyond, Lanczos finds its ends."""


@eqx.filter_jit
def hessian_product(
    student: TwoLayer, teacher: TwoLayer, direction: TwoLayer, weight_decay: float | Array = 0.0
) -> TwoLayer:
    """∇²R_λ at the student, applied to a direction in the student's shapes.

    **Arguments:** two networks of one activation; a direction (α, U) as a `TwoLayer`; λ ≥ 0. Under `jax.vmap` map over
    any of them.
    """
    sigma = student.activation
    if sigma.homogeneous:
        alpha, U = _closed_product(student, teacher, direction.a, direction.W)
    else:
        _, change = jax.jvp(lambda at: population_gradient(at, teacher), (student,), (direction,))
        alpha, U = change.a, change.W
    return TwoLayer(alpha + weight_decay * direction.a, U + weight_decay * direction.W, sigma)


def _closed_product(student: TwoLayer, teacher: TwoLayer, alpha: Array, U: Array) -> tuple[Array, Array]:
    sigma, a, W = student.activation, student.a, student.W
    m = len(a)
    c = jnp.concatenate([a, -teacher.a])
    V = jnp.concatenate([W, teacher.W])
    norm_w, norm_v = row_norms(W)[:, None], row_norms(V)[None, :]
    gram = W @ V.T
    K = sigma.dual(gram, norm_w, norm_v)
    radial, along = sigma.dual_slopes(gram, norm_w, norm_v)
    unit_w, unit_v = safe_divide(W, norm_w), safe_divide(V, norm_v.T)
    rho = jnp.clip(unit_w @ unit_v.T, -1.0, 1.0)
    remainder, _ = sigma.kappa_slopes(rho)  # pyright: ignore[reportAttributeAccessIssue] (homogeneous ones have it)
    # b/s; where s is rounding its term is too, and counts as 0.
    sine = jnp.sqrt((1.0 - rho) * (1.0 + rho))
    bend = jnp.where(sine > 1e-9, sigma.bend / jnp.where(sine > 1e-9, sine, 1.0), 0.0)  # pyright: ignore

    own = jnp.sum(unit_w * U, axis=1)  # ŵ_i·U_i
    pull = (radial @ c)[:, None] * W + (along * c[None, :]) @ V  # Σ_j c_j ∂K_ij/∂w_i
    # Output weights: Σ_l α_l K_il + U_i·pull_i + Σ_l a_l U_l·∂K_il/∂w_l.
    moved = radial[:, :m] * jnp.sum(W * U, axis=1)[:, None] + along[:, :m] * (U @ W.T)
    out_a = K[:, :m] @ alpha + jnp.sum(pull * U, axis=1) + moved.T @ a
    # First layer, neuron by neuron with itself …
    ratio = safe_divide(norm_v, norm_w) * c[None, :]
    towards = U @ unit_v.T - rho * own[:, None]
    curved = ratio * bend * towards
    block = jnp.sum(ratio * remainder, axis=1)[:, None] * (U - own[:, None] * unit_w)
    block += curved @ unit_v - jnp.sum(curved * rho, axis=1)[:, None] * unit_w
    # … and with each other.
    rho, bend, remainder, along_own = rho[:, :m], bend[:, :m], remainder[:, :m], along[:, :m]
    crossed = a[None, :] * bend * (unit_w @ U.T - rho * own[None, :])
    block += (remainder @ (a * own))[:, None] * unit_w + (along_own * a[None, :]) @ U
    block += crossed @ unit_w - jnp.sum(crossed * rho, axis=1)[:, None] * unit_w
    slopes = (radial[:, :m] @ alpha)[:, None] * W + (along_own * alpha[None, :]) @ W
    return out_a, alpha[:, None] * pull + a[:, None] * slopes + a[:, None] * block


@eqx.filter_jit
def hessian(
    student: TwoLayer, teacher: TwoLayer, weight_decay: float | Array = 0.0, layers: Layers = "both"
) -> Float[Array, "parameter parameter"]:
    """∇²R_λ as a matrix over the parameters that move: `a` first, then the rows of `W`."""
    basis = jnp.eye(_count(student, layers), dtype=student.a.dtype)

    def column(vector):
        product = hessian_product(student, teacher, _unflat(vector, student, layers), weight_decay)
        return _flat(product, layers)

    # By parts: all products at once would take parameters times pairs of neurons.
    columns = jax.lax.map(column, basis, batch_size=64)
    return 0.5 * (columns + columns.T)


def hessian_eigenvalues(
    student: TwoLayer, teacher: TwoLayer, weight_decay: float = 0.0, layers: Layers = "both"
) -> tuple[float, float]:
    """(lowest, highest) eigenvalue of ∇²R_λ over the parameters that move; by Lanczos beyond 1 500 of them."""
    if _count(student, layers) <= _DENSE:
        values = np.linalg.eigvalsh(np.asarray(hessian(student, teacher, jnp.asarray(weight_decay), layers)))
        return float(values[0]), float(values[-1])

    def product(vector: np.ndarray) -> np.ndarray:
        found = hessian_product(student, teacher, _unflat(jnp.asarray(vector), student, layers), weight_decay)
        return np.asarray(_flat(found, layers))

    size = _count(student, layers)
    operator = LinearOperator((size, size), matvec=product, dtype=float)  # pyright: ignore[reportCallIssue]
    start = np.random.default_rng(0).standard_normal(size)
    ends = [eigsh(operator, k=1, which=which, v0=start, return_eigenvectors=False)[0] for which in ("SA", "LA")]
    return float(ends[0]), float(ends[1])


def _count(student: TwoLayer, layers: Layers) -> int:
    return (layers != "first") * student.a.size + (layers != "output") * student.W.size


def _flat(network: TwoLayer, layers: Layers) -> Array:
    parts = {"both": [network.a, network.W.ravel()], "first": [network.W.ravel()], "output": [network.a]}
    return jnp.concatenate(parts[layers])


def _unflat(vector: Array, student: TwoLayer, layers: Layers) -> TwoLayer:
    split = student.a.size if layers != "first" else 0
    a = vector[:split] if split else jnp.zeros_like(student.a)
    W = vector[split:].reshape(student.W.shape) if layers != "output" else jnp.zeros_like(student.W)
    return TwoLayer(a, W, student.activation)
