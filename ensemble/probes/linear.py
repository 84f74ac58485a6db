"""Probes of deep linear networks (theory.md §11): modes of the product, and what the layers have in common."""

from itertools import pairwise
from typing import ClassVar

import jax.numpy as jnp

from ..numerics import safe_divide
from ..problem.lazy import AbstractLazyRisk
from ..problem.students import AbstractStudent, DeepLinearStudent
from .base import AbstractPlainProbe, Measured


def product(at: Measured):
    """What the student does to x, as a matrix: W_L⋯W_1, or what a lazy comparator makes of it."""
    risk, model = at.moment.risk, at.moment.model
    return risk.matrix(model) if isinstance(risk, AbstractLazyRisk) else model.matrix


def in_modes(at: Measured):
    """Uᵀ W_L⋯W_1 V: the product between the teacher's singular vectors."""
    teacher = at.moment.risk.teacher
    return teacher.U.T @ at.view(product) @ teacher.V


class AbstractLinearProbe(AbstractPlainProbe):
    """A probe of a deep linear student."""

    of: ClassVar[type[AbstractStudent]] = DeepLinearStudent


class ModeStrength(AbstractLinearProbe):
    """u_k = u_kᵀ W_L⋯W_1 v_k; learned where it is s_k."""

    name: ClassVar[str] = "mode_strength"
    dims: ClassVar[tuple[str, ...]] = ("mode",)
    long_name: ClassVar[str] = "strength of the teacher's modes in the product of the layers"
    default: ClassVar[bool] = True

    def __call__(self, at):
        return jnp.diag(at.view(in_modes))


class ModeLeakage(AbstractLinearProbe):
    """‖W_L⋯W_1 − Σ_k u_k u_k v_kᵀ‖_F."""

    name: ClassVar[str] = "mode_leakage"
    long_name: ClassVar[str] = "Frobenius norm of what of the product is in none of the teacher's modes"
    default: ClassVar[bool] = True

    def __call__(self, at):
        teacher = at.moment.risk.teacher
        own = (teacher.U * jnp.diag(at.view(in_modes))[None, :]) @ teacher.V.T
        return jnp.linalg.norm(at.view(product) - own)


class Balancedness(AbstractLinearProbe):
    """‖W_{l+1}ᵀW_{l+1} − W_lW_lᵀ‖_F of every two neighbouring layers, which gradient flow conserves."""

    name: ClassVar[str] = "balancedness"
    dims: ClassVar[tuple[str, ...]] = ("layer_pair",)
    long_name: ClassVar[str] = "Frobenius norm of W_{l+1}ᵀW_{l+1} − W_lW_lᵀ; 0: balanced"
    default: ClassVar[bool] = True

    def __call__(self, at):
        layers = at.moment.model.layers
        pairs = pairwise(layers)
        return jnp.stack([jnp.linalg.norm(after.T @ after - before @ before.T) for before, after in pairs])


class LayerNorm(AbstractLinearProbe):
    """‖W_l‖_F."""

    name: ClassVar[str] = "layer_norm"
    dims: ClassVar[tuple[str, ...]] = ("layer",)
    long_name: ClassVar[str] = "Frobenius norm of every layer"

    def __call__(self, at):
        return jnp.stack([jnp.linalg.norm(W) for W in at.moment.model.layers])


class LayerEffectiveRank(AbstractLinearProbe):
    """(Σ σ_k²)²/Σ σ_k⁴ over the singular values σ_k of W_l."""

    name: ClassVar[str] = "layer_effective_rank"
    dims: ClassVar[tuple[str, ...]] = ("layer",)
    long_name: ClassVar[str] = "participation ratio of the squared singular values of every layer; 0 of a zero layer"

    def __call__(self, at):
        # Σ σ² and Σ σ⁴ are traces of W Wᵀ and its square: no decomposition.
        grams = [W @ W.T for W in at.moment.model.layers]
        return jnp.stack([safe_divide(jnp.trace(G) ** 2, jnp.sum(G * G)) for G in grams])


class LayerAlignment(AbstractLinearProbe):
    """tr(W_lW_lᵀ W_{l+1}ᵀW_{l+1})/(‖W_lW_lᵀ‖_F ‖W_{l+1}ᵀW_{l+1}‖_F) ∈ [0, 1]."""

    name: ClassVar[str] = "layer_alignment"
    dims: ClassVar[tuple[str, ...]] = ("layer_pair",)
    long_name: ClassVar[str] = "cosine of what a layer puts out and what the next one takes in; 1: aligned"

    def __call__(self, at):
        layers = at.moment.model.layers
        found = []
        for before, after in pairwise(layers):
            out, taken = before @ before.T, after.T @ after
            found.append(safe_divide(jnp.sum(out * taken), jnp.linalg.norm(out) * jnp.linalg.norm(taken)))
        return jnp.stack(found)
