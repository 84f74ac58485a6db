"""Probes of the layers of deep networks, linear or not: what their matrices have in common (theory.md §11)."""

from itertools import pairwise
from typing import ClassVar

import jax.numpy as jnp

from ..numerics import safe_divide
from ..problem.models import stacked
from ..problem.students import AbstractLayeredStudent, AbstractStudent
from .base import AbstractPlainProbe


class AbstractLayerProbe(AbstractPlainProbe):
    """A probe of the matrices W_1, …, W_L of a student."""

    of: ClassVar[type[AbstractStudent]] = AbstractLayeredStudent


class Balancedness(AbstractLayerProbe):
    """‖W_{l+1}ᵀW_{l+1} − W_lW_lᵀ‖_F of every two neighbouring layers, which gradient flow conserves."""

    name: ClassVar[str] = "balancedness"
    dims: ClassVar[tuple[str, ...]] = ("layer_pair",)
    long_name: ClassVar[str] = "Frobenius norm of W_{l+1}ᵀW_{l+1} − W_lW_lᵀ; 0: balanced"
    default: ClassVar[bool] = True

    def __call__(self, at):
        layers = at.moment.model.weights
        pairs = pairwise(layers)
        return jnp.stack([jnp.linalg.norm(after.T @ after - before @ before.T) for before, after in pairs])


class LayerNorm(AbstractLayerProbe):
    """‖W_l‖_F."""

    name: ClassVar[str] = "layer_norm"
    dims: ClassVar[tuple[str, ...]] = ("layer",)
    long_name: ClassVar[str] = "Frobenius norm of every layer"

    def __call__(self, at):
        return jnp.stack([jnp.linalg.norm(W) for W in at.moment.model.weights])


class LayerEffectiveRank(AbstractLayerProbe):
    """(Σ σ_k²)²/Σ σ_k⁴ over the singular values σ_k of W_l."""

    name: ClassVar[str] = "layer_effective_rank"
    dims: ClassVar[tuple[str, ...]] = ("layer",)
    long_name: ClassVar[str] = "participation ratio of the squared singular values of every layer; 0 of a zero layer"

    def __call__(self, at):
        # Σ σ² and Σ σ⁴ are traces of W Wᵀ and its square: no decomposition.
        grams = [W @ W.T for W in at.moment.model.weights]
        return jnp.stack([safe_divide(jnp.trace(G) ** 2, jnp.sum(G * G)) for G in grams])


class LayerAlignment(AbstractLayerProbe):
    """tr(W_lW_lᵀ W_{l+1}ᵀW_{l+1})/(‖W_lW_lᵀ‖_F ‖W_{l+1}ᵀW_{l+1}‖_F) ∈ [0, 1]."""

    name: ClassVar[str] = "layer_alignment"
    dims: ClassVar[tuple[str, ...]] = ("layer_pair",)
    long_name: ClassVar[str] = "cosine of what a layer puts out and what the next one takes in; 1: aligned"

    def __call__(self, at):
        layers = at.moment.model.weights
        found = []
        for before, after in pairwise(layers):
            out, taken = before @ before.T, after.T @ after
            found.append(safe_divide(jnp.sum(out * taken), jnp.linalg.norm(out) * jnp.linalg.norm(taken)))
        return jnp.stack(found)


class LayerSingularValues(AbstractLayerProbe):
    """The singular values of every layer, from the largest; those that a layer does not have are 0."""

    name: ClassVar[str] = "layer_singular_values"
    dims: ClassVar[tuple[str, ...]] = ("layer", "layer_mode")
    long_name: ClassVar[str] = "singular values of every layer, from the largest"

    def __call__(self, at):
        weights = at.moment.model.weights
        found = [jnp.linalg.svd(W, compute_uv=False)[None, :] for W in weights]
        return stacked(found)[:, 0, :]
