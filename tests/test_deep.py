"""Deep students on samples: the network by hand, what layers are measured by, and what a study refuses."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import analysis
import ensemble as ens
import ensemble.engine.kernels.base as kernels
import ensemble.engine.kernels.xla as xla
from analysis.report.measures import measures
from analysis.selection import select
from ensemble.engine.pools import LanePool
from ensemble.numerics.keys import fixed_key
from ensemble.probes import Measured, Moment, prepared
from ensemble.probes.representations import inputs, similarity
from ensemble.problem.activations import ACTIVATIONS
from ensemble.problem.models import Deep, layer_numbers
from ensemble.problem.penalties import L2
from ensemble.problem.starts import NearLayers
from ensemble.problem.teachers import DeepTeacher
from tests.helpers import assert_same_members

RELU = ACTIVATIONS["relu"]
PROBES = ["loss", "first_layer_angle", "teacher_angle", "layer_norm"]
TWO_LAYERS = {"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 3}
DEEP_TEACHER = {"kind": "deep", "inputs": 3, "width": 4, "outputs": 2, "residual": "1/sqrt(depth)", "biases": 0.5}
STAGES = [
    {"name": "first", "layers": "first", "step_size": 0.05, "steps": 10},
    {"name": "all", "step_size": 0.05, "steps": 30, "weight_decay": 0.01},
]


def study(**changes: Any) -> ens.Study:
    fields = {
        "name": "deep",
        "seeds": 2,
        "records": 4,
        "store_weights": True,
        "probes": PROBES,
        "teacher": TWO_LAYERS,
        "student": {"kind": "deep", "depth": 3, "width": 4, "bias": True, "residual": "1/sqrt(depth)"},
        "data": {"samples": 40, "test_samples": 100},
        "protocol": {"kind": "stages", "stages": STAGES},
    }
    return ens.Study(**(fields | changes))


# -- the network -------------------------------------------------------------------------------------


@pytest.fixture
def weights(rng) -> list[np.ndarray]:
    return [rng.normal(size=shape) for shape in ((4, 3), (4, 4), (4, 4), (1, 4))]


@pytest.mark.parametrize("residual", ["none", "1", "1/sqrt(depth)", "1/depth"])
@pytest.mark.parametrize("norm", [False, True])
def test_a_deep_network_by_hand(residual, norm, weights, rng):
    biases, x = [rng.normal(size=len(W)) for W in weights], rng.normal(size=3)
    network = Deep(weights, RELU, biases, residual, norm)
    scale = {"none": 0.0, "1": 1.0, "1/sqrt(depth)": 0.5, "1/depth": 0.25}[residual]
    h, hidden = x, []
    for place, (W, b) in enumerate(zip(weights[:-1], biases[:-1], strict=True)):
        z = W @ h + b
        if norm:
            z = (z - z.mean()) / np.sqrt(z.var() + 1e-5)
        y = np.maximum(z, 0.0)
        h = h + scale * y if residual != "none" and place > 0 else y
        hidden.append(h)
    np.testing.assert_allclose(network(jnp.asarray(x)), (weights[-1] @ h + biases[-1])[0], rtol=1e-12)
    for found, expected in zip(network.hidden(jnp.asarray(x)), hidden, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def test_a_network_of_depth_two_is_a_two_layer_one(rng):
    a, W, x = rng.normal(size=4), rng.normal(size=(4, 3)), jnp.asarray(rng.normal(size=3))
    np.testing.assert_allclose(Deep([W, a[None]], RELU)(x), ens.TwoLayer(a, W, "relu")(x), rtol=1e-13)


def test_arrays_of_all_layers_are_filled_up_with_zeros(weights):
    network = Deep(weights, RELU, [np.full(len(W), place + 1.0) for place, W in enumerate(weights)])
    assert network.stacked.shape == (4, 4, 4) and network.stacked_biases.shape == (4, 4)
    np.testing.assert_array_equal(network.stacked[0], np.pad(weights[0], ((0, 0), (0, 1))))
    np.testing.assert_array_equal(network.stacked_biases[3], [4.0, 0.0, 0.0, 0.0])
    assert not np.any(Deep(weights, RELU).stacked_biases)
    assert layer_numbers(network) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert layer_numbers(ens.TwoLayer([1.0], [[1.0]])) == [1, 0]


# -- probes ------------------------------------------------------------------------------------------


def measured(network: Deep, teacher: ens.TwoLayer, *names: str, start: Deep | None = None) -> dict[str, np.ndarray]:
    risk = ens.PopulationRisk.of(teacher)
    aids = prepared([ens.PROBES[name] for name in names], risk, network if start is None else start)
    moves = jax.tree.map(lambda _: jnp.asarray(True), network)
    at = Measured(Moment(network, risk, aids, jnp.zeros(()), jnp.ones(()), moves, jnp.asarray(1e-3)), L2())
    return {name: np.asarray(ens.PROBES[name](at)) for name in names}


def test_the_first_layer_beside_the_teacher_by_hand():
    """Rows along e_1 and between both teachers, and a third one of no weight, which counts nowhere."""
    teacher = ens.TwoLayer([1.0, 1.0], np.eye(3)[:2], "relu")
    first = np.array([[2.0, 0.0, 0.0], [-1.0, -1.0, 0.0], [0.0, 0.0, 5.0]])
    second = np.array([[3.0, 0.0, 0.0], [4.0, 1.0, 0.0]])
    names = ("first_layer_angle", "teacher_angle", "first_layer_subspace")
    found = measured(Deep([first, second, [[1.0, 1.0]]], RELU), teacher, *names)
    # Masses 2 · √(9 + 16) and √2 · 1; the second row is a line at 45° from both.
    masses = np.array([10.0, np.sqrt(2.0)])
    assert found["first_layer_angle"] == pytest.approx(masses[1] * np.pi / 4 / masses.sum(), rel=1e-12)
    np.testing.assert_allclose(found["teacher_angle"], [0.0, np.pi / 4], atol=1e-12)
    assert found["first_layer_subspace"] == pytest.approx(6.0 / 31.0, rel=1e-12)


def test_similarity_is_1_of_turned_and_0_of_independent_representations(rng):
    X, Y = jnp.asarray(rng.normal(size=(20_000, 3))), jnp.asarray(rng.normal(size=(20_000, 3)))
    turn = jnp.asarray(np.linalg.qr(rng.normal(size=(3, 3)))[0])
    assert float(similarity(X, 2.0 * X @ turn + 1.0)) == pytest.approx(1.0, rel=1e-12)
    assert float(similarity(X, Y)) < 1e-3
    # By hand: of X and its first column, ‖Xᵀx‖²/(‖XᵀX‖ ‖x‖²) is 1/√3 where XᵀX = n·I.
    assert float(similarity(X, X[:, :1])) == pytest.approx(3.0**-0.5, rel=0.03)


def test_layers_of_the_teacher_and_of_the_start_are_similar_to_themselves(weights):
    teacher = ens.TwoLayer(weights[3][0], weights[0], "relu")
    names = ("teacher_similarity", "start_similarity", "layer_singular_values", "layer_effective_rank")
    found = measured(Deep(weights, RELU), teacher, *names)
    assert found["teacher_similarity"][0] == pytest.approx(1.0, rel=1e-12)
    assert 0.0 < found["teacher_similarity"][2] < 0.99
    np.testing.assert_allclose(found["start_similarity"], 1.0, rtol=1e-12)
    sizes = found["layer_singular_values"]
    for layer, W in enumerate(weights):
        s = np.linalg.svd(W, compute_uv=False)
        np.testing.assert_allclose(sizes[layer, : len(s)], s, rtol=1e-12)
        assert not np.any(sizes[layer, len(s) :])
        assert found["layer_effective_rank"][layer] == pytest.approx((s**2).sum() ** 2 / (s**4).sum(), rel=1e-12)


def test_representations_are_compared_by_their_gram_matrices(weights, rng):
    """CKA as the cosine of centred Gram matrices of the 256 inputs, of networks run in numpy."""
    moved = [W + 0.3 * rng.normal(size=W.shape) for W in weights]
    teacher, x = ens.TwoLayer(weights[3][0], weights[0], "relu"), np.asarray(inputs(3))
    names = ("teacher_similarity", "layer_similarity", "start_similarity", "feature_change")
    found = measured(Deep(moved, RELU), teacher, *names, start=Deep(weights, RELU))

    def hidden(layers):
        h, all_of_them = x, []
        for W in layers[:-1]:
            h = np.maximum(h @ W.T, 0.0)
            all_of_them.append(h)
        return all_of_them

    def cosine(one, other):
        grams = [centred @ centred.T for centred in (one - one.mean(0), other - other.mean(0))]
        return np.sum(grams[0] * grams[1]) / np.linalg.norm(grams[0]) / np.linalg.norm(grams[1])

    now, before = hidden(moved), hidden(weights)
    to_teacher = [cosine(h, before[0]) for h in now]  # its hidden layer is that of the first weights
    np.testing.assert_allclose(found["teacher_similarity"], to_teacher, rtol=1e-10)
    np.testing.assert_allclose(found["layer_similarity"][:, 0], to_teacher, rtol=1e-10)
    np.testing.assert_allclose(found["start_similarity"], list(map(cosine, now, before)), rtol=1e-10)
    change = [np.linalg.norm(h - g) / np.linalg.norm(g) for h, g in zip(now, before, strict=True)]
    np.testing.assert_allclose(found["feature_change"], change, rtol=1e-10)


def test_what_every_layer_keeps_of_the_teacher_subspace(weights):
    """E‖∂h_l/∂x P‖²/E‖∂h_l/∂x‖² by differences, in a residual network with biases."""
    teacher, x, step = ens.TwoLayer([1.0, 1.0], [[1.0, 0.0, 0.0], [1.0, 2.0, 0.0]], "relu"), inputs(3), 1e-6
    network = Deep(weights, RELU, [np.full(len(W), 0.2) for W in weights], "1/sqrt(depth)", norm=True)
    (found,) = measured(network, teacher, "layer_subspace").values()
    run = jax.jit(jax.vmap(network.hidden))
    moves = [step * e[None, :] for e in np.eye(3)]
    pairs = [zip(run(x + move), run(x - move), strict=True) for move in moves]
    squares = np.array([[np.sum(np.square((up - down) / (2 * step))) for up, down in along] for along in pairs])
    np.testing.assert_allclose(found, squares[:2].sum(axis=0) / squares.sum(axis=0), rtol=1e-4)
    assert np.all((found > 0.1) & (found < 0.99))


# -- members -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    return ens.run(study())


def test_descent_is_that_of_the_mean_square_on_the_sample(trained):
    """Written out in JAX on the member's own data: the first layer alone, then all with decay; biases, too."""
    for seed in (0, 1):
        network, _ = ens.initial(study(), seed)
        x, y = ens.sample(study(), seed)

        @jax.jit
        def slope(network, x=x, y=y):
            return jax.grad(lambda f: 0.5 * jnp.mean((jax.vmap(f)(x) - y) ** 2))(network)

        for step in range(40):
            g = jax.tree.leaves(slope(network))
            leaves, structure = jax.tree.flatten(network)
            if step < 10:
                leaves = [w - 0.05 * d if place < 2 else w for place, (w, d) in enumerate(zip(leaves, g, strict=True))]
            else:
                leaves = [w - 0.05 * (d + 0.01 * w) for w, d in zip(leaves, g, strict=True)]
            network = structure.unflatten(leaves)
        np.testing.assert_allclose(trained["layer_weights"].sel(seed=seed), network.stacked, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(trained["layer_biases"].sel(seed=seed), network.stacked_biases, atol=1e-9)


def test_stored_weights_are_networks(trained):
    one = ens.network(trained.sel(seed=1))
    assert isinstance(one, Deep) and one.residual == "1/sqrt(depth)" and one.activation == RELU
    x, y = ens.sample(study(), 1)
    error = 0.5 * np.mean((jax.vmap(one)(x) - y) ** 2)
    ds = ens.run(study(probes=["train_loss"], seeds=2))
    assert float(ds["train_loss"].sel(seed=1)) == pytest.approx(float(error), rel=1e-9)
    batch = ens.network(trained)
    assert batch.layers[0].weight.shape == (2, 4, 3)
    teacher = ens.network(trained.sel(seed=1), "teacher")
    np.testing.assert_array_equal(teacher.W, np.eye(2, 3))


def test_members_of_different_activations_are_no_batch(trained):
    """Of one name, too: a batch has one activation, with its numbers."""
    slopes = [{"kind": "leaky_relu", "slope": slope} for slope in (0.1, 0.3)]
    axes = {"leak": {"values": [0.1, 0.3], "fields": {"student.activation": slopes}}}
    both = trained.expand_dims(leak=[0.1, 0.3]).assign_attrs(study=study(axes=axes).text)
    with pytest.raises(ens.StudyError, match="different kinds of layers"):
        ens.network(both)
    assert ens.network(both.sel(leak=[0.3])).activation.slope == 0.3


def test_a_member_alone_has_the_same_bits(trained):
    assert_same_members(ens.run(study(seeds=1)), trained)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student": {"kind": "deep", "depth": 3, "width": [4]}}, r"width: got 1 of them for depth = 3"),
        (
            {"student": {"kind": "deep", "depth": 3, "width": [4, 5], "residual": "1"}},
            r"residual: got '1' between hidden layers of the widths \[4, 5\]",
        ),
        (
            {"student": {"kind": "deep", "width": 4, "activation": "abs_centred"}},
            "activation: got 'abs_centred'",
        ),
        ({"student": {"kind": "deep", "width": 4, "start": "aligned_balanced"}}, "start.kind: got 'aligned_balanced'"),
        (
            {"student": {"kind": "deep", "depth": 3, "width": 4, "start": "near_layers"}},
            r"student.start: got 'near_layers' for layers of the sizes \[3, 4, 4, 1\] with a teacher of \[3, 2, 1\]",
        ),
        (
            {
                "student": {"kind": "deep", "depth": 2, "width": 2, "start": "near_layers", "parametrisation": "mup"},
            },
            "student.start: got 'near_layers' with parametrisation = 'mup'",
        ),
        (
            {
                "teacher": DEEP_TEACHER,
                "student": {"kind": "deep", "width": 4, "residual": "1/sqrt(depth)", "start": "near_layers"},
            },
            "student.start: got 'near_layers' for a student without biases beside a teacher that has them",
        ),
        ({"teacher": DEEP_TEACHER | {"biases": -0.5}}, r"teacher.biases: got -0.5"),
        ({"teacher": DEEP_TEACHER | {"biases": True}}, r"teacher.biases: got True"),
        ({"teacher": {"kind": "deep", "inputs": 3, "width": [4]}}, r"teacher.width: got 1 of them for depth = 3"),
        (
            {"teacher": {"kind": "deep", "inputs": 3, "width": 4, "activation": "abs_centred"}},
            "teacher.activation: got 'abs_centred'",
        ),
        (
            {"teacher": {"kind": "deep", "inputs": 3, "width": 4}, "student": {"neurons": 4}},
            "teacher.kind: got 'deep', which a two_layer student cannot learn from; .* or a deep( or \\w+)* student",
        ),
        (
            {"axes": {"of": {"values": ["two", "deep"], "fields": {"teacher": [TWO_LAYERS, DEEP_TEACHER]}}}},
            "store_weights: got true for deep students of orthonormal teachers; deep students of deep teachers",
        ),
        ({"data": None}, r"data: is missing; the population risk of a deep student has no closed form"),
        ({"probes": ["max_angle"]}, "probes: got 'max_angle' for a deep student"),
        ({"protocol": {"kind": "zhou_ge"}}, "got a ridge stage for a student that is no two_layer"),
        (
            {"protocol": {"kind": "stages", "stages": [{"name": "a", "layers": [5], "steps": 3}]}},
            r"layers: got \[5\] in the stage 'a' for a deep student, which has no layer 5: there are 3, from 0 to 2",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field(changes, message):
    with pytest.raises(ens.StudyError, match=message):
        study(**changes)


# -- deep teachers -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_deep_teacher():
    """A student that starts at its teacher, and one that starts beside it."""
    student = {"kind": "deep", "width": 4, "bias": True, "residual": "1/sqrt(depth)", "start": "near_layers"}
    away = {"away": {"field": "student.start.distance", "values": [0.0, 0.3]}}
    probes = ["loss", "train_loss", "first_layer_angle", "teacher_angle", "teacher_similarity", "layer_similarity"]
    return ens.run(study(teacher=DEEP_TEACHER, student=student, probes=probes, axes=away))


def test_a_student_that_starts_at_its_deep_teacher_is_the_teacher(of_deep_teacher):
    there, beside = (of_deep_teacher.sel(away=value) for value in (0.0, 0.3))
    assert np.all(there["loss_history"][:, :2] == 0.0) and np.all(beside["loss_history"][:, 0] > 1e-3)
    # Decay moves the first one in its second stage; layers that are scaled alone keep their angles and likeness.
    assert np.all(beside["loss"] < 0.5 * beside["loss_history"][:, 0])
    first = there["layer_similarity_history"].isel(record=0).values
    np.testing.assert_allclose(np.diagonal(first, axis1=1, axis2=2), 1.0, rtol=1e-12)
    assert np.all(first[:, 0, 1] < 0.999)
    np.testing.assert_array_equal(first[..., -1], there["teacher_similarity_history"].isel(record=0))
    assert np.all(there["first_layer_angle_history"][:, 0] < 1e-7) and np.all(beside["first_layer_angle"] > 0.01)
    assert there["teacher_angle"].sizes["teacher_neuron"] == 4


def test_deep_teachers_are_stored_and_label_the_samples(of_deep_teacher):
    member = of_deep_teacher.sel(away=0.3, seed=1)
    teacher = ens.network(member, "teacher")
    assert isinstance(teacher, Deep) and teacher.residual == "1/sqrt(depth)" and teacher.activation == RELU
    other = ens.network(of_deep_teacher.sel(away=0.3, seed=0), "teacher")
    assert not np.allclose(teacher.stacked, other.stacked)
    assert not np.any(np.isclose(teacher.stacked_biases, other.stacked_biases)[:2])
    np.testing.assert_array_equal(teacher.stacked_biases[2, 2:], 0.0)
    x, y = ens.sample(ens.Study.from_json(of_deep_teacher.attrs["study"]), 1, away=0.3)
    np.testing.assert_allclose(jax.vmap(teacher)(x), y, rtol=1e-12, atol=1e-14)
    error = jax.vmap(ens.network(member))(x) - y
    assert y.shape == (40, 2)
    assert float(member["train_loss"]) == pytest.approx(0.5 * float(np.mean(np.sum(error**2, axis=1))), rel=1e-10)


@pytest.mark.long
def test_layers_of_gain_sqrt_2_keep_the_mean_square():
    """E h_l² of relu layers is that of the input, 1, at every width; the mean of 200 draws is within 0.05 of it (1 sd),
    and with a gain of 1 it would be 1/8 in the third layer."""
    teacher = DeepTeacher.model_validate({"kind": "deep", "inputs": 40, "depth": 4, "width": 40, "outputs": 2})

    def squares(key):
        of_x, of_layers = jax.random.split(key)
        return jnp.stack([jnp.mean(h**2) for h in teacher.draw(of_layers).hidden(jax.random.normal(of_x, (40,)))])

    found = jax.jit(jax.vmap(squares))(jax.random.split(fixed_key(5), 200))
    np.testing.assert_allclose(jnp.mean(found, axis=0), 1.0, atol=0.25)
    assert teacher.draw(fixed_key(1))(jnp.ones(40)).shape == (2,)


def test_biases_of_deep_teachers_and_beside_them_are_normal():
    """Of sd 0.5, and differences from them of sd 0.2/√inputs: means within 4 s.e. of 0, mean squares of 1; they are no
    weight's numbers."""
    teacher = DeepTeacher.model_validate({"kind": "deep", "inputs": 2, "depth": 2, "width": 3000, "biases": 0.5})
    planted = teacher.draw(fixed_key(7))
    started = NearLayers(distance=0.2).biases(fixed_key(8), planted, teacher.sizes)
    for biases, sd in ((planted.biases[0], 0.5), (started[0] - planted.biases[0], 0.2 / 2**0.5)):
        z = np.asarray(biases) / sd
        assert abs(z.mean()) < 4.0 / 3000**0.5 and abs((z**2).mean() - 1.0) < 4.0 * (2.0 / 3000) ** 0.5
        columns = np.column_stack([z, planted.weights[0], planted.weights[1][0]])
        assert np.abs(np.corrcoef(columns.T)[0, 1:]).max() < 4.0 / 3000**0.5
    assert planted.biases[1].shape == started[1].shape == (1,)


# -- the analysis ------------------------------------------------------------------------------------


def test_a_layer_is_chosen_by_its_number(trained):
    """A probe of every layer has no one value a member: it is refused until one is chosen."""
    with pytest.raises(ValueError, match="got 'layer_norm', which has a value for each of 3 in 'layer'; choose"):
        analysis.below(trained, "layer_norm", 1.0)
    first = select(trained, {"layer": "0"})
    np.testing.assert_array_equal(first["layer_norm"], trained["layer_norm"].isel(layer=0))
    assert analysis.trajectory_picture(first, "layer_norm").axes
    assert analysis.below(first, "layer_norm", 1e9).all()
    with pytest.raises(ValueError, match="at: got layer = 3; there are 3, from 0 to 2"):
        select(trained, {"layer": 3})


def test_a_pair_of_layers_is_chosen_by_both_numbers(of_deep_teacher):
    beside = of_deep_teacher.sel(away=0.3)
    assert sum(one.name == "layer_similarity" for one in measures(beside)) == 4
    with pytest.raises(ValueError, match=r"of 'hidden_layer' and 'teacher_hidden_layer'; choose one of the latter"):
        analysis.layer_picture(beside, "layer_similarity")
    of_second = select(beside, {"teacher_hidden_layer": 1})
    assert analysis.layer_picture(of_second, "layer_similarity").axes
    both = select(of_second, {"hidden_layer": "0"})
    assert np.all(analysis.below(both, "layer_similarity", 1.1))


def test_neighbours_refill_and_budget_change_nothing(trained, monkeypatch):
    monkeypatch.setattr(kernels, "_MOST_LANES", 8)
    monkeypatch.setattr(LanePool, "budget", lambda self, *_: 7)
    assert_same_members(trained, ens.run(study(seeds=20)))


def test_lanes_that_all_rest_are_not_called(monkeypatch):
    """Two tiles, of which the first one's members end at their second step: later calls are of the other one alone."""
    called = []
    advance = xla._advance_part

    def counted(kernel, lanes, record_steps, budget, rows, device):
        called.append((rows.start, rows.stop))
        return advance(kernel, lanes, record_steps, budget, rows, device)

    ends = {"end": {"field": "protocol.steps", "values": [2, 200]}}
    plain = {"kind": "plain", "step_size": 0.05, "steps": 2}
    several = study(seeds=32, probes=["layer_norm"], store_weights=False, axes=ends, protocol=plain)
    whole = ens.run(several)
    monkeypatch.setattr(xla, "_advance_part", counted)
    monkeypatch.setattr(LanePool, "pack", lambda _: None)
    assert_same_members(ens.run(several), whole)
    tiles = {rows: called.count(rows) for rows in called}
    assert len(tiles) > 1 and min(tiles.values()) == 1 < max(tiles.values())
