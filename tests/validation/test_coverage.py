"""Coverage of the intervals that need many repetitions: 93–97% of 2 000 simulated datasets with a known truth.

Shares, medians under censoring and restricted means are vectorised and covered so in the fast tests already.
"""

import numpy as np
import pytest

from analysis.boundary import fit_columns
from analysis.scaling import exponents

REPETITIONS = 2000
LEVELS = np.linspace(0.0, 1.0, 8)


@pytest.mark.parametrize("seeds", [20, 50])
@pytest.mark.parametrize("common", [False, True])
def test_boundary(seeds, common):
    """A share that rises over two or three cells; seeds independent, or one uniform number a seed for all cells."""
    generator = np.random.default_rng(seeds + common)
    probability = 1 / (1 + np.exp(-8 * (LEVELS - 0.47)))
    covered = 0
    for _ in range(REPETITIONS):
        shape = (1, 1, seeds) if common else (1, len(LEVELS), seeds)
        inside = generator.random(shape) < probability[None, :, None]
        fit = fit_columns(LEVELS, inside, np.ones_like(inside), resamples=400)
        covered += fit["low"][0] <= 0.47 <= fit["high"][0]
    print(f"boundary, {seeds} seeds, {'common' if common else 'independent'}: {covered / REPETITIONS:.1%}")
    assert 0.93 <= covered / REPETITIONS <= 0.97


@pytest.mark.parametrize("seeds", [12, 20, 40])
def test_exponents(seeds):
    generator = np.random.default_rng(seeds)
    covered = 0
    for _ in range(REPETITIONS):
        x = generator.uniform(-10, 0, (seeds, 15))
        own, tilt, noise = (generator.standard_normal(size) for size in ((seeds, 1), (seeds, 1), (seeds, 15)))
        y = 1.2 * x + 0.5 * own + 0.05 * tilt * x + 0.3 * noise
        _, low, high = exponents(y, [x], np.ones(x.shape, bool), resamples=400)[:, 0]
        covered += low <= 1.2 <= high
    print(f"exponent, {seeds} seeds: {covered / REPETITIONS:.1%}")
    assert 0.93 <= covered / REPETITIONS <= 0.97
