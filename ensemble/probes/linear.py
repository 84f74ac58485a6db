"""Probes of deep linear networks (theory.md §11): modes of the product."""

from typing import ClassVar

import jax.numpy as jnp

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
