"""Online learning: noise floors by the closed equations and by members, and members at d = 500 beside the equations."""

import math

import numpy as np
import pytest

import analysis
import ensemble as ens
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


def floor_of_members(activation: str) -> tuple[float, float]:
    """(mean, standard error) of the loss of 256 members that stay at two teachers of 50 inputs, η̃ = 0.02."""
    start = {"kind": "given", "a": [1.0, 1.0], "W": np.eye(2, 50).tolist()}
    data = {"online": True, "noise": 0.1}
    study = committee(activation, 2, 2, 50, 0.02, 40_000, start, seeds=256, records=[40_000], data=data)
    loss = ens.run(study)["loss"].values
    return float(loss.mean()), float(loss.std(ddof=1) / math.sqrt(len(loss)))


def test_members_stay_at_the_noise_floor_of_erf():
    """ε = (η̃σ²/2π) M/√3 for small η̃ and many inputs; a fifth less would be told from it."""
    mean, error = floor_of_members("erf")
    floor = 0.02 * 0.1**2 / (2 * math.pi) * 2 / math.sqrt(3)
    assert abs(mean - floor) < 3.0 * error < abs(mean - 0.8 * floor)


def test_members_stay_at_the_noise_floor_of_linear():
    """f − f* = Δ·x, and V = E‖Δ‖² = (1 − 2ηK + η²K²(d + 2)) V + η²K²σ²d where it stays: ε = V/2, for every d."""
    mean, error = floor_of_members("linear")
    rate = 0.02 / 50
    floor = rate * 0.1**2 * 2 * 50 / (4.0 - 2.0 * rate * 2 * 52)
    assert abs(mean - floor) < 3.0 * error < abs(mean - 0.8 * floor)


def test_members_at_500_inputs_follow_the_equations_along_the_whole_curve():
    """studies/online.toml at d = 500: every mean difference within the spread over its seeds, from the start over the
    plateau to the floor; a solution of twice the noise is beyond it."""
    study = ens.Study.from_toml("studies/online.toml")
    fields = {"teacher.inputs": [500], "protocol.step_size": [0.002], "protocol.steps": [100_000]}
    ds = ens.run(study.replace(axes={"d": {"values": [500], "fields": fields}}))
    found = analysis.order_deviation(ds)
    measured = found["measured"].isel(d=0).values
    assert len(measured) > 25 and measured[-1] < 0.1 * measured[0]
    assert float(found["largest"][0]) < 1.0
    assert float(analysis.order_deviation(ds, noise=0.2)["largest"][0]) > 3.0
