"""Keys of random draws: functions of two seeds and a purpose, never of a member's place."""

from typing import NamedTuple

import jax
from jaxtyping import Array, PRNGKeyArray

PURPOSES = ("teacher", "start", "data")
"""What a member draws for; the order is part of every dataset's identity."""


class Keys(NamedTuple):
    """A member's keys, one a purpose."""

    teacher: PRNGKeyArray
    start: PRNGKeyArray
    data: PRNGKeyArray


def fixed_key(seed: int | Array) -> PRNGKeyArray:
    """A key of the project's own generator, whichever one the user's configuration makes JAX's default."""
    return jax.random.key(seed, impl="threefry2x32")


def member_key(root_seed: int | Array, seed: int | Array, purpose: str) -> PRNGKeyArray:
    """The key of one purpose of one member: a function of the two seeds and of the purpose alone."""
    return jax.random.fold_in(jax.random.fold_in(fixed_key(root_seed), seed), PURPOSES.index(purpose))


def member_keys(root_seed: int | Array, seed: int | Array) -> Keys:
    """All keys of one member."""
    return Keys(*(member_key(root_seed, seed, purpose) for purpose in PURPOSES))
