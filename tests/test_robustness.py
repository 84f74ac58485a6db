"""Sensitivities against sampling, attacks against the exact adversary, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import analysis
import ensemble as ens
from analysis.uses import ascent, robustness
from ensemble.numerics.keys import fixed_key
from ensemble.probes import PROBES, Measured, Moment, prepared
from ensemble.probes.robustness import error_of, mean_square_gradient
from ensemble.problem.activations import ACTIVATIONS
from ensemble.problem.models import DeepLinear, SingularMap
from ensemble.problem.penalties import L2
from ensemble.problem.risks import LinearRisk
from tests.helpers import seldom
from tests.studies import small

NAMES = ("sensitivity", "error_sensitivity", "adversarial_alignment")
BASIS = np.linalg.qr(np.random.default_rng(5).normal(size=(4, 2)))[0].T


def pair(name: str, seed: int = 0) -> tuple[ens.TwoLayer, ens.TwoLayer]:
    """A student with a doubled, an opposite and a vanished neuron, and a teacher; norms are at most 1.8."""
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(5, 4)) * 0.4
    W[3], W[4] = -1.5 * W[0], 0.0
    sigma = ACTIVATIONS[name]
    student = ens.TwoLayer(rng.normal(size=5), W, sigma)
    return student, ens.TwoLayer([1.0, -0.7], rng.normal(size=(2, 4)) * 0.5, sigma)


@pytest.mark.parametrize("name", seldom(ACTIVATIONS, "sigmoid", "silu", "softplus"))
def test_the_mean_square_gradient_is_that_of_sampled_autodiff(name):
    student, teacher = pair(name)
    error = error_of(student, teacher)
    assert isinstance(error, ens.TwoLayer)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(40_000, 4)))

    @jax.jit
    def sampled(a, W, basis):
        gradients = jax.vmap(jax.grad(lambda x: ens.TwoLayer(a, W, student.activation)(x)))(x)
        network = ens.TwoLayer(a, W, student.activation)
        return jnp.sum((gradients @ basis.T) ** 2, axis=1), mean_square_gradient(network, basis)

    # One program serves all: the student has two more neurons, of weight 0, and all of the space is a basis, too.
    padded = jnp.concatenate([student.a, jnp.zeros(2)]), jnp.concatenate([student.W, student.W[:2]])
    cases = ((*padded, jnp.eye(4)), (*padded, jnp.pad(BASIS, ((0, 2), (0, 0)))), (error.a, error.W, jnp.eye(4)))
    for case in cases:
        squares, exact = (np.asarray(one) for one in sampled(*case))
        assert abs(squares.mean() - exact) < 4 * squares.std() / np.sqrt(len(squares)) + 1e-12 * exact
    assert float(mean_square_gradient(student)) == pytest.approx(float(sampled(*cases[0])[1]), rel=1e-12)
    # The companion: without E σ′σ′, as for a linear network, it would be far off.
    plain = float(jnp.sum((student.a @ student.W) ** 2))
    linear = name in ("linear", "polynomial")  # the registered polynomial is z
    assert linear or abs(plain - float(mean_square_gradient(student))) > 0.02 * plain


@pytest.mark.parametrize("name", ["relu", "abs_centred"])
def test_the_error_of_a_neuron_that_is_almost_its_teacher(name):
    """f − f* of unit neurons at an angle θ: 2κ′(1) − 2 cos θ κ′(θ), which is 2·bend·θ to first order."""
    sigma, turn = ACTIVATIONS[name], 1e-9
    teacher = ens.TwoLayer([1.0], [[0.6, 0.8, 0.0]], sigma)
    student = ens.TwoLayer([1.0], [[0.6, 0.8, turn]], sigma)
    found = float(mean_square_gradient(error_of(student, teacher)))
    assert found == pytest.approx(2.0 * sigma.bend * turn, rel=1e-6)
    # The companion: through the cosine, which is 1 there, nothing of it is left.
    rho = jnp.sum(student.W * teacher.W) / jnp.linalg.norm(student.W)
    assert abs(2.0 * float(sigma.kappa_slopes(jnp.ones(()))[1] - sigma.kappa_slopes(rho)[1]) - found) > 0.5 * found


def measured(model, risk, names=NAMES) -> dict[str, float]:
    aids = prepared([PROBES[name] for name in names], risk, model)
    zero = jnp.zeros(())
    at = Measured(Moment(model, risk, aids, zero, zero, (), zero), L2())
    return {name: float(PROBES[name](at)) for name in names}


def test_probes_of_networks_by_hand():
    # |x₁| + 2|x₃| against |x₁|: gradients are ±e₁ ± 2e₃, and of the error ±2e₃; a fifth lies on the teacher's line.
    student = ens.TwoLayer([1.0, 2.0], [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], "abs")
    teacher = ens.TwoLayer([1.0], [[1.0, 0.0, 0.0]], "abs")
    found = measured(student, ens.PopulationRisk.of(teacher))
    assert found == pytest.approx(dict(zip(NAMES, (5.0, 4.0, 0.2), strict=True)), rel=1e-14)
    same = measured(teacher, ens.PopulationRisk.of(teacher))
    assert same == pytest.approx(dict(zip(NAMES, (1.0, 0.0, 1.0), strict=True)), abs=1e-14)


def test_probes_of_deep_linear_networks_by_hand():
    # A = diag(1, 2), T = diag(1, 0): of ‖A‖² = 5 one is on the teacher's mode, and ‖A − T‖² = 4.
    model = DeepLinear([jnp.diag(jnp.array([2.0, 1.0])), jnp.diag(jnp.array([0.5, 2.0]))])
    risk = LinearRisk(SingularMap(jnp.eye(2), jnp.array([1.0, 0.0]), jnp.eye(2)))
    assert measured(model, risk) == pytest.approx(dict(zip(NAMES, (5.0, 4.0, 0.2), strict=True)), rel=1e-14)


def test_a_study_measures_them_and_the_error_of_linear_networks_is_twice_the_loss():
    fields = {
        "name": "linear",
        "seeds": 2,
        "records": [0, 5],
        "probes": ["loss", *NAMES],
        "teacher": {"kind": "deep_linear", "singular_values": [2.0, 1.0], "inputs": 3, "outputs": 2},
        "student": {"kind": "deep_linear", "width": 3, "start": {"kind": "gaussian", "gain": 0.5}},
        "protocol": {"kind": "plain", "step_size": 0.05, "steps": 20},
    }
    ds = ens.run(ens.Study.model_validate(fields))
    for ending in ("", "_history"):
        np.testing.assert_allclose(ds[f"error_sensitivity{ending}"], 2 * ds[f"loss{ending}"], rtol=1e-13)
    assert 0 < float(ds["adversarial_alignment"].min()) <= float(ds["adversarial_alignment"].max()) <= 1 + 1e-14


def test_students_of_one_s_own_have_none():
    fields = {"name": "own", "probes": ["loss", "sensitivity"], "protocol": {"kind": "plain", "steps": 5}}
    table = {
        "teacher": {"kind": "low_rank", "eigenvalues": [1.0, 0.0]},
        "student": {"kind": "factors", "rank": 1, "scale": 0.3},
    }
    ens.Study.from_toml("tests/own/factorisation.toml")
    with pytest.raises(ValueError, match="probes: got 'sensitivity' for a factors student, of which it is not"):
        ens.Study.model_validate(fields | table)


# -- robust losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [2, "inf"])
def test_ascent_from_anywhere_finds_the_exact_adversary_of_a_linear_network(norm, rng):
    """½(|r| + ε‖w‖_*)² at every x, from random starts inside the ball alone, to 1e-6."""
    w, radius = jnp.asarray(rng.normal(size=6)), 0.7
    x, targets = jnp.asarray(rng.normal(size=(40, 6))), jnp.asarray(rng.normal(size=40))
    begin = ascent.projected(jnp.asarray(rng.normal(size=(40, 8, 6))), jnp.asarray(radius), norm)

    def height(delta):
        each = 0.5 * ((x[:, None, :] + delta) @ w - targets[:, None]) ** 2
        return jnp.sum(each), each

    best = ascent.ascend(height, begin, jnp.asarray(radius), norm, ascent.STEPS)
    found = np.asarray(jnp.max(best.height, axis=1))
    exact = 0.5 * (np.abs(x @ w - targets) + radius * float(ascent.dual_norm(w, norm))) ** 2
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    size = jnp.linalg.norm(best.delta, axis=-1) if norm == 2 else jnp.abs(best.delta).max(axis=-1)
    assert float(jnp.max(size)) <= radius * (1 + 1e-12)
    # The companion: the steps matter; from where it begins it is far off.
    assert np.max(np.asarray(jnp.max(height(begin)[1], axis=1)) / exact) < 0.99


@pytest.mark.parametrize("label", ["kept", "moved"])
def test_ascent_is_a_lower_bound_that_a_grid_does_not_beat(label):
    """Of kinked networks in the plane, against every point of a fine grid of the disc."""
    student, teacher = (ens.TwoLayer(net.a, 1.5 * net.W[:, :2], "relu") for net in pair("relu", 3))
    radius, points = 0.6, 30

    def values(x):
        return (student(x) - teacher(x) if label == "moved" else student(x))[..., None]

    def labels(x):
        return jnp.zeros((*x.shape[:-1], 1)) if label == "moved" else teacher(x)[..., None]

    how = (0.2, radius), 2, points, 6, 30
    found = jax.jit(lambda: ascent.attack(values, labels, jnp.eye(2), *how))()
    x = jax.random.normal(jax.random.split(fixed_key(1))[0], (points, 2))
    angles, sizes = np.linspace(0, 2 * np.pi, 241), np.linspace(0, radius, 41)
    grid = np.stack([np.outer(sizes, np.cos(angles)), np.outer(sizes, np.sin(angles))], axis=-1).reshape(1, -1, 2)
    heights = np.asarray(0.5 * (values(x[:, None, :] + grid) - labels(x)[:, None, :])[..., 0] ** 2)
    exact = (heights.max(axis=1) - heights[:, 0]).mean()
    assert float(found.growth[1]) == pytest.approx(exact, rel=5e-3) and 0 < float(found.growth[0]) < exact
    assert float(found.alignment[1]) == pytest.approx(1.0, abs=1e-12)


def linear_study(**changes) -> ens.Study:
    fields = {
        "name": "linear",
        "seeds": 3,
        "records": 0,
        "store_weights": True,
        "probes": ["loss"],
        "teacher": {"kind": "orthonormal", "activation": "linear", "neurons": 2, "inputs": 4},
        "student": {"neurons": 3, "start": "balanced"},
        "protocol": {"kind": "plain", "step_size": 0.05, "steps": 8},
    }
    return ens.Study.model_validate(fields | changes)


@pytest.fixture(scope="module")
def linear():
    return ens.run(linear_study())


@pytest.mark.parametrize(("norm", "label"), [(2, "kept"), ("inf", "kept"), (2, "moved"), ("inf", "moved")])
def test_robust_losses_of_linear_networks_are_exact(linear, norm, label, rng):
    found = analysis.robust_loss(linear, [0.2, 0.05], norm, label=label)
    assert found.attrs["method"] == "exact" and found["radius"].values.tolist() == [0.05, 0.2]
    assert np.all(found["robust_loss_error"] == 0)
    x = rng.normal(size=(200_000, 4))
    for seed in range(3):
        one = linear.sel(seed=seed)
        w, target = (one[a].values @ one[W].values for a, W in (("a", "W"), ("teacher_a", "teacher_W")))
        moving = w - target if label == "moved" else w
        push = 0.2 * (np.linalg.norm(moving) if norm == 2 else np.abs(moving).sum())
        sampled = 0.5 * (np.abs(x @ (w - target)) + push) ** 2
        deviation = abs(sampled.mean() - float(found["robust_loss"].sel(seed=seed, radius=0.2)))
        assert deviation < 4 * sampled.std() / np.sqrt(len(x))
        # The attack is along w (its signs): how much of that is in the teacher's one direction.
        direction = np.sign(moving) if norm == "inf" else moving
        share = (direction @ target) ** 2 / (direction @ direction) / (target @ target)
        assert float(found["attack_alignment"].sel(seed=seed)[0]) == pytest.approx(share, rel=1e-9)


def test_deep_linear_networks_of_one_and_of_several_outputs():
    """One output: as the two-layer linear network. T = W = 2·1 of two outputs: ½ max ‖2δ‖² = 2ε² at every x."""
    twice = DeepLinear([2.0 * jnp.eye(2)])
    asked = robustness.Asked((0.5,), 2, "kept", 16, 6, 30)
    loss, error, alignment = jax.jit(lambda: robustness._ascended(twice, twice, asked))()
    assert [float(x[0]) for x in (loss, error, alignment)] == pytest.approx([0.5, 0.0, 1.0], abs=1e-9)
    one = {"kind": "deep_linear", "singular_values": [2.0], "inputs": 3, "outputs": 1}
    ds = ens.run(linear_study(teacher=one, student={"kind": "deep_linear", "width": 2, "start": {"kind": "gaussian"}}))
    found = analysis.robust_loss(ds, [0.5])
    member = ds.isel(seed=1)
    w = (member["layer_weights"].values[1, :1, :2] @ member["layer_weights"].values[0, :2])[0]
    s, push = np.linalg.norm(w - member["teacher_matrix"].values[0]), 0.5 * np.linalg.norm(w)
    expected = 0.5 * (s**2 + 2 * push * s * np.sqrt(2 / np.pi) + push**2)
    assert found.attrs["method"] == "exact"
    assert float(found["robust_loss"].isel(seed=1)[0]) == pytest.approx(expected, rel=1e-12)


@pytest.fixture(scope="module")
def kinked():
    return ens.run(small(seeds=2, axes={}))


def test_robust_losses_grow_from_the_loss_with_the_radius(kinked):
    found = analysis.robust_loss(kinked, [1e-4, 0.1, 0.4], points=32, starts=3, steps=5)
    values = found["robust_loss"].transpose("seed", "radius").values
    assert np.all(np.diff(values, axis=1) > 0) and np.all(found["robust_loss_error"] > 0)
    np.testing.assert_allclose(values[:, 0], kinked["loss"], rtol=0.05)
    alone = analysis.robust_loss(kinked.isel(seed=[1]), [1e-4, 0.1, 0.4], points=32, starts=3, steps=5)
    np.testing.assert_array_equal(alone["robust_loss"].values[0], values[1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"radii": [0.1, -0.2]}, r"radii: got -0.2; give finite radii above 0"),
        ({"radii": [0.0]}, r"radii: got 0.0; give finite radii above 0"),
        ({"radii": []}, r"radii: got none"),
        ({"radii": [0.1, 0.1]}, r"radii: got \[0.1, 0.1\]; give every radius once"),
        ({"norm": 1}, r'norm: got 1; give 2 or "inf"'),
        ({"label": "old"}, r"label: got 'old'; give 'kept' or 'moved'"),
        ({"points": 1}, r"points: got 1; give a whole number, 2 or more"),
        ({"starts": 0}, r"starts: got 0; give a whole number, 1 or more"),
    ],
)
def test_what_is_no_attack_is_refused(kinked, arguments, said):
    with pytest.raises(ValueError, match=said):
        analysis.robust_loss(kinked, **({"radii": [0.1]} | arguments))


def test_attacks_need_weights_and_the_axes_of_the_input(kinked):
    with pytest.raises(ValueError, match="W: the robust loss needs the weights"):
        analysis.robust_loss(kinked.drop_vars("W"), [0.1])
    with pytest.raises(ValueError, match='norm: got "inf" of rows in reduced coordinates'):
        analysis.robust_loss(kinked.assign(inputs=kinked["inputs"] + 5), [0.1], "inf")
