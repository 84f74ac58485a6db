"""Noise floors of online learning by the closed equations, from starts at the teacher and elsewhere."""

import math

import numpy as np
import pytest

import analysis
from tests.test_order_parameters import at_teacher, committee


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_noise_floor_of_erf_with_further_neurons(extra):
    """ε → (η̃σ²/2π)(L + M/√3) for small η̃, L = K − M (Goldt et al. 2019)."""
    M, size, noise = 2, 0.02, 0.1
    start = at_teacher("erf", M, extra)
    study = committee("erf", M + extra, M, 400, size, 40_000_000, start, seeds=1, records=[0])
    loss = analysis.order_parameters(study, [0.0, 200.0, 500.0], noise=noise)["loss"].isel(seed=0).values
    floor = size * noise**2 / (2 * math.pi) * (extra + M / math.sqrt(3))
    # The next order in η̃ is of relative size η̃: 0.009, 0.015 and 0.021 here.
    assert abs(loss[2] / floor - 1.0) < 1.5 * size
    # Noise lets further neurons wander: with two the loss goes on falling, by 4.5e-9 a unit of time (up to t = 1 000).
    assert abs(loss[2] / loss[1] - 1.0) < 1e-5


@pytest.mark.parametrize("K", [1, 2, 3])
def test_noise_floor_of_linear_is_exact(K):
    """ε → ησ²K/(4 − 2ηK), for every η̃ below 2/K."""
    study = committee("linear", K, 1, 400, 0.3, 4_000_000, seeds=1, records=[0])
    loss = analysis.order_parameters(study, [0.0, 200.0], noise=0.2)["loss"].isel(seed=0).values
    np.testing.assert_allclose(loss[1], 0.3 * 0.2**2 * K / (4 - 2 * 0.3 * K), rtol=1e-7)  # the solver's own
