"""The lazy comparator: closed forms, linearised and recentred students, and both slopes of theory.md §11."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import analysis
import ensemble as ens
from ensemble.numerics import member_keys
from ensemble.probes import Measured, Moment, prepared
from ensemble.problem.draws import full_space
from ensemble.problem.lazy import LinearisedRisk, ScaledRisk, tangent_of
from ensemble.problem.models import DeepLinear, SingularMap
from ensemble.problem.penalties import L2
from ensemble.problem.students import TwoLayerStudent

PROBES = ["loss", "kernel_change", "kernel_alignment", "weight_change", "linearisation_error"]
ACTIVATIONS = ["relu", "abs_centred", "linear", "erf", "square"]


def study(**changes) -> ens.Study:
    fields = {
        "name": "lazy",
        "seeds": 2,
        "records": [0, 50],
        "probes": PROBES,
        "teacher": {"kind": "orthonormal", "activation": "erf", "neurons": 2, "inputs": 3},
        "student": {"neurons": 8, "start": {"kind": "balanced", "scale": 8.0**0.5}},
        "protocol": {"kind": "plain", "step_size": 0.5, "steps": 100},
    }
    return ens.Study.model_validate(fields | changes)


def scales(values: list[float], eta: float = 0.5) -> dict:
    """An axis over α at one time: the step size falls as α⁻²."""
    sizes = [eta / value**2 for value in values]
    return {"values": values, "fields": {"student.output_scale": values, "protocol.step_size": sizes}}


# -- closed forms ------------------------------------------------------------------------------------


def networks(sigma: str, rng: np.random.Generator) -> tuple[ens.TwoLayer, ens.TwoLayer, ens.TwoLayer]:
    """Two networks with duplicated, opposite and zero neurons, inside and between them, and a direction."""
    W = rng.normal(size=(4, 3))
    W[1] = W[0]
    V = W.copy()
    V[2], V[3] = -W[0], rng.normal(size=3)
    return tuple(ens.TwoLayer(rng.normal(size=4), rows, sigma) for rows in (W, V, rng.normal(size=(4, 3))))


@pytest.mark.parametrize("sigma", ACTIVATIONS)
def test_second_derivatives_of_the_inner_product_are_those_of_samples(sigma, rng):
    """∂∂′B(θ, θ′) = E ∂f_θ ∂f_θ′ᵀ: its Frobenius norm and its products, against its own matrix and against samples."""
    model, other, direction = networks(sigma, rng)
    tangent = tangent_of(model)

    def mixed(at, towards):
        flat, back = ravel_pytree(towards)
        return np.asarray(jax.jacfwd(lambda p: ravel_pytree(tangent.slope(at, back(p)))[0])(flat))

    x = jnp.asarray(rng.normal(size=(40_000, 3)))

    def features(network):
        flat, back = ravel_pytree(network)
        return np.asarray(jax.vmap(jax.grad(lambda p, x: back(p)(x)), (None, 0))(flat, x))

    matrix, own = mixed(model, other), mixed(model, model)
    one, two = features(model), features(other)
    spread = np.sqrt(((one**2).T @ two**2) / len(x) / len(x))
    # Beside the samples' error the rounding of the cosine of opposite neurons.
    assert np.all(np.abs(one.T @ two / len(x) - matrix) < 5.5 * spread + 1e-7)
    assert float(tangent.overlap(model, other)) == pytest.approx((matrix**2).sum(), rel=1e-7)
    # Neurons beside themselves: the matrix takes their angle from a cosine, which knows it to 1e-8 alone.
    assert float(tangent.overlap(model, model)) == pytest.approx((own**2).sum(), rel=3e-8)
    pushed = ravel_pytree(tangent.response(model, direction))[0]
    np.testing.assert_allclose(pushed, own @ ravel_pytree(direction)[0], rtol=1e-7, atol=1e-7)


def test_a_zero_neuron_is_finite(rng):
    network = ens.TwoLayer([1.0, 0.5], [[0.0, 0.0], [1.0, 0.0]], "relu")
    tangent = tangent_of(network)
    assert np.isfinite(tangent.overlap(network, network))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(tangent.response(network, network)))


def test_deep_linear_tangents_are_those_of_their_matrices(rng):
    shapes = ((4, 3), (5, 4), (2, 5))
    model, other, direction = (DeepLinear([rng.normal(size=s) for s in shapes]) for _ in range(3))
    tangent = tangent_of(model)
    flat, back = ravel_pytree(other)
    matrix = jax.jacfwd(lambda p: ravel_pytree(tangent.slope(model, back(p)))[0])(flat)
    assert float(tangent.overlap(model, other)) == pytest.approx(float((matrix**2).sum()), rel=1e-13)
    own = jax.jacfwd(lambda p: ravel_pytree(tangent.slope(model, back(p)))[0])(ravel_pytree(model)[0])
    pushed = ravel_pytree(tangent.response(model, direction))[0]
    np.testing.assert_allclose(pushed, own @ ravel_pytree(direction)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("recentred", [False, True])
@pytest.mark.parametrize("kind", [ScaledRisk, LinearisedRisk])
def test_risks_are_mean_squares_and_their_gradients_exact(kind, recentred, rng):
    """Two-layer: against samples of g. Deep linear: against ½‖G − T‖² of the matrix of g."""
    alpha, x = jnp.asarray(1.7), jnp.asarray(rng.normal(size=(100_000, 3)))
    teacher, start, moved = (ens.TwoLayer(rng.normal(size=m), rng.normal(size=(m, 3)), "abs") for m in (2, 4, 4))
    model = jax.tree.map(lambda w, d: w + 0.3 * d, start, moved)
    risk = kind.of(teacher, alpha, start, recentred)
    f0, linear = jax.jvp(lambda at: at(x), (start,), (jax.tree.map(jnp.subtract, model, start),))
    network = f0 + linear if kind is LinearisedRisk else model(x)
    square = 0.5 * (alpha * (network - (f0 if recentred else 0.0)) - teacher(x)) ** 2
    value, slope = risk.value_and_gradient(model)
    assert abs(float(square.mean() - value)) < 4.0 * float(square.std()) / np.sqrt(len(x))
    for found, expected in zip(jax.tree.leaves(slope), jax.tree.leaves(jax.grad(risk.value)(model)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)

    layers = [DeepLinear([rng.normal(size=(3, 2)), rng.normal(size=(2, 3))]) for _ in range(2)]
    T = SingularMap(jnp.eye(2), jnp.asarray([2.0, 1.0]), jnp.eye(2))
    risk = kind.of(T, alpha, layers[0], recentred)
    value, slope = risk.value_and_gradient(layers[1])
    assert float(value) == pytest.approx(0.5 * float(jnp.sum((risk.matrix(layers[1]) - T.matrix) ** 2)), rel=1e-12)
    for found, expected in zip(jax.tree.leaves(slope), jax.tree.leaves(jax.grad(risk.value)(layers[1])), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


def test_kernel_probes_are_those_of_quadrature(rng):
    """Networks of `square` in two dimensions are polynomials, which 8 Gauss–Hermite points a dimension integrate
    exactly: kernels and functions are written out over the grid."""
    teacher, start, moved = (ens.TwoLayer(rng.normal(size=m), rng.normal(size=(m, 2)), "square") for m in (2, 3, 3))
    model = jax.tree.map(lambda w, d: w + 0.2 * d, start, moved)
    points, weights = np.polynomial.hermite_e.hermegauss(8)
    x, p = np.stack(np.meshgrid(points, points), -1).reshape(-1, 2), np.outer(weights, weights).ravel() / 2.0 / np.pi

    def tangents(network):
        z = x @ np.asarray(network.W).T
        inner = 2.0 * np.asarray(network.a) * z
        return np.concatenate([z**2, (inner[:, :, None] * x[:, None, :]).reshape(len(x), -1)], axis=1)

    def mean(kernel, other):
        return p @ (kernel * other) @ p

    now, before = (tangents(network) @ tangents(network).T for network in (model, start))
    f, f0, labels = (np.asarray(network(jnp.asarray(x))) for network in (model, start, teacher))
    flat = [np.concatenate([np.asarray(n.a), np.ravel(n.W)]) for n in (model, start)]
    alpha = 1.7
    expected = {
        "kernel_change": np.sqrt(mean(now - before, now - before) / mean(before, before)),
        "kernel_alignment": mean(now, np.outer(labels, labels)) / np.sqrt(mean(now, now)) / (p @ labels**2),
        "weight_change": np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(flat[1]),
        "linearisation_error": alpha
        * np.sqrt(p @ (f - f0 - tangents(start) @ (flat[0] - flat[1])) ** 2 / (p @ labels**2)),
    }
    risk = ScaledRisk.of(teacher, jnp.asarray(alpha), start, True)
    aids = prepared([ens.PROBES[name] for name in expected], risk, start)
    moves = jax.tree.map(lambda _: jnp.asarray(True), model)
    at = Measured(Moment(model, risk, aids, jnp.zeros(()), jnp.ones(()), moves, jnp.asarray(1e-3)), L2())
    for name, value in expected.items():
        assert float(ens.PROBES[name](at)) == pytest.approx(value, rel=1e-6), name


# -- members -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lazy():
    """Over α = 10, …, 300 from both starts, recentred; a symmetric start is 0 and recentring it changes nothing."""
    start = {"values": ["symmetric", "balanced"]}
    start["fields"] = {"student.start": [{"kind": kind, "scale": 8.0**0.5} for kind in start["values"]]}
    axes = {"start": start, "scale": scales([10.0, 30.0, 100.0, 300.0])}
    student = study().student.model_dump(exclude_none=True) | {"recentred": True, "output_scale": 1.0}
    return ens.run(study(axes=axes, student=student))


@pytest.mark.long
def test_both_slopes_of_the_kernel_with_the_scale(lazy):
    """−2 from the antisymmetric start, whose first-order change cancels, and −1 from an independent one (§11)."""
    assert np.all(lazy["loss"] < 0.02), "trained, against ½E f*² = 0.33"
    measured = lazy["kernel_change"].mean("seed")
    slopes = np.diff(np.log(measured), axis=-1) / np.diff(np.log(lazy["scale"].values))
    assert np.all(np.abs(slopes[0] + 2.0) < 0.1) and np.all(np.abs(slopes[1] + 1.0) < 0.1), slopes
    weights = np.log(lazy["weight_change"].mean("seed"))
    assert np.all(np.abs(np.diff(weights, axis=-1) / np.diff(np.log(lazy["scale"].values)) + 1.0) < 0.1)


def test_records_at_the_start_are_those_of_no_change(lazy):
    begin = lazy.isel(record=0)
    for name in ("kernel_change", "weight_change", "linearisation_error"):
        assert np.all(begin[f"{name}_history"] < 1e-6), name
    np.testing.assert_allclose(begin["loss_history"], float(begin["loss_history"].max()), rtol=1e-9)
    alignment = lazy["kernel_alignment"]
    assert np.all((alignment > 0.0) & (alignment < 1.0))


@pytest.fixture(scope="module")
def pairs():
    """The same seeds as networks and as their linearisations, at a small and at a large scale."""
    axes = {"linearised": [False, True], "scale": scales([1.0, 300.0], 0.2)}
    student = study().student.model_dump(exclude_none=True) | {"recentred": True, "output_scale": 1.0}
    return ens.run(study(axes=axes, student=student, records=20, store_weights=True))


@pytest.mark.long
def test_a_linearised_student_stays_with_its_network_where_the_scale_is_large(pairs):
    loss = pairs["loss_history"]
    far = np.abs(loss.sel(linearised=True) / loss.sel(linearised=False) - 1.0).max("record")
    assert np.all(far.sel(scale=300.0) < 0.01) and np.all(far.sel(scale=1.0) > 0.03), far.values
    linear = pairs.sel(linearised=True)
    for name in ("kernel_change", "linearisation_error"):
        assert np.all(linear[name] == 0.0)
        assert np.all(pairs[name].sel(linearised=False, scale=1.0) > 1e-3)
    found = analysis.difference(pairs.sel(linearised=True), pairs.sel(linearised=False), "loss", 0.05)
    assert set(found["pairs"].values.ravel()) == {2}


def test_descent_of_a_linearised_student_is_linear(pairs):
    """θ_t = θ_0 − H⁺(I − (I − ηH)^t)∇L(θ_0), with the Hessian H of its quadratic risk, member by member."""
    ds = pairs.sel(linearised=True, scale=1.0)
    (cell,) = (
        p.cell for p in ens.Study.from_json(ds.attrs["study"]).points if p.labels == {"linearised": True, "scale": 1.0}
    )
    for seed in ds["seed"].values:
        start, risk = cell.student.draw(cell.teacher, member_keys(0, int(seed)), full_space(3))
        flat, back = ravel_pytree(start)
        slope = jax.jit(lambda p, risk=risk, back=back: ravel_pytree(risk.value_and_gradient(back(p))[1])[0])
        values, vectors = np.linalg.eigh(np.asarray(jax.jacfwd(slope)(flat)))
        factors = np.where(values > 1e-12, (1.0 - (1.0 - 0.2 * values) ** 100) / np.maximum(values, 1e-12), 0.2 * 100)
        expected = back(flat - vectors @ (factors * (vectors.T @ np.asarray(slope(flat)))))
        np.testing.assert_allclose(ds["a"].sel(seed=seed), expected.a, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(ds["W"].sel(seed=seed), expected.W, rtol=1e-9, atol=1e-11)


def test_output_scales_are_in_the_masses_of_neurons(rng):
    teacher, model = (ens.TwoLayer(rng.normal(size=m), rng.normal(size=(m, 3)), "abs_centred") for m in (2, 4))
    doubled = ens.TwoLayer(2.0 * model.a, model.W, "abs_centred")
    names = ["total_mass", "recovery_error", "mass", "max_angle", "far_mass"]

    def measured(model, risk):
        aids = prepared([ens.PROBES[name] for name in names], risk, model)
        moves = jax.tree.map(lambda _: jnp.asarray(True), model)
        at = Measured(Moment(model, risk, aids, jnp.zeros(()), jnp.ones(()), moves, jnp.asarray(1e-3)), L2())
        return {name: ens.PROBES[name](at) for name in names}

    plain = measured(doubled, ens.PopulationRisk.of(teacher))
    scaled = measured(model, ScaledRisk.of(teacher, jnp.asarray(2.0), model, False))
    for name in names:
        np.testing.assert_allclose(scaled[name], plain[name], rtol=1e-12, err_msg=name)


def test_deep_linear_students_have_comparators():
    start = {"kind": "gaussian", "gain": 1.5}
    student = {"kind": "deep_linear", "depth": 2, "width": 4, "start": start, "linearised": True, "recentred": True}
    teacher = {"kind": "deep_linear", "singular_values": [2.0, 1.0], "inputs": 3, "outputs": 2}
    protocol = {"kind": "plain", "step_size": 0.02, "steps": 3000}
    names = ["loss", "mode_strength", "linearisation_error"]
    ds = ens.run(study(teacher=teacher, student=student, protocol=protocol, probes=names, seeds=1))
    np.testing.assert_allclose(ds["mode_strength"].values, [[2.0, 1.0]], atol=1e-3)
    assert np.all(ds["loss"] < 1e-6) and np.all(ds["linearisation_error"] == 0.0)
    with pytest.raises(ValueError, match="exact mode curves are those of the network itself"):
        analysis.mode_curves(ds)


# -- refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probes": ["gap"]}, "probes: got 'gap' for a student with output_scale, recentred or linearised"),
        ({"protocol": {"kind": "zhou_ge"}}, "got a ridge stage for a student with output_scale"),
        (
            {"protocol": {"kind": "curriculum", "order": [0, 1], "stage_steps": 5, "epochs": 1, "epoch_steps": 5}},
            r"protocol.order: got .* for a student with output_scale",
        ),
        ({"coordinates": "reduced"}, "got 'reduced' with the probe 'kernel_change', which is of all d coordinates"),
        ({"student": {"neurons": 4, "output_scale": -1.0}}, "student.output_scale"),
    ],
)
def test_what_means_nothing_is_refused(changes, message):
    student = {"neurons": 4, "linearised": True, "start": "balanced"}
    table = study().resolved() | {"student": student} | changes
    with pytest.raises(ens.StudyError, match=message):
        ens.Study(**table)


def test_functions_of_networks_refuse_what_is_none(pairs):
    ds = pairs.isel(scale=1, linearised=0)
    with pytest.raises(ens.StudyError, match="ds: its students have output_scale"):
        ens.network(ds)
    for ask in (analysis.certificates, analysis.families):
        with pytest.raises(ValueError, match="of the network itself: select other cells"):
            ask(ds)
    assert not analysis.predictions(ds).data_vars


def test_kernels_are_measured_in_all_coordinates():
    """d enters the kernel of the first layer, and reduced rows do not know it."""
    (point,) = study(teacher={"kind": "orthonormal", "activation": "erf", "neurons": 2, "inputs": 40}).points
    assert isinstance(point.cell.student, TwoLayerStudent)
    wide = study(teacher=point.cell.teacher.model_dump(exclude_none=True))
    assert not wide.space(point.cell).reduced and wide.space(point.cell).columns == 40
    assert wide.replace(probes=["loss", "weight_change"]).space(point.cell).reduced
