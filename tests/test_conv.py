"""Convolutional students: the exact risk of shared filters against samples, their probes, and what a study refuses."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ensemble as ens
import ensemble.engine.kernels.base as kernels
from ensemble.engine.pools import LanePool
from ensemble.probes import Measured, Moment
from ensemble.problem.activations import ACTIVATIONS
from ensemble.problem.inputs import Anisotropic, Sphere
from ensemble.problem.models import Conv, layer_numbers
from ensemble.problem.penalties import L2
from ensemble.problem.risks import SharedRisk, converted
from ensemble.problem.students import NoClosedForm
from tests.helpers import assert_same_members, compiled_both_ways

PROBES = ["loss", "max_angle", "recovery_error", "total_mass"]


def study(**changes: Any) -> ens.Study:
    filters = {"kind": "orthonormal", "activation": "abs_centred", "neurons": 2, "inputs": 3}
    fields = {
        "name": "conv",
        "seeds": 2,
        "records": 4,
        "store_weights": True,
        "probes": PROBES,
        "teacher": {"kind": "conv", "filters": filters, "patches": 3, "stride": 2},
        "student": {"kind": "conv", "width": 4},
        "protocol": {
            "kind": "stages",
            "stages": [
                {"name": "filters", "layers": "first", "step_size": 0.1, "steps": 10},
                {"name": "all", "step_size": 0.1, "steps": 30, "weight_decay": 0.01},
            ],
        },
    }
    return ens.Study(**(fields | changes))


def pair(rng, sigma: str, stride: int) -> tuple[Conv, Conv]:
    """A student of four filters of three coordinates, two of them equal, and a teacher of two; on three patches."""
    W, activation = rng.normal(size=(4, 3)), ACTIVATIONS[sigma]
    W[3] = W[2]
    student = Conv(rng.normal(size=4), W, activation, patches=3, stride=stride)
    return student, Conv(rng.normal(size=2), rng.normal(size=(2, 3)), activation, patches=3, stride=stride)


# -- the network and its risk ------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_a_convolution_by_hand(pooling, rng):
    a, W, x = rng.normal(size=4), rng.normal(size=(4, 3)), rng.normal(size=7)
    network = Conv(a, W, ACTIVATIONS["relu"], patches=3, stride=2, pooling=pooling)
    values = np.maximum(np.stack([W @ x[p : p + 3] for p in (0, 2, 4)], axis=1), 0.0)
    pooled = values.mean(axis=1) if pooling == "mean" else values.max(axis=1)
    assert float(network(jnp.asarray(x))) == pytest.approx(float(a @ pooled), rel=1e-12)
    np.testing.assert_allclose(np.maximum(network.layers[0](jnp.asarray(x)[None]), 0.0), values, rtol=1e-12)
    assert network.inputs == 7 and layer_numbers(network) == [0, 1]
    with pytest.raises(ValueError, match=r"x: got shape \(8,\) for 3 patches; give \(7,\)"):
        network(jnp.zeros(8))
    if pooling == "max":
        with pytest.raises(ValueError, match="pooling: got 'max'; only a mean of neurons is a sum of them"):
            _ = network.spread
    else:
        assert float(network.spread(jnp.asarray(x))) == pytest.approx(float(network(jnp.asarray(x))), rel=1e-12)


@pytest.mark.parametrize(("sigma", "stride"), [("relu", 3), ("abs_centred", 2), ("erf", 1)])
def test_the_exact_risk_is_that_of_many_samples(sigma, stride, rng):
    """½ mean (f − f*)² over 50,000 inputs, within four standard errors of it, which a fifth more would not be."""
    student, teacher = pair(rng, sigma, stride)
    risk = SharedRisk.of(teacher)
    x = jnp.asarray(rng.normal(size=(50_000, student.inputs)))
    # The spread networks, which are the convolutions by the test above: products in place of 50,000 convolutions.
    terms = 0.5 * np.asarray(student.spread(x) - teacher.spread(x)) ** 2
    value = float(risk.value(student))
    assert abs(terms.mean() - value) < 4.0 * terms.std() / np.sqrt(len(terms))
    assert abs(terms.mean() - 1.2 * value) > 4.0 * terms.std() / np.sqrt(len(terms))


@pytest.mark.parametrize(("sigma", "mean"), [("abs_centred", 0.0), ("relu", (2.0 * np.pi) ** -0.5)])
def test_patches_side_by_side_are_independent(sigma, mean, rng):
    """L = L_patch/P + ½(1 − 1/P)(difference of means)², where E σ(wᵀx) = mean · ‖w‖."""
    student, teacher = pair(rng, sigma, 3)
    one, other = student.on_patch, teacher.on_patch
    means = [mean * float(n.a @ np.linalg.norm(n.W, axis=1)) for n in (one, other)]
    expected = float(ens.population_loss(one, other)) / 3.0 + 0.5 * (2.0 / 3.0) * (means[0] - means[1]) ** 2
    assert float(SharedRisk.of(teacher).value(student)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("law", [Sphere(), Anisotropic(power=1.0)], ids=lambda law: law.kind)
def test_other_inputs_are_those_of_the_spread_network(law, rng):
    student, teacher = pair(rng, "abs_centred", 2)
    risk = converted(SharedRisk.of(teacher), lambda plain: law.population(plain, student.inputs))
    x = jax.vmap(lambda key: law.draw(key, student.inputs))(jax.random.split(jax.random.key(3), 50_000))
    terms = 0.5 * np.asarray(student.spread(x) - teacher.spread(x)) ** 2
    assert abs(terms.mean() - float(risk.value(student))) < 4.0 * terms.std() / np.sqrt(len(terms))
    assert abs(terms.mean() - float(SharedRisk.of(teacher).value(student))) > 4.0 * terms.std() / np.sqrt(len(terms))


def test_units_of_two_layers_and_of_filters_by_hand():
    """Rows along e_1, and turned by 0.4 from e_2 under twice the mass; a third one without weight counts nowhere."""
    rows = np.array([[3.0, 0.0], [-np.sin(0.4), np.cos(0.4)], [0.0, 1.0]])
    a, teacher = np.array([1.0, 6.0, 1e-6]), np.eye(2)
    relu, none = ACTIVATIONS["relu"], jnp.zeros(())
    for student, planted in (
        (ens.TwoLayer(a, rows, relu), ens.TwoLayer(np.ones(2), teacher, relu)),
        (Conv(a, rows, relu, patches=2, stride=2), Conv(np.ones(2), teacher, relu, patches=2, stride=2)),
    ):
        moves = jax.tree.map(lambda _: jnp.asarray(True), student)
        at = Measured(Moment(student, NoClosedForm(planted), {}, none, none, moves, none), L2())
        assert float(ens.PROBES["mean_unit_angle"](at)) == pytest.approx(0.8 / 3.0, rel=1e-5)
        assert float(ens.PROBES["farthest_unit"](at)) == pytest.approx(0.4, rel=1e-12)


# -- members -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    return ens.run(study())


def test_descent_is_that_of_the_closed_form(trained):
    """Written out in JAX: the filters alone, then all with decay; angles are those of filters to the teacher's."""
    network, teacher = ens.initial(study(), 1)
    slope = jax.jit(jax.grad(lambda model: ens.population_loss(model.spread, teacher.spread)))
    for step in range(40):
        g = slope(network)
        if step < 10:
            network = network.with_filters(ens.TwoLayer(network.a, network.W - 0.1 * g.W, network.activation))
        else:
            network = jax.tree.map(lambda w, d: w - 0.1 * (d + 0.01 * w), network, g)
    one = trained.sel(seed=1)
    np.testing.assert_allclose(one["filters"], network.W, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(one["read_out"], network.a, rtol=1e-9, atol=1e-12)
    expected = float(ens.population_loss(network.spread, teacher.spread))
    assert float(one["loss"]) == pytest.approx(expected, rel=1e-9)
    W = np.asarray(network.W)
    cosine = np.abs(W[:, :2]) / np.linalg.norm(W, axis=1, keepdims=True)  # the teacher's filters are e_1 and e_2
    assert float(one["max_angle"]) == pytest.approx(float(np.arccos(cosine.max(axis=1)).max()), rel=1e-9)
    assert float(one["total_mass"]) == pytest.approx(float(np.abs(network.a) @ np.linalg.norm(W, axis=1)), rel=1e-9)


def test_stored_weights_are_networks(trained):
    one, teacher = ens.network(trained.sel(seed=1)), ens.network(trained.sel(seed=1), "teacher")
    assert isinstance(one, Conv) and one.stride == 2 and one.patches == 3
    assert float(SharedRisk.of(teacher).value(one)) == pytest.approx(float(trained["loss"].sel(seed=1)), rel=1e-9)
    batch: Any = ens.network(trained)
    assert batch.W.shape == (2, 4, 3) and batch.a.shape == (2, 4)
    np.testing.assert_array_equal(teacher.W, np.eye(2, 3))


def test_alone_neighbours_refill_and_budget_change_nothing(trained, monkeypatch):
    assert_same_members(ens.run(study(seeds=1)), trained)
    monkeypatch.setattr(kernels, "_MOST_LANES", 8)
    monkeypatch.setattr(LanePool, "budget", lambda self, *_: 7)
    assert_same_members(trained, ens.run(study(seeds=40)))


def test_max_pooling_is_trained_on_samples_and_scored_on_others():
    """A step by hand on the member's own sample; bits do not depend on the neighbours."""
    teacher = study().teacher.model_copy(update={"pooling": "max"})
    fields = {"teacher": teacher, "data": {"samples": 30, "test_samples": 100}, "probes": ["loss", "max_angle"]}
    fields |= {"protocol": {"kind": "plain", "step_size": 0.1, "steps": 1}, "records": [0]}
    ds = ens.run(study(**fields))
    network, _ = ens.initial(study(**fields), 1)
    assert network.pooling == "max"
    x, y = ens.sample(study(**fields), 1)
    g = jax.jit(lambda f: jax.grad(lambda f: 0.5 * jnp.mean((jax.vmap(f)(x) - y) ** 2))(f))(network)
    np.testing.assert_allclose(ds["filters"].sel(seed=1), network.W - 0.1 * g.W, rtol=1e-9, atol=1e-12)
    assert np.all(ds["loss_error"] > 0.0)
    assert_same_members(ens.run(study(**fields, seeds=1)), ds)


@pytest.mark.parametrize("stride", [1, 2])
def test_max_pooling_has_its_gradient_however_it_is_compiled(stride, rng):
    """|x| − c‖w‖ in one rounding where a place is compared with the largest, and in two where that was found."""
    a, W = rng.normal(size=(8, 4)), rng.normal(size=(8, 4, 8))
    x, y = rng.normal(size=(8, 30, 8 + stride)), rng.normal(size=(8, 30))

    def loss(a, W, x, y):
        network = Conv(a, W, ACTIVATIONS["abs_centred"], patches=2, stride=stride, pooling="max")
        return 0.5 * jnp.mean((jax.vmap(network)(x) - y) ** 2)

    centre, norms = np.sqrt(2.0 / np.pi), np.linalg.norm(W, axis=-1, keepdims=True)
    patches = np.stack([x[..., :8], x[..., stride:]], axis=2)
    heights = np.einsum("bkq,bnpq->bnkp", W, patches)
    place = np.argmax(np.abs(heights), axis=-1)[..., None]
    sign = np.sign(np.take_along_axis(heights, place, -1))
    seen = np.take_along_axis(patches[:, :, None], place[..., None], 3)[:, :, :, 0]
    values = np.max(np.abs(heights), axis=-1) - centre * norms[:, None, :, 0]
    missed = np.einsum("bk,bnk->bn", a, values) - y
    slopes = sign * seen - (centre * W / norms)[:, None]
    expected = np.einsum("bn,bk,bnkq->bkq", missed, a, slopes) / 30
    for found in compiled_both_ways(
        lambda *members: jax.lax.map(lambda one: jax.grad(loss, 1)(*one), members, batch_size=4), a, W, x, y
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)


def test_filters_are_found_up_to_what_decay_takes():
    """Overlapping patches of filters e_1 and e_2 do not see each other's, and a filter's mass is that of two layers
    with P times the decay: 1 − Pλ/κ(1), κ(1) = 1 − 2/π (theory.md §8); the angle is 0.
    """
    stages = [{"name": "filters", "step_size": 0.4, "steps": 600, "weight_decay": 0.01}]
    stages += [{"name": "all", "step_size": 0.4, "steps": 600, "weight_decay": 0.002}]
    ds = ens.run(study(protocol={"kind": "stages", "stages": stages}, seeds=6))
    best = ds.isel(seed=int(ds["recovery_error"].max("teacher_neuron").argmin("seed")))  # both filters have a neuron
    np.testing.assert_allclose(best["recovery_error"], 3 * 0.002 / (1.0 - 2.0 / np.pi), rtol=1e-3)
    assert float(best["max_angle"]) < 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": {"stride": 4}}, "teacher.stride: got 4 for patches of 3 inputs"),
        ({"teacher": {"pooling": "max"}}, "data: is missing; the population risk of a conv student under max pooling"),
        ({"teacher": {"kind": "orthonormal"}}, "teacher.kind: got 'orthonormal', which a conv student cannot learn"),
        (
            {"student": {"start": {"kind": "given", "a": [1.0] * 4, "W": [[1.0]] * 4}}},
            "W: got rows of 1 inputs, but those of teacher.filters have",
        ),
        ({"student": {"start": "symmetric", "width": 3}}, "neurons: got a width of 3"),
        ({"protocol": {"kind": "zhou_ge"}}, "got a ridge stage for a student that is no two_layer"),
        ({"probes": ["gap"]}, "probes: got 'gap' for a conv student"),
        ({"coordinates": "reduced"}, "coordinates: got 'reduced' for a conv student"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field(changes, message):
    whole = study()
    for name in ("teacher", "student"):
        if name in changes:
            own = {"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 4}
            plain = changes[name].get("kind") == "orthonormal"
            known = own if plain else getattr(whole, name).model_dump(mode="json", exclude_none=True)
            changes = changes | {name: known | changes[name]}
    with pytest.raises(ens.StudyError, match=message):
        study(**changes)
