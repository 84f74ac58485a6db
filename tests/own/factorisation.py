"""Symmetric matrix factorisation, ½‖UUᵀ − T‖²_F, and the effective rank of U."""

from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp

import ensemble as ens


class Factor(eqx.Module):
    U: jax.Array


class FactorisationRisk(ens.AbstractDifferentiatedRisk):
    T: jax.Array

    def value(self, model):
        return 0.5 * jnp.sum((model.U @ model.U.T - self.T) ** 2)


@ens.register
class LowRank(ens.AbstractTeacher):
    kind: Literal["low_rank"] = "low_rank"
    eigenvalues: tuple[float, ...]

    def draw(self, key):
        return jnp.diag(jnp.asarray(self.eigenvalues))


@ens.register
class Factors(ens.AbstractStudent):
    kind: Literal["factors"] = "factors"
    rank: int
    scale: float = 0.1

    def draw(self, teacher, keys, space):
        T = teacher.draw(keys.teacher)
        return Factor(self.scale * jax.random.normal(keys.start, (len(T), self.rank))), FactorisationRisk(T)


@ens.register
class EffectiveRank(ens.AbstractPlainProbe):
    name: ClassVar[str] = "effective_rank"
    long_name: ClassVar[str] = "participation ratio of the singular values of U"
    default: ClassVar[bool] = True
    of: ClassVar[type] = Factors

    def __call__(self, at):
        s = jnp.linalg.svd(at.moment.model.U, compute_uv=False)
        return jnp.sum(s) ** 2 / jnp.sum(s**2)
