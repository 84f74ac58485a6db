"""arcsin and arccos against 50-digit arithmetic."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from ensemble.numerics.inverse_trig import arccos, arcsin

mp.mp.dps = 50

FUNCTIONS = {"arcsin": (arcsin, mp.asin), "arccos": (arccos, mp.acos)}


def grid(dtype) -> np.ndarray:
    near = np.logspace(np.log10(np.finfo(dtype).eps), -1, 150)
    points = [np.linspace(-1, 1, 801), 1 - near, near - 1, near, -near, 0.5 + near / 10, 0.5 - near / 10]
    return np.unique(np.clip(np.concatenate(points), -1, 1).astype(dtype))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_within_two_ulp(name, dtype):
    ours, exact = FUNCTIONS[name]
    x = grid(dtype)
    values = np.asarray(ours(jnp.asarray(x)))
    assert values.dtype == dtype
    for point, value in zip(x, values, strict=True):
        truth = exact(mp.mpf(float(point)))
        ulp = float(np.spacing(dtype(abs(float(truth))))) or 5e-324
        assert abs(mp.mpf(float(value)) - truth) <= 2 * ulp, point


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivative(name):
    ours, _ = FUNCTIONS[name]
    sign = 1.0 if name == "arcsin" else -1.0
    x = np.linspace(-0.999, 0.999, 201)
    slopes = jax.vmap(jax.grad(ours))(jnp.asarray(x))
    # 1/√(1−x²) with a relative error of a few ulp: the square is formed without cancellation.
    np.testing.assert_allclose(slopes, sign / np.sqrt((1 - x) * (1 + x)), rtol=1e-15)
    np.testing.assert_array_equal(jax.vmap(jax.grad(ours))(jnp.asarray([-1.0, 1.0])), [0.0, 0.0])


def test_exact_at_the_ends():
    assert float(arccos(jnp.asarray(1.0))) == 0.0
    assert float(arccos(jnp.asarray(-1.0))) == np.pi
    assert float(arcsin(jnp.asarray(0.0))) == 0.0
    assert float(arcsin(jnp.asarray(1.0))) == np.pi / 2
