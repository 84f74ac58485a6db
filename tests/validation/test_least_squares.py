"""Least squares on finite samples against the exact formulas (theory.md §10), under and over the number of weights."""

import numpy as np
import pytest

import analysis
import ensemble as ens
from tests.test_learning_curves import NOISE, SEEDS, d, excess, least_squares

SIZES = [2, 3, 4, 5, 14, 20, 32, 64]


@pytest.fixture(scope="module")
def fitted():
    return ens.run(least_squares(axes={"samples": SIZES}))


@pytest.mark.parametrize("n", SIZES)
def test_excess_risk_is_that_of_the_exact_formula(fitted, n):
    found = 2.0 * fitted["loss"].sel(samples=n).values
    error = found.std(ddof=1) / np.sqrt(SEEDS)
    assert abs(found.mean() - excess(n)) < 3 * error, (found.mean(), excess(n), error)


def test_a_peak_is_found_at_the_number_of_weights(fitted):
    found = analysis.double_descent(fitted, "samples")
    assert bool(found["is_double"]) and int(found["peak"]) in (4, 5), "from 5 on the grid passes d = 8"
    assert d == 8


def test_descent_from_zero_is_led_to_the_solution_of_least_norm():
    """Of five samples in ten dimensions: descent on a alone against NumPy's pseudoinverse."""
    protocol = {"kind": "plain", "layers": "output", "step_size": 0.15, "steps": 4000}
    s = least_squares(seeds=3, axes={}, data={"samples": 5, "noise": NOISE}, protocol=protocol, store_weights=True)
    ds = ens.run(s)
    for seed in range(3):
        x, y = map(np.asarray, ens.sample(s, seed))
        np.testing.assert_allclose(ds["a"].sel(seed=seed), np.linalg.pinv(x) @ y, atol=1e-8)
