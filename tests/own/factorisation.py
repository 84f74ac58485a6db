"""Symmetric matrix factorisation, ½‖UUᵀ − T‖²_F: a problem of one's own, and a probe for it."""

from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from pydantic import PositiveFloat, PositiveInt

import ensemble as ens


class Factor(eqx.Module):
    U: jax.Array


class FactorisationRisk(ens.AbstractDifferentiatedRisk):
    T: jax.Array

    def value(self, model):
        return 0.5 * jnp.sum((model.U @ model.U.T - self.T) ** 2)


@ens.register
class LowRank(ens.AbstractTeacher):
    """T = diag(1, …, 1, 0, …, 0), of the given rank."""

    kind: Literal["low_rank"] = "low_rank"
    size: PositiveInt
    rank: PositiveInt

    def draw(self, key):
        return jnp.diag(jnp.where(jnp.arange(self.size) < self.rank, 1.0, 0.0))


@ens.register
class Factors(ens.AbstractStudent):
    """U of n × r, entries N(0, scale²/n)."""

    kind: Literal["factors"] = "factors"
    rank: PositiveInt
    scale: PositiveFloat = 0.1

    def draw(self, teacher, keys, space):
        T = teacher.draw(keys.teacher)
        U = jax.random.normal(keys.start, (teacher.size, self.rank)) * self.scale / jnp.sqrt(teacher.size)
        return Factor(U), FactorisationRisk(T)


@ens.register
class EffectiveRank(ens.AbstractPlainProbe):
    name: ClassVar[str] = "effective_rank"
    long_name: ClassVar[str] = "participation ratio of the singular values of U"
    default: ClassVar[bool] = True
    of: ClassVar[type] = Factors

    def __call__(self, at):
        s = jnp.linalg.svd(at.moment.model.U, compute_uv=False)
        return jnp.sum(s) ** 2 / jnp.sum(s**2)
