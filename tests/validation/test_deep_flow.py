"""Gradient flow of deep linear networks at every depth against the exact mode curves, and its conservation law."""

import numpy as np
import pytest

import analysis
import ensemble as ens
from tests.test_deep_linear import flowing


@pytest.mark.parametrize("depth", [2, 3, 4, 5, 6])
def test_flow_is_the_exact_curve_at_every_depth(depth):
    ds = ens.run(flowing(depth=depth))
    far = np.abs(ds["mode_strength_history"] - analysis.mode_curves(ds)["exact"])
    assert float(far.max()) < 1e-8
    assert np.all(np.abs(ds["mode_strength"] - [3.0, 2.0, 1.0]) < 1e-5), "all modes were learned"
