"""The closed equations of order parameters in online learning, and their solution by diffrax.

A student of K neurons learns from a teacher of M, one batch of b fresh samples y = f*(x) + σ_ξ ξ a step, x ~ N(0, I_d).
For d → ∞ at fixed ηd the overlaps Q = WWᵀ and R = WW*ᵀ and the output weights a follow closed equations in the time
t = Σ η (Saad & Solla 1995, Phys. Rev. E 52, 4225; Goldt et al. 2019, arXiv 1906.08632, with output weights as they are
here and step sizes η = η̃/d):

    Q̇ = GWᵀ + WGᵀ + (ηd/b) a_i a_j E σ′(z_i)σ′(z_j)[Δ² + σ_ξ²],    Ṙ = GW*ᵀ,    G_i = −∂L/∂w_i − λw_i
    ȧ_i = −∂L/∂a_i − λa_i,    Δ = f − f*

∂L/∂θ are the exact population gradients, functions of Q, R and T = W*W*ᵀ alone (theory.md §2). The last term of Q̇ is
exact for erf, square and linear, and for polynomials of few neurons (`fourth_moments.py`); for other activations the
equations are those to leading order in η, without it: the population's gradient flow.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ensemble.problem.activations import AbstractActivation

from .fourth_moments import squared_errors

RTOL, ATOL = 1e-10, 1e-12


class Overlaps(NamedTuple):
    """What the equations move."""

    a: Float[Array, " neuron"]
    Q: Float[Array, "neuron neuron"]
    R: Float[Array, "neuron teacher_neuron"]


class Numbers(NamedTuple):
    """What one program takes of a piece of a protocol, as numbers."""

    teacher_a: Any
    T: Any
    step_size: Any
    decay: Any
    first: Any
    """1 where the first layer moves, else 0."""
    output: Any
    diffusion: Any
    """d/b, or 0 where the term of order η is left out."""
    noise: Any
    """σ_ξ²."""
    begin: Any
    """The stage's first step, from which schedules count."""


def velocity(
    sigma: AbstractActivation, state: Overlaps, numbers: Any, step_size: Any, decay: Any, second: bool
) -> Overlaps:
    """(ȧ, Q̇, Ṙ) of the module's equations, in time t = Σ η."""
    a, Q, R = state
    count = len(a)
    c = jnp.concatenate([a, -numbers.teacher_a])
    S = _covariance(state, numbers.T)
    norms = jnp.sqrt(jnp.maximum(jnp.diagonal(S), 0.0))
    at = S[:count], norms[:count, None], norms[None, :]
    radial, along = sigma.dual_slopes(*at)
    # ∂L/∂w_i = Σ_v pull_iv v over all neurons v.
    pull = a[:, None] * (along * c[None, :] + jnp.pad(jnp.diag(radial @ c), ((0, 0), (0, len(c) - count))))
    dQ, dR = -(pull @ S[:, :count]) - decay * Q, -(pull @ S[:, count:]) - decay * R
    da = -(sigma.dual(*at) @ c) - decay * a
    dQ = dQ + dQ.T
    if second:
        moments = squared_errors(sigma, S, c, count) + numbers.noise * along[:, :count]
        dQ = dQ + step_size * numbers.diffusion * (a[:, None] * a[None, :]) * moments
    return Overlaps(numbers.output * da, numbers.first * dQ, numbers.first * dR)


def _covariance(state: Overlaps, T: Any) -> Any:
    return jnp.block([[state.Q, state.R], [state.R.T, T]])


def _loss(sigma: AbstractActivation, state: Overlaps, teacher_a: Any, T: Any) -> Any:
    c = jnp.concatenate([state.a, -teacher_a])
    S = _covariance(state, T)
    norms = jnp.sqrt(jnp.maximum(jnp.diagonal(S), 0.0))
    return 0.5 * c @ sigma.dual(S, norms[:, None], norms[None, :]) @ c


@functools.partial(jax.jit, static_argnums=0)
def losses(sigma: AbstractActivation, path: Overlaps, teacher_a: Any, T: Any) -> Any:
    return jax.vmap(jax.vmap(functools.partial(_loss, sigma), (0, None, None)))(path, teacher_a, T)


@functools.partial(jax.jit, static_argnums=0)
def solve(structure: Any, starts: Overlaps, numbers: Numbers, begin: Any, end: Any, at: Any) -> Any:
    """(states at the steps `at`, states at the end) of a piece, mapped over starts."""
    import diffrax  # imported where equations are solved: the analysis starts sooner

    sigma, schedules, second = structure

    def slope(step, state, numbers):
        factors = [1.0 if s is None else s(step - numbers.begin) for s in schedules]
        step_size, decay = numbers.step_size * factors[0], numbers.decay * factors[1]
        moved = velocity(sigma, state, numbers, step_size, decay, second)
        return jax.tree.map(lambda x: step_size * x, moved)

    def one(start, numbers):
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(slope),
            diffrax.Tsit5(),
            begin,
            end,
            None,
            start,
            args=numbers,
            saveat=diffrax.SaveAt(subs=[diffrax.SubSaveAt(ts=at), diffrax.SubSaveAt(t1=True)]),
            stepsize_controller=diffrax.PIDController(rtol=RTOL, atol=ATOL),
            max_steps=1_000_000,
        )
        states, last = found.ys  # pyright: ignore[reportGeneralTypeIssues] (as `saveat` asks)
        return states, jax.tree.map(lambda x: x[0], last)

    return jax.vmap(one)(starts, numbers)


def by_seed(numbers: Numbers, starts: Overlaps) -> Numbers:
    """Numbers as arrays with a row a seed: those of the teacher differ from seed to seed."""
    seeds = len(starts.a)
    own = {"teacher_a", "T"}
    table = numbers._asdict()
    return Numbers(**{k: v if k in own else jnp.full((seeds,), v) for k, v in table.items()})
