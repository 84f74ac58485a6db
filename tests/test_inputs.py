"""Distributions of x: exact population risks against sampling, moments of what is drawn, and what is refused."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import ensemble as ens
from ensemble.numerics.keys import fixed_key
from ensemble.parts import REGISTRY
from ensemble.problem.inputs import InputLaw
from ensemble.problem.models import DeepLinear, SingularMap
from ensemble.problem.risks import LinearRisk
from ensemble.problem.risks.other_inputs import sphere_share
from tests.helpers import assert_same_members

d = 5
MEANS = [[2.0, 0.0, 0.0, 0.0, 0.5], [-1.0, 1.0, 0.0, 0.0, 0.0]]
EXAMPLES = {
    "gaussian": {},
    "sphere": {},
    "rademacher": {},
    "uniform": {},
    "student_t": {"freedom": 12.0},
    "anisotropic": {"power": 1.5},
    "mixture": {"means": MEANS, "spread": 0.5},
}
LINE = {"kind": "plain", "step_size": 0.02, "steps": 30}


@functools.cache
def sampled(name: str, count: int = 100_000) -> np.ndarray:
    part = REGISTRY["inputs"][name](**EXAMPLES[name])
    law = InputLaw.of(part, d)
    return np.asarray(jax.jit(lambda: law.rows(fixed_key(3), count, jnp.float64))())


def test_every_registered_distribution_has_an_example():
    assert set(EXAMPLES) == set(REGISTRY["inputs"])


@pytest.mark.parametrize("name", EXAMPLES)
def test_draws_have_the_mean_and_covariance_that_they_say(name):
    x = sampled(name)
    mean, cov = np.zeros(d), np.eye(d)
    if name == "anisotropic":
        powers = np.arange(1, d + 1) ** -1.5
        cov = np.diag(powers * d / powers.sum())
    if name == "mixture":
        mean = np.mean(MEANS, axis=0)
        cov = 0.25 * np.eye(d) + np.cov(np.transpose(MEANS), bias=True)
    error = 4.5 * x.std(axis=0) / np.sqrt(len(x))
    assert np.all(np.abs(x.mean(axis=0) - mean) < error)
    centred = x - mean
    products = centred[:, :, None] * centred[:, None, :]
    assert np.all(np.abs(products.mean(axis=0) - cov) <= 4.5 * products.std(axis=0) / np.sqrt(len(x)) + 1e-12)
    if name == "sphere":
        np.testing.assert_allclose(np.sum(x**2, axis=1), d, rtol=1e-13)
    if name == "rademacher":
        assert set(np.unique(x)) == {-1.0, 1.0}
    if hasattr(REGISTRY["inputs"][name], "excess_kurtosis"):
        kurtosis = REGISTRY["inputs"][name](**EXAMPLES[name]).excess_kurtosis()
        assert np.mean(x**4) - 3 == pytest.approx(kurtosis, abs=4.5 * np.std(x**4) / np.sqrt(x.size) + 1e-12)


def networks(activation: str) -> tuple[ens.TwoLayer, ens.TwoLayer]:
    rng = np.random.default_rng(5)
    return (
        ens.TwoLayer(rng.normal(size=3), rng.normal(size=(3, d)), activation),
        ens.TwoLayer([1.0, -0.7], rng.normal(size=(2, d)), activation),
    )


EXACT = [
    *(("sphere", a) for a in ("relu", "abs", "linear", "square", "abs_centred", "relu_even")),
    *(("anisotropic", a) for a in ("relu", "abs_centred", "relu_even", "erf", "square")),
    *((n, a) for n in ("rademacher", "uniform", "student_t") for a in ("linear", "square")),
]


@pytest.mark.parametrize(("name", "activation"), EXACT)
def test_population_risks_are_means_over_draws_and_those_of_n_0_i_are_not(name, activation):
    student, teacher = networks(activation)
    part = REGISTRY["inputs"][name](**EXAMPLES[name])
    risk = part.population(ens.PopulationRisk.of(teacher), d)
    value, slope = eqx.filter_jit(risk.value_and_gradient)(student)
    x = sampled(name)
    terms = 0.5 * np.asarray(student(x) - teacher(x)) ** 2
    error = terms.std() / np.sqrt(len(x))
    assert abs(terms.mean() - float(value)) < 4.5 * error
    same = activation in ("relu", "abs", "linear") and name != "anisotropic"
    away = abs(float(ens.population_loss(student, teacher)) - float(value))
    told = away < 1e-13 if same else away > 4.5 * error
    assert told, "the Gaussian value would be told from it, where it is another one"
    step = jax.tree.map(lambda g: 1e-6 * g, slope)
    up, down = (
        float(risk.value(jax.tree.map(lambda w, s, sign=sign: w + sign * s, student, step))) for sign in (1, -1)
    )
    square = sum(float(jnp.sum(g * g)) for g in jax.tree.leaves(slope))
    assert (up - down) / 2e-6 == pytest.approx(square, rel=1e-6)


@pytest.mark.parametrize("name", ["sphere", "rademacher", "student_t", "anisotropic"])
def test_linear_maps_have_population_risks_under_all_of_them(name, rng):
    teacher = SingularMap(jnp.eye(3, 2), jnp.asarray([2.0, 1.0]), jnp.eye(d, 2))
    model = DeepLinear([rng.normal(size=(4, d)), rng.normal(size=(3, 4))])
    risk = REGISTRY["inputs"][name](**EXAMPLES[name]).population(LinearRisk(teacher), d)
    x = sampled(name)
    terms = 0.5 * np.sum((x @ np.asarray(model.matrix - teacher.matrix).T) ** 2, axis=1)
    assert abs(terms.mean() - float(risk.value(model))) < 4.5 * terms.std() / np.sqrt(len(x))


def test_the_sphere_tends_to_the_gaussian_to_a_few_digits_of_rounding():
    for size in (1, 2, 3, 17, 198, 199, 200, 201, 202, 1000, 10**6, 10**9):
        with mpmath.workdps(40):
            z = mpmath.mpf(size) / 2
            exact = mpmath.sqrt(z) * mpmath.gamma(z) / mpmath.gamma(z + 0.5) if size < 10**5 else None
            exact = (
                mpmath.exp(mpmath.log(z) / 2 + mpmath.loggamma(z) - mpmath.loggamma(z + 0.5))
                if exact is None
                else exact
            )
            assert abs(float(mpmath.mpf(float(sphere_share(jnp.asarray(float(size))))) - exact)) < 3e-13, size


@pytest.mark.parametrize(("name", "activation"), [("sphere", "square"), ("anisotropic", "relu"), ("uniform", "square")])
def test_the_read_out_of_every_risk_is_its_minimum_over_a(name, activation):
    student, teacher = networks(activation)
    risk = REGISTRY["inputs"][name](**EXAMPLES[name]).population(ens.PopulationRisk.of(teacher), d)
    own, cross = eqx.filter_jit(risk.read_out)(student)
    best = ens.TwoLayer(jnp.linalg.solve(own, cross), student.W, activation)
    slope = eqx.filter_jit(risk.value_and_gradient)(best)[1]
    assert float(jnp.max(jnp.abs(slope.a))) < 1e-10 * float(jnp.max(jnp.abs(cross)))


def study(inputs, activation="relu", sampled=False, **changes) -> ens.Study:
    data = {"inputs": inputs} | ({"samples": 20} if sampled else {})
    teacher = {"kind": "orthonormal", "activation": activation, "neurons": 2, "inputs": d}
    fields = {"name": "inputs", "seeds": 2, "probes": ["loss"], "teacher": teacher, "protocol": LINE, "data": data}
    return ens.Study(**(fields | {"student": {"neurons": 3}} | changes))


def test_a_relu_on_the_sphere_has_the_bits_of_n_0_i():
    one = ens.run(study("sphere"))
    assert one.attrs["engine"] == "simd"
    assert_same_members(one, ens.run(study("gaussian")))


def test_the_sphere_is_run_in_reduced_coordinates_and_d_is_a_number():
    sizes = {"field": "teacher.inputs", "values": [30, 10**9]}
    ds = ens.run(study("sphere", "abs_centred", axes={"size": sizes}, store_weights=True))
    assert ds.sizes["input"] == d and ds.attrs["engine"] == "xla"
    for size in (30, 10**9):
        one = ds.sel(size=size, seed=1)
        student, teacher = ens.network(one), ens.network(one, "teacher")
        risk = REGISTRY["inputs"]["sphere"]().population(ens.PopulationRisk.of(teacher), size)
        assert float(one["loss"]) == pytest.approx(float(risk.value(student)), rel=1e-12)


def test_numbers_of_inputs_are_axes_that_compile_nothing():
    from ensemble.engine.program import TRACES

    before = len(TRACES)
    axes = {"power": [0.0, 1.0, 2.0]}
    ds = ens.run(study({"kind": "anisotropic", "power": 1.0}, axes=axes))
    assert len(TRACES) - before == 1
    np.testing.assert_allclose(ds["loss"].sel(power=0.0), ens.run(study("gaussian"))["loss"], rtol=1e-11)
    assert float(np.abs(ds["loss"].sel(power=2.0) - ds["loss"].sel(power=0.0)).min()) > 1e-3


def test_samples_without_a_closed_form_are_trained_on_and_scored():
    for name in ("mixture",):
        s = study({"kind": name} | EXAMPLES[name], sampled=True, records=3)
        ds = ens.run(s)
        assert np.all(np.isfinite(ds["loss"])) and np.all(ds["loss_error"] > 0)
        x, y = ens.sample(s, 1)
        np.testing.assert_allclose(y, ens.initial(s, 1)[1](x), rtol=1e-12)


@pytest.mark.parametrize(
    ("inputs", "activation", "is_sampled", "changes", "words"),
    [
        ({"kind": "student_t", "freedom": 2.0}, "relu", True, {}, r"data.inputs.freedom: got 2 degrees.* no variance"),
        ({"kind": "student_t", "freedom": 4.0}, "square", True, {}, r"data.inputs: got 'student_t' without a fourth"),
        ({"kind": "anisotropic"}, "relu", True, {}, r"data.inputs.power, spectrum: got none of them"),
        (
            {"kind": "anisotropic", "spectrum": [1.0]},
            "relu",
            True,
            {},
            r"spectrum: got 1 eigenvalues for 5 inputs",
        ),
        ({"kind": "mixture", "means": [[1.0]]}, "relu", True, {}, r"data.inputs.means: got rows of 1 for 5 inputs"),
        ({"kind": "mixture", "means": [[1.0], [1.0, 2.0]]}, "relu", True, {}, r"means: got rows of lengths \[1, 2\]"),
        (
            "rademacher",
            "relu",
            False,
            {},
            r"data.samples: is missing; .* form with activation relu: there is",
        ),
        (
            "sphere",
            "erf",
            False,
            {},
            r"data.samples: is missing; .* there is one for relu, abs, linear, square",
        ),
        ({"kind": "mixture", "means": MEANS}, "relu", False, {}, r"data.samples: is missing; .*: give samples = n"),
        ({"kind": "anisotropic", "power": 1.0}, "relu", False, {"coordinates": "reduced"}, "of anisotropic inputs"),
        ("sphere", "relu", False, {"probes": ["gap"]}, r"probes: got 'gap' for members under sphere inputs"),
        (
            "sphere",
            "relu",
            False,
            {"protocol": {"kind": "fixed_decay", "penalty": "bottleneck"}},
            r"protocol.penalty: got 'bottleneck' in the stage 'local' under sphere inputs",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field(inputs, activation, is_sampled, changes, words):
    with pytest.raises(ens.StudyError, match=words):
        study(inputs, activation, is_sampled, **changes)
