"""Maxima whose derivatives do not hang on how a program is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ensemble.numerics import largest, positive_part
from tests.helpers import compiled_both_ways


def test_a_place_alone_is_chosen_among_equals():
    values = jnp.asarray([[1.0, 3.0, 3.0], [-jnp.inf, -2.0, -5.0], [0.0, jnp.nan, 1.0]])
    np.testing.assert_array_equal(largest(values), [3.0, -2.0, np.nan])
    np.testing.assert_array_equal(
        jax.grad(lambda v: jnp.sum(largest(v)[:2]))(values), [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_positive_part_by_hand(dtype):
    x = jnp.asarray([-2.0, -0.0, 0.0, 3.0], dtype)
    for value, slope in compiled_both_ways(jax.vmap(jax.value_and_grad(positive_part)), x):
        np.testing.assert_array_equal(value, [0.0, 0.0, 0.0, 3.0])
        np.testing.assert_array_equal(slope, [0.0, 0.5, 0.5, 1.0])
        assert value.dtype == slope.dtype == dtype
    np.testing.assert_array_equal(jax.vmap(jax.grad(jax.grad(positive_part)))(x), 0.0)
