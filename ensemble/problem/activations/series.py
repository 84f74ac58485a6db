"""Smooth activations without a closed dual kernel: its Hermite series, of an order chosen from a stated error.

With z ~ N(0, 1) and the normalised Hermite polynomials h_k (theory.md §2),

    K(w, v) = Σ_k c_k(‖w‖) c_k(‖v‖) ρ^k,    c_k(s) = E σ(sz) h_k(z)
    along = E σ′(wᵀx) σ′(vᵀx),    radial = E σ″(wᵀx) σ(vᵀx)

and the slopes are the same sums of the coefficients of σ′ and σ″, which JAX differentiates. What is left out beyond the
order P is at most √(Σ_{k>P} c_k(‖w‖)² Σ_{k>P} c_k(‖v‖)²) for every angle, by Cauchy and Schwarz. Coefficients come from
the trapezoidal rule, which for analytic functions under a Gaussian converges as fast as Gauss–Hermite's and does not
run out of range at its order. A longer neuron sees a steeper σ, whose series is longer: the order is that of the
largest norm for which the error is promised.
"""

import functools
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...numerics import safe_divide
from .base import AbstractActivation

MOST_TERMS = 1024
"""Of a series."""
_FINEST = 2048
"""Nodes on each side of 0, with which fewer are compared."""
_SLACK = 1.0 + 1e-9
"""A norm that is the largest one up to rounding is served."""


class AbstractSeries(AbstractActivation):
    """A smooth activation whose kernel is its Hermite series: give `name`, `symmetry`, `homogeneous` and `__call__`.

    **Arguments:**

    - `largest_norm`: R, the largest ‖w‖ for which `error` is promised. The kernel of a longer neuron is NaN, so that a
      member with one ends as diverged and is never wrong.
    - `error`: the largest error of K(w, v), relative to max(1, √(K(w, w) K(v, v))), and of both slopes, relative to the
      same of σ′ and σ″, in float64.

    **Raises:** by `check`, `ValueError` where no series of up to 1024 terms has this error.
    """

    largest_norm: float = eqx.field(static=True, default=2.0)
    error: float = eqx.field(static=True, default=1e-12)

    def __check_init__(self):
        for name, value in (("largest_norm", self.largest_norm), ("error", self.error)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < math.inf:
                raise ValueError(f"{name}: got {value!r}; give a positive number")
        if self.error < 1e-14:
            raise ValueError(f"error: got {self.error:g}; sums in float64 reach 1e-14, ask for no less")

    def check(self) -> None:
        """**Raises:** `ValueError` where the stated error cannot be reached."""
        _rule(self)

    def dual(self, gram, norm_w, norm_v):
        values = self._coefficients(norm_w, 0), self._coefficients(norm_v, 0)
        return self._sum(0, *values, gram, norm_w, norm_v)

    def dual_slopes(self, gram, norm_w, norm_v):
        along = self._coefficients(norm_w, 1), self._coefficients(norm_v, 1)
        radial = self._coefficients(norm_w, 2), self._coefficients(norm_v, 0)
        return self._sum(0, *radial, gram, norm_w, norm_v), self._sum(1, *along, gram, norm_w, norm_v)

    def _coefficients(self, norm, derivative: int):
        """Those of σ or one of its derivatives, in front."""
        rule = _rule(self)
        norm = jnp.asarray(norm)
        z, basis = (jnp.asarray(x, norm.dtype) for x in (rule.nodes, rule.bases[derivative % 2]))
        at = jnp.broadcast_to(norm[..., None], (*norm.shape, len(z)))
        values = _derivatives(self, at * z.reshape((1,) * norm.ndim + (-1,)), at)[derivative]
        return jnp.moveaxis(values @ basis, -1, 0)

    def _sum(self, derivative: int, of_w, of_v, gram, norm_w, norm_v):
        """Σ_k of_w_k of_v_k ρ^k; of even and odd activations only every second degree."""
        rule = _rule(self)
        rho = jnp.clip(safe_divide(gram, norm_w * norm_v), -1.0, 1.0)
        first = None if rule.parity is None else (rule.parity + derivative) % 2
        x = rho if first is None else rho * rho

        def horner(total, pair):
            return total * x + pair[0] * pair[1], None

        start = jnp.zeros_like(rho + of_w[0] + of_v[0])
        total, _ = jax.lax.scan(horner, start, (of_w, of_v), reverse=True, unroll=4)
        served = jnp.maximum(norm_w, norm_v) <= self.largest_norm * _SLACK
        return jnp.where(served, total * rho if first == 1 else total, jnp.nan)


class _Rule(NamedTuple):
    """How coefficients are computed: Σ_nodes σ(s z) · basis."""

    nodes: np.ndarray
    bases: tuple[np.ndarray, np.ndarray]
    """(nodes, terms) of the degrees of σ and σ″, and of those of σ′, times the weights of the nodes."""
    parity: int | None
    """0 for even, 1 for odd activations; None for the others."""
    terms: int


def _derivatives(sigma: Any, z: Any, norm: Any) -> tuple[Any, Any, Any]:
    """(σ, σ′, σ″) at preactivations z of neurons of these norms."""

    def value(x):
        return sigma(x, norm)

    def slope(x):
        return jax.jvp(value, (x,), (jnp.ones_like(x),))[1]

    second = jax.jvp(slope, (z,), (jnp.ones_like(z),))[1]
    return value(z), slope(z), second


@functools.lru_cache(maxsize=256)
def _rule(sigma: AbstractSeries) -> _Rule:
    """The shortest series, and the fewest nodes, that have the error that an activation states."""
    with jax.ensure_compile_time_eval():
        parity = _parity(sigma)
        z, basis = _fine(12.0 + sigma.largest_norm)
        norms = sigma.largest_norm * np.array([1.0, 0.5, 0.25])
        values = _values(sigma, norms, z)
    squares = values**2 @ basis[0]
    scale = np.sqrt(np.maximum(1.0, squares))
    exact = values @ basis.T
    terms = _terms(sigma, exact / scale[..., None])
    _refuse_kinks(sigma, exact / scale.max(), norms, terms)
    for stride in range(_FINEST // 16, 0, -1):  # every so many of the finest nodes, with the one at 0
        kept = slice(_FINEST % stride, None, stride)
        found = values[..., kept] @ basis[:terms, kept].T * stride
        if np.all(np.abs(found - exact[..., :terms]) <= 0.1 * sigma.error * scale[..., None]):
            return _folded(z[kept], basis[:terms, kept] * stride, parity)
    raise ValueError(_refusal(sigma, f"a rule of {2 * _FINEST} nodes does not have its coefficients"))


def _parity(sigma: AbstractSeries) -> int | None:
    z = np.linspace(0.01, 4.0 * sigma.largest_norm, 101)
    up, down = (np.asarray(sigma(jnp.asarray(x), jnp.asarray(np.abs(x)))) for x in (z, -z))
    scale = np.abs(up).max() * 1e-15
    return 0 if np.abs(up - down).max() <= scale else 1 if np.abs(up + down).max() <= scale else None


def _fine(reach: float) -> tuple[np.ndarray, np.ndarray]:
    """The finest nodes, and (terms, nodes) of h_k(z) φ(z) times their distance.

    The Hermite functions h_k √φ are bounded, so that √φ alone says how far to go.
    """
    z = reach * np.arange(-_FINEST, _FINEST + 1) / _FINEST
    root = np.exp(-z * z / 4.0) / (2.0 * np.pi) ** 0.25
    basis = np.empty((MOST_TERMS + 2, len(z)))
    basis[0], basis[1] = root, z * root
    for k in range(1, MOST_TERMS + 1):
        basis[k + 1] = (z * basis[k] - math.sqrt(k) * basis[k - 1]) / math.sqrt(k + 1)
    return z, basis * (root * (reach / _FINEST))


def _values(sigma: AbstractSeries, norms: np.ndarray, z: np.ndarray) -> np.ndarray:
    """σ, σ′ and σ″ of neurons of these norms at the nodes: (derivative, norm, node)."""
    at = norms[:, None] * z
    of = _derivatives(sigma, jnp.asarray(at), jnp.broadcast_to(norms[:, None], at.shape))
    values = np.stack([np.asarray(x, float) for x in of])
    if not np.all(np.abs(values) < 1e150):
        raise ValueError(_refusal(sigma, "it or a derivative of it is not finite"))
    edge = np.abs(values[..., [0, -1]]).max() * math.exp(-(z[0] ** 2) / 4.0)
    if edge > 1e-3 * sigma.error * max(1.0, float(np.abs(values[..., len(z) // 2]).max())):
        raise ValueError(_refusal(sigma, "it grows too fast for the tails of a Gaussian"))
    return values


def _terms(sigma: AbstractSeries, coefficients: np.ndarray) -> int:
    """The terms after which what is left is below half of the error, of σ and of both slopes."""
    left = np.cumsum((coefficients**2)[..., ::-1], axis=-1)[..., ::-1].max(axis=(0, 1))
    if left[MOST_TERMS] > 0.5 * sigma.error:
        raise ValueError(_refusal(sigma, f"{MOST_TERMS} terms leave {2.0 * left[MOST_TERMS]:.1g}"))
    return int(np.argmax(left <= 0.5 * sigma.error)) + 1


def _refuse_kinks(sigma: AbstractSeries, coefficients: np.ndarray, norms: np.ndarray, terms: int) -> None:
    """Refuses a σ whose derivatives are not what JAX says, as at a kink.

    Partial integration: s E σ′(sz)h_{k−1}(z) = √k E σ(sz)h_k(z).
    """
    degree = np.sqrt(np.arange(1, terms + 1))
    lower, higher = coefficients[1:, :, :terms], coefficients[:-1, :, 1 : terms + 1]
    off = float(np.abs(norms[:, None] * lower - degree * higher).max())
    if off > max(1e-10, 10.0 * sigma.error):
        raise ValueError(_refusal(sigma, f"it has a kink or a step, of whose derivative {off:.1g} is missing"))


def _folded(z: np.ndarray, basis: np.ndarray, parity: int | None) -> _Rule:
    """The rule without what symmetry makes 0: half of the nodes and of the degrees."""
    terms = len(basis)
    if parity is None:
        return _Rule(z, (basis.T, basis.T), None, terms)
    half = z >= 0.0
    weights = np.where(z[half] > 0.0, 2.0, 1.0)
    even, odd = ((basis[first::2, half] * weights).T for first in (0, 1))
    return _Rule(z[half], (even, odd) if parity == 0 else (odd, even), parity, terms)


def _refusal(sigma: AbstractSeries, why: str) -> str:
    return (
        f"got {sigma.name!r}, whose Hermite series cannot have the error {sigma.error:g} for norms up to "
        f"{sigma.largest_norm:g}: {why}; lower largest_norm, state a larger error, or give its kernel in closed form "
        "(AbstractActivation)"
    )
