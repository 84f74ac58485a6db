"""Random teacher neurons with a least angle, drawn for each seed."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from pydantic import model_validator

from ...spec import Count
from ..activations import AbstractActivation
from ..draws import full_space, uniform_directions
from .planted import AbstractPlantedTeacher, Angle, refuse_wide

_TRIES = 4096


class RandomSeparated(AbstractPlantedTeacher):
    """Uniform unit rows of an r-dimensional subspace (r = `rank`), drawn one after another, each redrawn
    until its angle to all before it is ≥ Δ = `separation`; a new teacher for every seed."""

    kind: Literal["random_separated"] = "random_separated"
    rank: Count
    separation: Angle

    def rows(self, key):
        even = self.sigma.symmetry == "line"
        cosine = jnp.cos(self.separation)

        def place(j, rows):
            def fits(candidate):
                overlap = rows @ candidate
                overlap = jnp.abs(overlap) if even else overlap
                return jnp.all(jnp.where(jnp.arange(self.neurons) < j, overlap <= cosine, True))

            def candidate(tries):
                own = jax.random.fold_in(jax.random.fold_in(key, j), tries)
                return uniform_directions(own, 1, full_space(self.rank))[0]

            tries = jax.lax.while_loop(
                lambda t: (t < _TRIES) & ~fits(candidate(t)), lambda t: t + 1, jnp.asarray(0, jnp.int32)
            )
            return rows.at[j].set(candidate(tries))

        return jax.lax.fori_loop(0, self.neurons, place, jnp.zeros((self.neurons, self.rank)))

    def gram(self):
        return None

    def plane(self):
        return self.rank

    @model_validator(mode="after")
    def _check(self):
        if self.rank > self.inputs:
            raise ValueError(f"rank: got {self.rank} in inputs = {self.inputs} dimensions; at most {self.inputs}")
        refuse_wide(self.separation, self.sigma)
        covered = (self.neurons - 1) * _cap_share(self.separation, self.rank, self.sigma)
        # While the caps of radius Δ around earlier rows leave 1/20 of the sphere free, 4096 tries fail
        # with probability < 0.95^4096 < 1e-91; beyond that success cannot be promised.
        if covered > 0.95:
            raise ValueError(
                f"separation: got {self.separation:g} rad for {self.neurons} random rows in rank {self.rank}; "
                f"the caps around {self.neurons - 1} rows may cover {covered:.2f} of the sphere, so that no "
                "room is left for the last; lower the separation or the neurons, or raise the rank"
            )
        return self


def _cap_share(angle: float, rank: int, sigma: AbstractActivation) -> float:
    """The share of the unit sphere of R^rank within `angle` of a ray (of a line, for even activations)."""
    even = sigma.symmetry == "line"
    if rank == 1:
        return 1.0 if even else 0.5
    from scipy.special import betainc  # a tenth of the time that the package would take to be imported

    acute = min(angle, math.pi - angle)
    half = 0.5 * betainc(0.5 * (rank - 1), 0.5, math.sin(acute) ** 2)
    share = half if angle <= math.pi / 2 else 1.0 - half
    return float(min(2.0 * share, 1.0) if even else share)
