"""Training against an adversary: the inner maximum, its gradient, what it does to a linear network, what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ensemble as ens
from ensemble.problem.models import DeepLinear
from ensemble.problem.risks import AdversarialRisk, SampleRisk
from ensemble.problem.risks.adversary import dual_norm, worst_changes


def sample(rng, count=30, width=5, outputs=()):
    x, y = rng.normal(size=(count, width)), rng.normal(size=(count, *outputs))
    return SampleRisk(None, jnp.asarray(x), jnp.asarray(y), jnp.zeros(()))


def linear(rng, width=5) -> ens.TwoLayer:
    return ens.TwoLayer(rng.normal(size=3), rng.normal(size=(3, width)), "linear")


@pytest.mark.parametrize("norm", [2, "inf"])
def test_the_inner_maximum_of_a_linear_network_is_the_exact_one(norm, rng):
    """½(|f(x) − y| + ε‖w‖_*)² at every sample, ‖·‖_* the dual norm, and its gradient; one step is enough."""
    held, model, radius = sample(rng), linear(rng), jnp.asarray(0.3)
    risk = AdversarialRisk(held, radius, norm, 1)

    def exact(model):
        residual = jax.vmap(model)(held.x) - held.y
        return 0.5 * jnp.mean((jnp.abs(residual) + radius * dual_norm(model.a @ model.W, norm)) ** 2)

    value, slope = eqx.filter_jit(risk.value_and_gradient)(model)
    best, best_slope = jax.value_and_grad(exact)(model)
    assert float(value) == pytest.approx(float(best), rel=1e-12)
    assert float(risk.value(model)) == pytest.approx(float(best), rel=1e-12)
    np.testing.assert_allclose(slope.W, best_slope.W, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(slope.a, best_slope.a, rtol=1e-9, atol=1e-12)
    # The companion: without the adversary it is far less.
    assert float(held.value(model)) < 0.9 * float(best)


def test_a_kinked_network_is_attacked_as_well_as_a_grid_can(rng):
    """In the plane, against every point of a fine grid of the disc; no change leaves it."""
    model = ens.TwoLayer(rng.normal(size=4), 1.5 * rng.normal(size=(4, 2)), "relu")
    held, radius = sample(rng, width=2), 0.5
    delta = jax.jit(lambda m: worst_changes(m, held.x, held.y, jnp.asarray(radius), 2, 20))(model)
    assert float(jnp.max(jnp.linalg.norm(delta, axis=1))) <= radius * (1 + 1e-12)
    angles, sizes = np.linspace(0, 2 * np.pi, 181), np.linspace(0, radius, 31)
    grid = np.stack([np.outer(sizes, np.cos(angles)), np.outer(sizes, np.sin(angles))], axis=-1).reshape(1, -1, 2)
    of = jax.vmap(jax.vmap(model))
    best = np.max(0.5 * (of(held.x[:, None] + grid) - held.y[:, None]) ** 2, axis=1)
    found = 0.5 * (of((held.x + delta)[:, None])[:, 0] - held.y) ** 2
    # A lower bound, of which little is missing in the mean; the grid misses (angle step)²/2 of a slope's share.
    assert 0.97 * best.mean() < found.mean() < best.mean() * (1 + 1e-3)
    assert found.mean() > 1.2 * float(held.value(model))


def test_parts_of_a_sample_add_up(rng):
    held = sample(rng, count=401, width=40, outputs=(2,))
    model = DeepLinear([jnp.asarray(rng.normal(size=(30, 40))) / 6, jnp.asarray(rng.normal(size=(2, 30))) / 6])
    whole = eqx.filter_jit(AdversarialRisk(held, jnp.asarray(0.1), 2, 2).value)(model)
    moved = eqx.filter_jit(worst_changes)(model, held.x, held.y, jnp.asarray(0.1), 2, 2)
    values = jax.vmap(model)(held.x + moved)
    assert float(whole) == pytest.approx(0.5 * float(jnp.mean(jnp.sum((values - held.y) ** 2, axis=1))), rel=1e-12)


def study(**changes) -> ens.Study:
    fields = {
        "name": "adversary",
        "seeds": 2,
        "records": 0,
        "probes": ["loss", "sensitivity", "train_loss"],
        "store_weights": True,
        "teacher": {"kind": "orthonormal", "activation": "linear", "neurons": 2, "inputs": 5},
        "student": {"neurons": 3, "start": "balanced"},
        "protocol": {"kind": "plain", "step_size": 0.05, "steps": 400},
        "data": {"samples": 30, "noise": 0.2, "adversary": {"radius": 0.3}},
        "axes": {"attack": {"field": "data.adversary.radius", "values": [1e-9, 0.3]}},
    }
    return ens.Study(**fields | changes)


def test_a_study_trains_against_it():
    """A linear network ends at a lower exact risk of it than one trained in peace, and reacts less, seed by seed."""
    ds = ens.run(study())
    assert np.all(ds["sensitivity"].sel(attack=0.3) < 0.95 * ds["sensitivity"].sel(attack=1e-9))
    for seed in range(2):
        held, exact = ens.sample(study(), seed=seed, attack=0.3), {}
        for attack in (0.3, 1e-9):
            one = ds.sel(attack=attack, seed=seed)
            w = one["a"].values @ one["W"].values
            exact[attack] = 0.5 * np.mean((np.abs(held.x @ w - held.y) + 0.3 * np.linalg.norm(w)) ** 2)
        assert float(ds["train_loss"].sel(attack=0.3, seed=seed)) == pytest.approx(exact[0.3], rel=1e-10)
        assert exact[0.3] < 0.99 * exact[1e-9]


STAGES = [{"name": "fit", "step_size": 0.05, "steps": 5}, {"name": "solve", "update": "ridge"}]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {"samples": 30, "adversary": {"radius": 0.0}}}, r"adversary.radius: got 0.0; .* greater than 0"),
        ({"data": {"samples": 30, "adversary": {"radius": 1, "norm": 1}}}, r"adversary.norm: got 1"),
        ({"data": {"adversary": {"radius": 0.1}}}, r"adversary: got a table without samples; it is of a whole sample"),
        ({"data": {"online": True, "adversary": {"radius": 0.1}}}, r"adversary: got a table without samples"),
        (
            {"data": {"samples": 9, "batch": 3, "adversary": {"radius": 0.1}}},
            r"adversary: got a table beside batch = 3",
        ),
        ({"protocol": {"kind": "stages", "stages": STAGES}}, r"got a ridge stage 'solve' with data.adversary"),
    ],
)
def test_what_has_no_adversary_is_refused(changes, said):
    with pytest.raises(ens.StudyError, match=said):
        study(**{"axes": {}} | changes)
