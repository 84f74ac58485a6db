"""Attention students: the block by hand, heads up to their symmetries, members on samples, and what a study refuses."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ensemble as ens
import ensemble.engine.kernels.base as kernels
from ensemble.engine.pools import LanePool
from ensemble.probes import Measured, Moment
from ensemble.problem.models import Attention, layer_numbers
from ensemble.problem.penalties import L2
from ensemble.problem.students import NoClosedForm
from tests.helpers import assert_same_members

PROBES = ["train_loss", "mean_head_angle", "head_angle", "head_error", "active_heads"]


def study(**changes: Any) -> ens.Study:
    fields = {
        "name": "attention",
        "seeds": 2,
        "records": 4,
        "store_weights": True,
        "probes": PROBES,
        "teacher": {"kind": "attention", "heads": 2, "tokens": 3, "token_inputs": 3, "sharpness": 2.0},
        "student": {"kind": "attention", "heads": 3, "head_size": 2},
        "data": {"samples": 40, "test_samples": 100},
        "protocol": {
            "kind": "stages",
            "stages": [
                {"name": "values", "layers": [2, 3], "step_size": 0.1, "steps": 10},
                {"name": "all", "step_size": 0.1, "steps": 30, "weight_decay": 0.01},
            ],
        },
    }
    return ens.Study(**(fields | changes))


def drawn(rng, heads: int = 2, units: int = 2, width: int = 3, tokens: int = 4) -> Attention:
    arrays = [rng.normal(size=(heads, units, width)) for _ in range(3)]
    return Attention(*arrays, rng.normal(size=(heads, units)), tokens=tokens)


# -- the network -------------------------------------------------------------------------------------


def test_a_block_by_hand(rng):
    network, x = drawn(rng), rng.normal(size=12)
    X, expected = x.reshape(4, 3), 0.0
    for A, v in zip(np.asarray(network.scores), np.asarray(network.passed), strict=True):
        weights = np.exp(X @ A @ X.T)
        expected += ((weights / weights.sum(axis=1, keepdims=True)) @ X @ v).mean()
    assert float(jax.jit(network.__call__.__func__)(network, jnp.asarray(x))) == pytest.approx(expected, rel=1e-12)
    assert layer_numbers(network) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"x: got shape \(11,\) for 4 tokens; give \(12,\)"):
        network(jnp.zeros(11))


def test_scores_and_what_is_passed_by_hand(rng):
    Q, K, V, o = (
        rng.normal(size=(1, 2, 3)),
        rng.normal(size=(1, 2, 3)),
        rng.normal(size=(1, 2, 3)),
        rng.normal(size=(1, 2)),
    )
    network = Attention(Q, K, V, o, tokens=2)
    np.testing.assert_allclose(network.scores[0], Q[0].T @ K[0] / np.sqrt(2.0), rtol=1e-12)
    np.testing.assert_allclose(network.passed[0], o[0] @ V[0], rtol=1e-12)
    np.testing.assert_array_equal(network.query, Q)
    np.testing.assert_array_equal(network.output, o)


# -- probes ------------------------------------------------------------------------------------------


def measured(student: Attention, teacher: Attention) -> dict[str, np.ndarray]:
    @jax.jit
    def of(student, teacher):
        moves = jax.tree.map(lambda _: jnp.asarray(True), student)
        moment = Moment(student, NoClosedForm(teacher), {}, jnp.zeros(()), jnp.ones(()), moves, jnp.asarray(1e-3))
        at = Measured(moment, L2())
        return {name: ens.PROBES[name](at) for name in (*PROBES[1:], "head_mass", "mean_unit_angle", "farthest_unit")}

    return jax.tree.map(np.asarray, of(student, teacher))


def test_heads_are_known_up_to_the_symmetries_of_the_block(rng):
    """In another order, in other bases of their units, and one split in two: the same function, and all recovered."""
    teacher = drawn(rng)
    G, R = rng.normal(size=(2, 2)) + 2.0 * np.eye(2), rng.normal(size=(2, 2)) + 2.0 * np.eye(2)
    order = [1, 0, 1]
    Q, K = np.asarray(teacher.query)[order], np.asarray(teacher.key)[order]
    V, o = np.asarray(teacher.value)[order], np.asarray(teacher.output)[order]
    share = np.array([0.3, 1.0, 0.7])[:, None]
    student = Attention(G @ Q, np.linalg.inv(G).T @ K, R @ V, (share * o) @ np.linalg.inv(R), tokens=4)
    x = jnp.asarray(rng.normal(size=12))
    assert float(student(x)) == pytest.approx(float(teacher(x)), rel=1e-10)
    found = measured(student, teacher)
    for name in ("mean_head_angle", "head_angle", "head_error"):
        np.testing.assert_allclose(found[name], 0.0, atol=1e-13, err_msg=name)
    assert found["active_heads"] == 3
    np.testing.assert_allclose(found["head_mass"][0] / found["head_mass"][2], 3.0 / 7.0, rtol=1e-12)


def test_angles_of_heads_by_hand():
    """Heads of one unit over tokens of two inputs: one looks elsewhere by 0.3, one passes on elsewhere by 0.5."""
    e = np.eye(2)
    turned = np.array([[np.cos(0.3), np.sin(0.3)]])
    passed = np.array([[-np.sin(0.5), np.cos(0.5)]])
    one = np.ones((2, 1))
    teacher = Attention(e[:, None], e[:, None], e[:, None], one, tokens=2)
    keys, values = np.stack([turned, e[1:]]), np.stack([e[:1], passed])
    student = Attention(e[:, None], keys, values, np.array([[2.0], [1.0]]), tokens=2)
    found = measured(student, teacher)
    np.testing.assert_allclose(found["head_angle"], [0.3, 0.5], rtol=1e-12)
    assert found["farthest_unit"] == found["head_angle"][1] and found["mean_unit_angle"] == found["mean_head_angle"]
    assert found["mean_head_angle"] == pytest.approx((2.0 * 0.3 + 1.0 * 0.5) / 3.0, rel=1e-12)
    # ‖2 e⊗A − e⊗A*‖² with cos(A, A*) = cos 0.3, both of norm 1: 4 + 1 − 4 cos 0.3.
    np.testing.assert_allclose(
        found["head_error"], [np.sqrt(5.0 - 4.0 * np.cos(0.3)), np.sqrt(2.0 - 2.0 * np.cos(0.5))], rtol=1e-12
    )
    other = Attention(e[:, None], keys * np.array([1.0, -1.0])[:, None, None], values, one, tokens=2)
    # Looking the other way is no symmetry: the nearest is now the first head, at a right angle.
    assert measured(other, teacher)["head_angle"][1] == pytest.approx(np.pi / 2, rel=1e-12)
    nothing = Attention(*[np.zeros((2, 1, 2))] * 3, np.zeros((2, 1)), tokens=2)
    found = measured(nothing, teacher)
    assert found["mean_head_angle"] == pytest.approx(np.pi) and found["active_heads"] == 0
    np.testing.assert_allclose(found["head_angle"], np.pi)


# -- members -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    return ens.run(study())


def test_descent_is_that_of_the_mean_square_on_the_sample(trained):
    """Written out in JAX on the member's own data, with the block as products: values and outputs alone, then all."""
    network, _ = ens.initial(study(), 1)
    x, y = ens.sample(study(), 1)

    def by_hand(network, x):
        X = x.reshape(3, 3)
        p = jax.nn.softmax(jnp.einsum("te,hef,sf->hts", X, network.scores, X), axis=-1)
        return jnp.mean(jnp.einsum("hts,sv,hv->t", p, X, network.passed))

    @jax.jit
    def slope(network):
        return jax.grad(lambda f: 0.5 * jnp.mean((jax.vmap(lambda x: by_hand(f, x))(x) - y) ** 2))(network)

    for step in range(40):
        g = jax.tree.leaves(slope(network))
        leaves, structure = jax.tree.flatten(network)
        if step < 10:
            leaves = [w - 0.1 * d if place >= 2 else w for place, (w, d) in enumerate(zip(leaves, g, strict=True))]
        else:
            leaves = [w - 0.1 * (d + 0.01 * w) for w, d in zip(leaves, g, strict=True)]
        network = structure.unflatten(leaves)
    one = trained.sel(seed=1)
    for name in ("query", "key", "value", "output"):
        np.testing.assert_allclose(one[f"{name}_weights"], getattr(network, name), rtol=1e-8, atol=1e-12)


def test_stored_weights_are_networks(trained):
    one, teacher = ens.network(trained.sel(seed=1)), ens.network(trained.sel(seed=1), "teacher")
    assert isinstance(one, Attention) and one.heads == 3 and one.tokens == 3
    np.testing.assert_allclose(
        teacher.scores, 2.0 * np.einsum("hq,hk->hqk", np.eye(3)[:2], np.roll(np.eye(3), 1, 1)[:2])
    )
    np.testing.assert_allclose(teacher.passed, np.roll(np.eye(3), 2, 1)[:2])
    found = measured(one, teacher)
    np.testing.assert_allclose(trained["head_angle"].sel(seed=1), found["head_angle"], rtol=1e-10)
    batch: Any = ens.network(trained)
    assert batch.query.shape == (2, 3, 2, 3) and batch.output.shape == (2, 3, 2)


def test_alone_neighbours_refill_and_budget_change_nothing(trained, monkeypatch):
    assert_same_members(ens.run(study(seeds=1)), trained)
    monkeypatch.setattr(kernels, "_MOST_LANES", 8)
    monkeypatch.setattr(LanePool, "budget", lambda self, *_: 7)
    assert_same_members(trained, ens.run(study(seeds=40)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": None}, "data: is missing; the population risk of an attention student has no closed form"),
        ({"teacher": {"heads": 4}}, "teacher.heads: got 4 of head_size = 1, whose directions are orthonormal"),
        ({"teacher": {"tokens": 1}}, "teacher.tokens: got 1, which looks at nothing but itself"),
        ({"student": {"start": "balanced"}}, "start.kind: got 'balanced'"),
        ({"probes": ["max_angle"]}, "probes: got 'max_angle' for an attention student"),
        (
            {"protocol": {"kind": "stages", "stages": [{"name": "a", "layers": [4], "steps": 3}]}},
            r"layers: got \[4\] in the stage 'a' for an attention student, which has no layer 4: there are 4",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field(changes, message):
    whole = study()
    for name in ("teacher", "student"):
        if name in changes:
            changes = changes | {name: getattr(whole, name).model_dump(mode="json", exclude_none=True) | changes[name]}
    with pytest.raises(ens.StudyError, match=message):
        study(**changes)
