"""Distributions of x: exact population risks against sampling, moments of what is drawn, and what is refused."""

import functools
import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import xarray as xr

import ensemble as ens
from ensemble.launch.cluster import connected, run_on_cluster
from ensemble.numerics.keys import fixed_key
from ensemble.parts import REGISTRY
from ensemble.problem.activations import AbsCentred
from ensemble.problem.draws import full_space
from ensemble.problem.inputs import InputLaw
from ensemble.problem.models import DeepLinear, SingularMap
from ensemble.problem.risks import LinearRisk
from ensemble.problem.risks.other_inputs import sphere_share
from tests.helpers import assert_same_members

d = 5
MEANS = [[2.0, 0.0, 0.0, 0.0, 0.5], [-1.0, 1.0, 0.0, 0.0, 0.0]]
FEATURES = Path(__file__).parent / "data" / "features.npy"
"""200 rows of five correlated numbers, none of them normal."""
EXAMPLES = {
    "features": {"path": str(FEATURES), "held_out": 40},
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
    if name == "features":
        rows = np.load(FEATURES)[:160]
        mean, cov = rows.mean(axis=0), np.cov(rows.T, bias=True)
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
    *(("sphere", a) for a in ("relu", "abs", "linear", "square", "abs_centred", "relu_even", "leaky_relu")),
    *(("anisotropic", a) for a in ("relu", "abs_centred", "relu_even", "erf", "square")),
    *((n, a) for n in ("rademacher", "uniform", "student_t") for a in ("linear", "square")),
    *(("mixture", a) for a in ("relu", "linear", "erf", "h3", "sin")),
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
    same = activation in ("relu", "abs", "linear", "leaky_relu") and name not in ("anisotropic", "mixture")
    away = abs(float(ens.population_loss(student, teacher)) - float(value))
    told = away < 1e-13 if same else away > 4.5 * error
    assert told, "the Gaussian value would be told from it, where it is another one"
    step = jax.tree.map(lambda g: 1e-6 * g, slope)
    up, down = (
        float(risk.value(jax.tree.map(lambda w, s, sign=sign: w + sign * s, student, step))) for sign in (1, -1)
    )
    square = sum(float(jnp.sum(g * g)) for g in jax.tree.leaves(slope))
    assert (up - down) / 2e-6 == pytest.approx(square, rel=1e-6)


def test_a_table_is_the_activation_that_it_names():
    for inputs, kind in (("sphere", "relu"), ("rademacher", "square"), ("sphere", "leaky_relu")):
        made = study(inputs, activation={"kind": kind}, data={"inputs": inputs})
        assert made.points[0].cell.is_exact, (inputs, kind)


def test_an_activation_that_knows_the_norm_has_no_loss_but_the_gaussian():
    class Less(AbsCentred):
        name: ClassVar[str] = "less"

        def __call__(self, preactivation, norm):
            return jnp.abs(preactivation) - 0.3 * norm

    teacher = SimpleNamespace(sigma=Less())
    for name in ("sphere", "anisotropic"):
        assert "with activation less" in REGISTRY["inputs"][name](**EXAMPLES[name]).population_refusal(None, teacher)


@pytest.mark.parametrize("name", ["sphere", "rademacher", "student_t", "anisotropic", "mixture"])
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


@pytest.mark.parametrize(
    ("name", "activation"),
    [("sphere", "square"), ("anisotropic", "relu"), ("uniform", "square"), ("mixture", "relu")],
)
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


@pytest.mark.long
def test_samples_without_a_closed_form_are_trained_on_and_scored():
    for name in ("mixture",):
        s = study({"kind": name} | EXAMPLES[name], "gelu", sampled=True, records=3)
        ds = ens.run(s)
        assert np.all(np.isfinite(ds["loss"])) and np.all(ds["loss_error"] > 0)
        x, y = ens.sample(s, 1)
        np.testing.assert_allclose(y, ens.initial(s, 1)[1](x), rtol=1e-12)


def test_clusters_are_trained_on_in_single_precision():
    """Their loss is that of doubles to the rounding of singles."""
    inputs = {"kind": "mixture"} | EXAMPLES["mixture"]
    single, double = (ens.run(study(inputs, precision=precision)) for precision in ("float32", "float64"))
    assert single["loss"].dtype == np.float32
    np.testing.assert_allclose(single["loss"], double["loss"], rtol=1e-4)


def test_a_test_sample_that_nothing_is_scored_on_is_told():
    inputs = {"kind": "mixture"} | EXAMPLES["mixture"]
    with pytest.warns(ens.StudyWarning, match=r"data\.test_samples: got 50, and no cell has a test sample"):
        study(inputs, data={"inputs": inputs, "samples": 20, "test_samples": 50})
    study(inputs, "gelu", data={"inputs": inputs, "samples": 20, "test_samples": 50})


def test_members_of_clusters_depend_on_no_neighbour():
    s = study({"kind": "mixture"} | EXAMPLES["mixture"], records=3, store_weights=True, seeds=9)
    assert_same_members(ens.run(s.replace(seeds=1)), ens.run(s))


def test_many_clusters_take_the_memory_of_one():
    """A thousand of them: 8 MB for all pairs of neurons, and a few arrays of one cluster's beside the teachers."""
    rng = np.random.default_rng(3)
    part = REGISTRY["inputs"]["mixture"](means=rng.normal(size=(1000, d)).tolist())
    student = ens.TwoLayer(rng.normal(size=32), rng.normal(size=(32, d)), "erf")
    risk = part.population(ens.PopulationRisk.of(networks("erf")[1]), d)
    compiled = eqx.filter_jit(lambda risk, model: risk.value_and_gradient(model)).lower(risk, student).compile()
    assert compiled.compiled.memory_analysis().temp_size_in_bytes < 1000 * 32 * 32 * 8 / 4


def test_losses_that_an_earlier_version_estimated_stay_what_they_are(tmp_path, monkeypatch):
    """A directory of before the closed form: it opens as it was written, and is not gone on with."""
    part, s = REGISTRY["inputs"]["mixture"], study({"kind": "mixture"} | EXAMPLES["mixture"], sampled=True, records=3)
    with monkeypatch.context() as before:
        before.setattr(part, "population_refusal", lambda self, student, teacher: "")
        before.setattr(part, "population", lambda self, risk, inputs: None)
        written = ens.run(study(s.data.inputs, sampled=True, records=3), tmp_path).load()
    with ens.open_dataset(tmp_path) as ds:
        assert ds["loss"].attrs["comment"].startswith("estimated on a test sample of 10,000, each member's own")
        assert_same_members(ds, written)
        assert np.all(ds["loss_error"] > 0) and "record" in ds["loss_error_history"].dims
    exact = ens.run(s)
    assert "loss_error" not in exact and np.any(exact["loss"] != written["loss"])
    assert_same_members(ens.run(s, tmp_path), written)  # it is whole: nothing is computed
    with pytest.raises(
        ens.StoreError, match=r"estimated on a test sample, and this one knows exactly: .* overwrite=True"
    ):
        ens.run(s.replace(seeds=3), tmp_path)


def test_a_step_that_knows_the_dimension_is_taken_in_all_of_them():
    found = {}
    for name in ("information_exponent", "harder_indices"):
        made = ens.Study.from_toml(f"studies/{name}.toml").replace(data=None)
        cell = made.points[0].cell
        found[name] = made.space(cell) == full_space(cell.inputs)
    assert found == {"information_exponent": False, "harder_indices": True}


@pytest.fixture
def features(tmp_path) -> ens.Study:
    shutil.copy(FEATURES, tmp_path / "x.npy")
    inputs = {"kind": "features", "path": str(tmp_path / "x.npy"), "held_out": 40, "replacement": False}
    return study(inputs, sampled=True, records=[0], store_weights=True)


@pytest.mark.long
def test_features_are_drawn_from_their_rows_and_scored_on_those_held_out(features, tmp_path):
    table = np.load(FEATURES)
    with connected("local", 1) as client:
        ds = run_on_cluster(features, tmp_path / "run", client)
    assert ds["loss"].attrs["comment"].startswith("estimated on a test sample of 40, rows that no member is trained on")
    assert_same_members(ds, ens.run(features))
    drawn = []
    for seed in range(2):
        x, y = map(np.asarray, ens.sample(features, seed))
        drawn.append([int(np.flatnonzero((table == row).all(axis=1))[0]) for row in x])
        assert len(set(drawn[-1])) == 20 and max(drawn[-1]) < 160, "each row once, and none that is held out"
        one = ds.sel(seed=seed)
        student, teacher = ens.network(one), ens.network(one, "teacher")
        np.testing.assert_allclose(y, teacher(x), rtol=1e-12)
        terms = 0.5 * np.asarray(student(table[160:]) - teacher(table[160:])) ** 2
        assert float(one["loss"]) == pytest.approx(terms.mean(), rel=1e-12)
        assert float(one["loss_error"]) == pytest.approx(terms.std(ddof=1) / np.sqrt(40), rel=1e-9)
    assert drawn[0] != drawn[1]
    ds.close()


def test_features_that_changed_are_refused_and_a_dataset_needs_none(features, tmp_path):
    digest = hashlib.sha256(FEATURES.read_bytes()).hexdigest()
    assert features.resolved()["data"]["inputs"]["digest"] == digest
    ens.run(features.replace(probes=["grad_norm"]), out=tmp_path / "run").close()
    changed = np.load(FEATURES)
    changed[0, 0] += 1e-12
    np.save(tmp_path / "x.npy", changed)
    with pytest.raises(ens.StudyError, match=r"data.inputs.path: got .*x.npy', whose digest is .* and was .* when the"):
        ens.Study(**features.resolved())
    (tmp_path / "x.npy").unlink()
    with ens.open_dataset(tmp_path / "run") as ds:
        assert bool(ds.attrs["complete"])
    with pytest.raises(ens.StudyError, match=r"data.inputs.path: got .*x.npy', which is not there"):
        ens.reproduce(tmp_path / "run", {"seed": 1})


def test_features_of_a_netcdf_file_are_those_of_the_same_matrix(tmp_path):
    table = np.load(FEATURES)
    xr.Dataset({"x": (("row", "k"), table), "z": ("row", table[:, 0])}).to_netcdf(tmp_path / "x.nc")
    law = InputLaw.of(REGISTRY["inputs"]["features"](path=str(tmp_path / "x.nc"), variable="x", held_out=40), d)
    np.testing.assert_array_equal(law.rows(fixed_key(3), 50, jnp.float64), sampled("features", 50))
    for variable, words in (
        ("", "variable: is missing; .* has x, z"),
        ("z", r"path: got .* an array of shape \(200,\)"),
    ):
        with pytest.raises(ValueError, match=words):
            study({"kind": "features", "path": str(tmp_path / "x.nc"), "variable": variable}, sampled=True)


def holes() -> np.ndarray:
    table = np.ones((5, d))
    table[3, 1] = np.nan
    return table


@pytest.mark.parametrize(
    ("table", "fields", "data", "words"),
    [
        (np.ones(5), {}, {}, r"data.inputs.path: got .* with an array of shape \(5,\) and type float64; give a matrix"),
        (np.array([["a"] * d] * 3), {}, {}, r"path: got .* an array of shape \(3, 5\) and type <U1; give a matrix"),
        (holes(), {}, {}, r"path: got .* with nan in row 3, column 1; give finite numbers"),
        (np.ones((5, 4)), {}, {}, r"path: got .* with rows of 4 numbers for 5 inputs; set teacher.inputs = 4"),
        (
            np.ones((2**20, d), np.int8),
            {},
            {},
            r"path: got .* 1,048,576 rows of 5 .*; at most 4,194,304 .* 838,860",
        ),
        (np.ones((5, d)), {"held_out": 5}, {}, r"held_out: got 5 of 5 rows, which leaves none for samples"),
        (
            np.ones((9, d)),
            {"replacement": False},
            {},
            r"data.samples: got 20 without replacement of 7 rows",
        ),
        (
            np.ones((9, d)),
            {"replacement": False},
            {"online": True, "samples": None},
            r"data.online: got true with inputs.replacement = false",
        ),
        (np.ones((9, d)), {}, {"test_samples": 5}, r"data.test_samples: got 5 with features, .*; set inputs.held_out"),
        (None, {}, {}, r"path: got .*, which is no array of numbers saved by numpy.save"),
        (np.ones((9, d)), {"paths": 1}, {}, r"data.inputs.paths: unknown field; did you mean 'path'"),
    ],
)
def test_features_that_cannot_be_drawn_from_are_refused(table, fields, data, words, tmp_path):
    if table is None:
        (tmp_path / "x.npy").write_text("1, 2, 3")
    else:
        np.save(tmp_path / "x.npy", table)
    inputs = {"kind": "features", "path": str(tmp_path / "x.npy")} | fields
    with pytest.raises(ens.StudyError, match=words):
        study(inputs, data={"inputs": inputs, "samples": 20} | data)


@pytest.mark.parametrize(
    ("inputs", "activation", "is_sampled", "changes", "words"),
    [
        ({"kind": "student_t", "freedom": 2.0}, "relu", True, {}, r"data.inputs.freedom: got 2 degrees.* no variance"),
        *(
            ({"kind": "student_t", "freedom": freedom}, activation, True, {}, words)
            for freedom, activation, words in (
                (4.0, "square", r"data.inputs: got 'student_t', of which moments of order 4 .* activation square"),
                (3.0, {"kind": "square"}, r"moments of order 3 are infinite, with activation square, .* of order 4;"),
                (6.0, "h3", r"moments of order 6 are infinite, with activation h3, .* of order 6; take lighter tails"),
                (5.0, {"kind": "polynomial", "coefficients": [0.0, 1.0, 0.0, 1.0, 0.0]}, r"polynomial, .* of order 6;"),
            )
        ),
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
            r"with activation erf: there is one for 1-homogeneous ones of wᵀx alone .*, square, abs_centred, relu_even",
        ),
        (
            {"kind": "mixture", "means": MEANS},
            "gelu",
            False,
            {},
            r"data.samples: is missing; .* form with activation gelu: there is one for relu, .*: give samples = n",
        ),
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
