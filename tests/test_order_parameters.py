"""Closed equations of online learning: moments by sampling, plateaus, noise floors, and SGD itself."""

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import analysis
import ensemble as ens
from analysis.online.fourth_moments import squared_errors
from analysis.online.order_parameters import _clock, _pieces
from analysis.online.overlap_equations import Overlaps, velocity
from ensemble.problem.activations import ACTIVATIONS, Polynomial
from tests.helpers import called


def committee(activation="erf", neurons=2, teacher=2, inputs=400, step_size=1.0, steps=1000, start="xavier", **fields):
    """η̃ = `step_size` is ηd: what the equations know."""
    protocol = {"kind": "plain", "layers": "first", "step_size": step_size / inputs, "steps": steps}
    return ens.Study.model_validate(
        {
            "name": "committee",
            "seeds": 8,
            "records": 8,
            "probes": ["loss"],
            "teacher": {"kind": "orthonormal", "activation": activation, "neurons": teacher, "inputs": inputs},
            "student": {"neurons": neurons, "start": start},
            "protocol": protocol,
        }
        | fields
    )


@pytest.mark.parametrize("name", ["erf", "square", "linear", "h3"])
def test_fourth_moments_against_sampling(name, rng):
    sigma = ACTIVATIONS[name]
    root = 0.6 * rng.normal(size=(3, 3))
    S, c = root @ root.T, np.array([0.7, -1.1, 0.5])
    z = rng.normal(size=(400_000, 3)) @ root.T
    value = np.asarray(sigma(jnp.asarray(z), jnp.asarray(np.abs(z))))
    slope = {
        "erf": lambda z: np.sqrt(2 / np.pi) * np.exp(-z * z / 2),
        "square": lambda z: 2 * z,
        "linear": np.ones_like,
        "h3": lambda z: (3 * z * z - 3) / np.sqrt(6),
    }[name](z[:, :2])
    samples = slope[:, :, None] * slope[:, None, :] * ((value @ c) ** 2)[:, None, None]
    exact = np.asarray(squared_errors(sigma, jnp.asarray(S), jnp.asarray(c), 2))
    # Five standard errors, and the key is fixed.
    np.testing.assert_array_less(np.abs(samples.mean(0) - exact), 5 * samples.std(0) / np.sqrt(len(z)))


def test_two_ways_to_the_moments_of_a_square_agree(rng):
    root = rng.normal(size=(3, 3))
    at = jnp.asarray(root @ root.T), jnp.asarray([0.7, -1.1, 0.5]), 2
    polynomial = squared_errors(Polynomial((0.0, 0.0, 1.0)), *at)
    np.testing.assert_allclose(squared_errors(ACTIVATIONS["square"], *at), polynomial, rtol=1e-12)


def test_velocity_is_the_population_gradient_in_overlaps(rng):
    W, V, a, b = rng.normal(size=(3, 5)), rng.normal(size=(2, 5)), rng.normal(size=3), rng.normal(size=2)
    slope = ens.population_gradient(ens.TwoLayer(a, W, "relu"), ens.TwoLayer(b, V, "relu"))
    state = Overlaps(*map(jnp.asarray, (a, W @ W.T, W @ V.T)))
    numbers = SimpleNamespace(teacher_a=jnp.asarray(b), T=jnp.asarray(V @ V.T), first=1.0, output=1.0)
    moved = velocity(ACTIVATIONS["relu"], state, numbers, 0.1, 0.02, False)
    dW = -(np.asarray(slope.W) + 0.02 * W)
    np.testing.assert_allclose(moved.Q, dW @ W.T + W @ dW.T, atol=1e-13)
    np.testing.assert_allclose(moved.R, dW @ V.T, atol=1e-13)
    np.testing.assert_allclose(moved.a, -(np.asarray(slope.a) + 0.02 * a), atol=1e-13)


@pytest.mark.parametrize("K", [2, 3, 4, 5])
def test_symmetric_plateau_of_erf_by_population_descent(K):
    """ε = (K/π)(π/6 − K arcsin(1/2K)) for K = M orthonormal teachers (Saad & Solla 1995)."""
    teacher = ens.TwoLayer(np.ones(K), np.eye(K), "erf")
    risk = ens.PopulationRisk.of(teacher)

    def step(_, W):
        return W - 0.2 * risk.value_and_gradient(ens.TwoLayer(jnp.ones(K), W, "erf"))[1].W

    # Equal rows stay equal: descent never leaves the plateau.
    W = jax.jit(lambda W: jax.lax.fori_loop(0, 2000, step, W))(jnp.full((K, K), 0.1))
    plateau = K / math.pi * (math.pi / 6 - K * math.asin(1 / (2 * K)))
    loss = float(ens.population_loss(ens.TwoLayer(np.ones(K), W, "erf"), teacher))
    assert abs(loss - plateau) < 1e-9
    assert abs(plateau - {2: 0.0116108, 3: 0.0202966, 4: 0.0283773, 5: 0.0362263}[K]) < 1e-7


def at_teacher(activation, M, extra, inputs=400):
    """A start at the teacher, further neurons near zero."""
    rows = np.zeros((M + extra, inputs))
    rows[:M, :M] = np.eye(M)
    rows[M:, -extra or inputs :] = 0.01 * np.eye(extra)
    return {"kind": "given", "a": [1.0] * (M + extra), "W": rows.tolist()}


@pytest.mark.long
def test_noise_floor_of_erf():
    """ε → (η̃σ²/2π)(L + M/√3) for small η̃ (Goldt et al. 2019); L = K − M is 0 here, and 1 in tests/validation."""
    size, noise = 0.02, 0.1
    study = committee(start=at_teacher("erf", 2, 0), step_size=size, steps=40_000_000, records=[0])
    found = analysis.order_parameters(study, [0.0, 10.0, 50.0, 100.0, 200.0, 400.0], noise=noise)
    loss = found["loss"].isel(seed=0).values
    floor = size * noise**2 / (2 * math.pi) * 2 / math.sqrt(3)
    # The next order in η̃ is of relative size η̃, and it has settled.
    assert abs(loss[5] / floor - 1.0) < size and abs(loss[5] / loss[4] - 1.0) < 1e-6
    assert bool(found["second_order"])


START = {"a": [0.8, 1.2], "pattern": [[0.3, -0.2, 0.9], [-0.1, 0.4, 0.8]]}
STAGE = {"name": "online", "step_size": 0.002, "steps": 5000, "weight_decay": 0.05}
STAGE |= {"weight_decay_schedule": {"kind": "halving", "every": 2000}}


def given(inputs):
    """Two rows with known overlaps, and the rest of their length spread over the other inputs."""
    W = np.zeros((2, inputs))
    W[:, :2] = np.array(START["pattern"])[:, :2]
    W[0, 2::2] = W[1, 3::2] = 1.0
    for row, whole in zip(W, START["pattern"], strict=True):
        row[2:] *= whole[2] / np.linalg.norm(row[2:])
    return {"kind": "given", "a": START["a"], "W": W.tolist()}


def sgd(study, seeds, noise, batch, rng):
    """Online SGD of erf committees, both layers, written out: losses over (seed, record)."""
    a0, W0 = (np.asarray(study.student.start.a), np.asarray(study.student.start.W))
    d, (M, _) = W0.shape[1], study.teacher.shape()
    a, W, erf = np.tile(a0, (seeds, 1)), np.tile(W0, (seeds, 1, 1)), scipy.special.erf
    losses = []
    for t in range(study.record_steps[-1] + 1):
        if t in study.record_steps:
            rows = [ens.population_loss(ens.TwoLayer(x, w, "erf"), ens.TwoLayer(np.ones(M), np.eye(M, d), "erf"))
                    for x, w in zip(a, W, strict=True)]  # fmt: skip
            losses.append(np.array(rows))
        decay = STAGE["weight_decay"] * 0.5 ** (t // 2000)
        x = rng.normal(size=(seeds, batch, d))
        z = np.einsum("skd,sbd->sbk", W, x)
        value = erf(z / np.sqrt(2))
        label = erf(x[..., :M] / np.sqrt(2)).sum(-1) + noise * rng.normal(size=(seeds, batch))
        delta = (value * a[:, None]).sum(-1) - label
        slope = np.sqrt(2 / np.pi) * np.exp(-z * z / 2) * delta[..., None] * a[:, None]
        da, dW = (value * delta[..., None]).mean(1), np.einsum("sbk,sbd->skd", slope, x) / batch
        a, W = a - STAGE["step_size"] * (da + decay * a), W - STAGE["step_size"] * (dW + decay * W)
    return np.stack(losses, axis=1)


def test_online_sgd_follows_the_equations_within_its_spread(rng):
    """Both layers, label noise, weight decay with a schedule, batches of two: d = 500, eight runs from one start."""
    fields = {"protocol": {"kind": "stages", "stages": [STAGE]}, "records": [0, 500, 1500, 2500, 3500, 5000]}
    study = committee(inputs=500, start=given(500), **fields)
    measured = sgd(study, 8, 0.3, 2, rng)
    solved = analysis.order_parameters(study, noise=0.3, batch=2)["loss"].isel(seed=0).values
    spread = measured.std(0, ddof=1)
    np.testing.assert_allclose(measured[:, 0], solved[0], rtol=1e-12)
    assert np.all(np.abs(measured.mean(0) - solved)[1:] < spread[1:])
    # Companion: batches of one are beyond its spread.
    other = analysis.order_parameters(study, noise=0.3, batch=1)["loss"].isel(seed=0).values
    assert np.any(np.abs(measured.mean(0) - other)[1:] > 3 * spread[1:])


def test_an_online_ensemble_follows_the_equations():
    """The engine's online members at d = 60, each against the solution from its own start."""
    study = committee(inputs=60, steps=600, records=[0, 20, 60, 150, 300, 600], data={"online": True, "noise": 0.1})
    ds = ens.run(study)
    found = analysis.order_deviation(ds)
    assert bool(found["second_order"]) and np.isnan(found["z"][0])
    # Four standard errors at five records, and the keys are fixed.
    assert np.all(np.abs(found["z"][1:]) < 4.0)
    np.testing.assert_allclose(found["measured"][0], found["solution"][0], rtol=1e-12)
    assert 0.01 < float(found["typical"]) < 0.5
    # Companion: the equations of batches of four are not those of these members.
    other = analysis.order_deviation(ds, batch=4)
    assert float(np.abs(other["z"][1:]).max()) > 4.0
    figure = analysis.online_picture(ds, width="column")
    assert "d → ∞" in figure.axes[0].get_title()
    with pytest.raises(ValueError, match="seed: got a cell with fewer than two members that are finished"):
        analysis.order_deviation(ds.isel(seed=[0]))
    # A member that diverged does not count, however large its loss.
    lost = ds.copy(deep=True)
    lost["status"][0], lost["loss_history"][0] = ens.STATUS["diverged"], 1e120
    left = analysis.order_deviation(lost)
    assert int(left["seeds"]) == ds.sizes["seed"] - 1
    np.testing.assert_array_equal(left["mean"], analysis.order_deviation(ds.isel(seed=slice(1, None)))["mean"])


def test_the_spread_of_linear_members_falls_as_the_root_of_the_dimension(tmp_path):
    axes = {
        "d": {
            "values": [20, 80, 320],
            "fields": {
                "teacher.inputs": [20, 80, 320],
                "protocol.step_size": [1 / 40, 1 / 160, 1 / 640],
                "protocol.steps": [40, 160, 640],
            },
        }
    }
    ds = ens.run(committee("linear", 1, 1, 20, records=12, seeds=24, axes=axes, data={"online": True}))
    found = analysis.deviation_exponent(ds, "d")
    low, high = float(found["exponent_low"]), float(found["exponent_high"])
    assert low < -0.5 < high and low < float(found["exponent"]) < high < -0.3
    np.testing.assert_allclose(found["typical"], analysis.order_deviation(ds)["typical"], rtol=1e-12)
    assert np.all((found["typical_low"] < found["typical"]) & (found["typical"] < found["typical_high"]))
    with pytest.raises(ValueError, match=r"along: got 'd' with the values \[20\]; an exponent needs two"):
        analysis.deviation_exponent(ds.isel(d=[0]), "d")
    with pytest.raises(ValueError, match="along: got 'width', which is no axis"):
        analysis.deviation_exponent(ds, "width")
    with pytest.raises(ValueError, match=r"level: got 1\.5"):
        analysis.deviation_exponent(ds, "d", level=1.5)
    ds.to_netcdf(tmp_path / "online.nc", encoding={"stage": {"dtype": "S1"}})
    said = called("analysis", "order-parameters", tmp_path / "online.nc").stdout
    power = f"∝ d^{float(found['exponent']):.2f} [{low:.2f}, {high:.2f}]"
    assert said.splitlines()[-1] == f"typical spread over the loss {power}" and "difference [95%]" in said
    of_one = called("analysis", "order-parameters", tmp_path / "online.nc", "--at", "d=20").stdout
    assert of_one.splitlines()[-1] == "with the term of order η"


def test_halvings_are_followed():
    """A stage with halvings is its pieces one by one."""
    halving = {"kind": "halving", "every": 300}
    stage = {"name": "one", "step_size": 0.05, "steps": 600, "weight_decay": 0.1}
    one = stage | {"step_size_schedule": halving, "weight_decay_schedule": halving}
    two = [stage | {"steps": 300}, stage | {"name": "two", "steps": 300, "step_size": 0.025, "weight_decay": 0.05}]
    fields = {"records": [0, 100, 200, 300, 450, 600]}
    both = [
        analysis.order_parameters(committee(protocol={"kind": "stages", "stages": stages}, **fields), noise=0.1)
        for stages in ([one], two)
    ]
    np.testing.assert_allclose(both[0]["loss"], both[1]["loss"], rtol=1e-9)
    np.testing.assert_allclose(both[0]["time"], [0.0, 5.0, 10.0, 15.0, 18.75, 22.5])


def test_time_of_a_schedule():
    linear = {"kind": "optax", "name": "linear_schedule"}
    linear["arguments"] = {"init_value": 1.0, "end_value": 0.0, "transition_steps": 600}
    stage = {"name": "falling", "step_size": 0.05, "steps": 600, "step_size_schedule": linear}
    (point,) = committee(protocol={"kind": "stages", "stages": [stage]}).points
    steps, times = _clock(_pieces(point.cell))
    # ∫ η₀(1 − s/600) ds
    np.testing.assert_allclose(np.interp([300.0, 600.0], steps, times), [0.05 * 225, 0.05 * 300], rtol=1e-9)


@pytest.mark.parametrize(
    ("changes", "given", "message"),
    [
        ({}, {"times": [0.0, 1e9]}, r"times: got 1e\+09, beyond the protocol's Σ step size = 2.5"),
        ({}, {"times": [1.0, 0.0]}, "times: got .*; give increasing numbers"),
        ({"student": {"neurons": 2, "linearised": True}}, {}, "student: got one that is linearised"),
        ({"data": {"samples": 50}}, {}, "data.samples: got 50; the equations are those of fresh samples"),
        ({"data": {"online": True, "inputs": "rademacher"}}, {}, "data.inputs: got 'rademacher'"),
        ({}, {"noise": -1.0}, "noise: got -1.0; give a standard deviation"),
        ({}, {"batch": 0}, "batch: got 0; give a whole number"),
        ({"protocol": {"kind": "plain", "steps": 9, "grad_norm": 1e-3}}, {}, "a rule: got one in the stage"),
        ({"protocol": {"kind": "plain", "steps": 9, "update": "adam"}}, {}, "update: got 'adam' in the stage"),
        ({"protocol": {"kind": "fixed_decay", "steps": 9, "penalty": "l1"}}, {}, "penalty: got 'l1' in the stage"),
    ],
    ids=str,
)
def test_what_has_no_equations_is_refused(changes, given, message):
    with pytest.raises(ValueError, match=message):
        analysis.order_parameters(committee(**changes), **given)
