"""Activations without homogeneity: series against closed kernels and sampling, choice by tables, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ensemble as ens
from ensemble.problem.activations import ACTIVATIONS, GELU, Erf, LeakyReLU, Polynomial, Tanh, activation
from ensemble.problem.risks import kernel
from tests.studies import small

SERIES = [n for n, sigma in ACTIVATIONS.items() if isinstance(sigma, ens.AbstractSeries)]


class _Series(ens.AbstractSeries):
    """The series of an activation with a closed kernel."""

    name = "series"
    symmetry = "ray"
    homogeneous = False

    def __call__(self, preactivation, norm):
        return self.of(preactivation, norm)


class ErfSeries(_Series):
    of = ACTIVATIONS["erf"]


class SquareSeries(_Series):
    of = ACTIVATIONS["square"]


class GELUSeries(_Series):
    of = ACTIVATIONS["gelu"]


class CubicSeries(_Series):
    of = Polynomial((0.3, -1.0, 0.5, 0.2))


class Elu(_Series):
    def __call__(self, preactivation, norm):
        return jax.nn.elu(preactivation, 0.5)


class Wild(_Series):
    def __call__(self, preactivation, norm):
        return jnp.exp(preactivation**2)


def pairs(rng):
    """Norms up to 2, neurons that are duplicated, opposite, short and zero: (gram, norms, norms)."""
    W = rng.normal(size=(6, 3))
    W *= (np.array([2.0, 1.5, 1.0, 0.5, 0.01, 0.0]) / np.linalg.norm(W, axis=1))[:, None]
    V = np.concatenate([W, -W[:2], 0.5 * W[:1]])
    return jnp.asarray(W @ V.T), *(jnp.asarray(np.linalg.norm(x, axis=1)) for x in (W, V))


@pytest.mark.parametrize("series", [ErfSeries, SquareSeries, GELUSeries, CubicSeries], ids=lambda s: s.__name__)
def test_series_agree_with_closed_kernels_within_the_stated_error(series, rng):
    gram, norm_w, norm_v = pairs(rng)
    at = gram, norm_w[:, None], norm_v[None, :]
    every = jax.jit(lambda sigma, at: (sigma.dual(*at), *sigma.dual_slopes(*at)), static_argnums=0)
    found, truth = every(series(), at), every(series.of, at)
    for mine, closed in zip(found, truth, strict=True):
        # Relative to the largest value, as the error of a series is stated.
        np.testing.assert_allclose(mine, closed, atol=1e-12 * max(1.0, float(jnp.abs(closed).max())), rtol=0)
    # Companion: a series of a larger error is off by more.
    coarse = jax.jit(series(error=1e-3).dual)(*at) if series in (ErfSeries, GELUSeries) else found[0] + 1e-9
    assert float(jnp.abs(coarse - truth[0]).max()) > 1e-11


@pytest.mark.parametrize("name", SERIES)
def test_series_agree_with_two_dimensional_quadrature(name):
    """Gauss–Hermite in the plane of two neurons, where its 200² nodes have converged: an independent path."""
    sigma = ACTIVATIONS[name]
    z, weights = np.polynomial.hermite_e.hermegauss(200)
    weights /= weights.sum()
    s, t, rho = 0.6, 0.5, 0.7
    u, v = s * z[:, None], t * (rho * z[:, None] + np.sqrt(1 - rho**2) * z[None, :])

    def value(x):
        return sigma(x, jnp.abs(x))

    slope = jax.vmap(jax.grad(value))
    second = jax.vmap(jax.grad(lambda x: jax.grad(value)(x)))

    def mean(left, right):
        U, V = (np.asarray(f(jnp.asarray(x.ravel()))).reshape(x.shape) for f, x in ((left, u), (right, v)))
        return float(weights @ (U * V) @ weights)

    at = (jnp.asarray(rho * s * t), jnp.asarray(s), jnp.asarray(t))
    K, (radial, along) = jax.jit(lambda *at: (sigma.dual(*at), sigma.dual_slopes(*at)))(*at)
    np.testing.assert_allclose(K, mean(value, value), rtol=1e-12)
    np.testing.assert_allclose(along, mean(slope, slope), rtol=1e-12)
    np.testing.assert_allclose(radial, mean(second, value), atol=1e-12)


@pytest.mark.parametrize("sigma", ["gelu", "tanh", Polynomial((0.1, 0.5, 0.0, -0.3))], ids=str)
def test_losses_against_sampling_and_gradients_against_autodiff(sigma, rng):
    sizes = ((4,), (4, 3), (2,), (2, 3))
    a, W, teacher_a, teacher_W = (rng.normal(size=size) * 0.5 for size in sizes)
    W[1], teacher_W[0] = W[0], -W[0]
    student, teacher = ens.TwoLayer(a, W, sigma), ens.TwoLayer(teacher_a, teacher_W, sigma)
    x = jnp.asarray(rng.normal(size=(200_000, 3)))
    samples = 0.5 * (student(x) - teacher(x)) ** 2
    error = float(jnp.std(samples)) / np.sqrt(len(x))
    assert abs(float(jnp.mean(samples)) - float(jax.jit(ens.population_loss)(student, teacher))) < 5 * error
    loss = jax.jit(ens.population_loss)
    closed, automatic = jax.jit(ens.population_gradient)(student, teacher), jax.jit(jax.grad(loss))(student, teacher)
    np.testing.assert_allclose(automatic.W, closed.W, atol=1e-13)
    step = 1e-5
    for i, k in ((0, 0), (3, 2)):
        up, down = W.copy(), W.copy()
        up[i, k] += step
        down[i, k] -= step
        ends = [float(loss(ens.TwoLayer(a, w, sigma), teacher)) for w in (up, down)]
        # Central difference: h² times a third derivative, and rounding over h.
        assert abs((ends[0] - ends[1]) / (2 * step) - float(closed.W[i, k])) < 1e-9


def test_a_longer_neuron_than_the_series_serves_is_no_number(rng):
    W = jnp.asarray([[2.0, 0.0], [0.0, 2.1]])
    K = jax.jit(kernel, static_argnums=0)(ACTIVATIONS["tanh"], W, W)
    assert bool(jnp.isfinite(K[0, 0])) and bool(jnp.isnan(K[0, 1])) and bool(jnp.isnan(K[1, 1]))
    wide = jax.jit(kernel, static_argnums=0)(Tanh(largest_norm=2.5, error=1e-9), W, W)
    np.testing.assert_allclose(wide[0, 0], K[0, 0], rtol=1e-9)
    assert bool(jnp.all(jnp.isfinite(wide)))


@pytest.mark.parametrize(
    ("sigma", "why"),
    [
        (Elu(), "1024 terms leave"),
        (Elu(error=1e-4), "it has a kink or a step"),
        (Wild(), "is not finite"),
        (Tanh(largest_norm=6.0), "lower largest_norm, state a larger error"),
    ],
)
def test_an_error_that_cannot_be_reached_is_refused(sigma, why):
    with pytest.raises(ValueError, match=r"Hermite series cannot have the error .* for norms up to .*" + why):
        sigma.check()


def changed(**teacher):
    return small(
        teacher={"kind": "orthonormal", "neurons": 2, "inputs": 3} | teacher,
        axes={},
        probes=["loss"],
        protocol={"kind": "plain", "step_size": 0.1, "steps": 60},
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("tanhh", "did you mean 'tanh'"),
        ("polynomial", r"got 'polynomial' without coefficients; give a table, \{kind = \"polynomial\""),
        ({"slope": 0.1}, "kind: is missing"),
        ({"kind": "leaky_relu", "slop": 0.1}, "slop: unknown field; did you mean 'slope'"),
        ({"kind": "erf", "slope": 0.1}, "slope: unknown field; erf has none"),
        ({"kind": "leaky_relu", "slope": "steep"}, "slope: got 'steep'; give a number"),
        ({"kind": "leaky_relu", "slope": -1}, "take the activation abs"),
        ({"kind": "polynomial", "coefficients": [1.0]}, r"got \(1.0,\), a constant"),
        ({"kind": "polynomial", "coefficients": [0.0] * 13 + [1.0]}, "a degree of 13; at most 12"),
        ({"kind": "tanh", "largest_norm": 0.0}, "largest_norm: got 0.0; give a positive number"),
        ({"kind": "tanh", "error": 1e-16}, "sums in float64 reach 1e-14"),
        ({"kind": "tanh", "largest_norm": 9.0}, "got 'tanh', whose Hermite series .* 1024 terms leave"),
        ({"kind": "tanh", "largest_norm": 0.5}, "a row of the teacher has norm 1; say activation"),
        (3, "got 3; give a name, or a table"),
    ],
    ids=str,
)
def test_what_is_refused_of_a_choice(value, message):
    with pytest.raises(ens.StudyError, match=r"^teacher\.activation(\.|: )(?!activation).*" + message):
        changed(activation=value)


@pytest.mark.long
def test_a_table_is_kept_in_the_study_and_its_numbers_may_be_an_axis():
    study = changed(activation={"kind": "leaky_relu", "slope": 0.2}).replace(
        axes={"leak": {"field": "teacher.activation.slope", "values": [0.0, 0.2]}}
    )
    assert ens.Study.from_json(study.text).hash == study.hash
    ds = ens.run(study)
    assert ds.attrs["engine"] == "simd"
    assert ens.network(ds.sel(leak=0.2)).activation == LeakyReLU(0.2)
    again = ens.run(study.only(leak=[0.2]), engine="xla")
    np.testing.assert_allclose(again["W"], ds["W"].sel(leak=[0.2]), atol=1e-12)
    assert float(np.abs(ds["W"].sel(leak=0.2) - ds["W"].sel(leak=0.0)).max()) > 1e-3


def test_leaky_relu_by_four_numbers():
    rho = jnp.linspace(-1.0, 1.0, 41)
    # A slope of 0 is relu, by another sum of κ_abs and a linear part.
    for leaky, relu in zip(LeakyReLU(0.0).kappa_slopes(rho), ACTIVATIONS["relu"].kappa_slopes(rho), strict=True):
        np.testing.assert_allclose(leaky, relu, atol=2e-16)
    p0, p1, q0, q1 = LeakyReLU(0.2).four_numbers()
    remainder, slope = LeakyReLU(0.2).kappa_slopes(rho)
    np.testing.assert_allclose(p0 + p1 * np.arcsin(rho), slope, atol=3e-16)
    np.testing.assert_allclose(q0 + q1 * np.sqrt((1 - rho) * (1 + rho)), remainder, atol=3e-16)


def test_descent_on_a_series_is_that_on_the_closed_kernel():
    class Own(ErfSeries):
        name = "own_erf"

    ens.register(Own)
    found, closed = (ens.run(changed(activation=name)) for name in ("own_erf", "erf"))
    np.testing.assert_allclose(found["loss"], closed["loss"], atol=1e-12)
    np.testing.assert_allclose(found["W"], closed["W"], atol=1e-11)
    assert found.attrs["engine"] == "xla"


def test_a_member_with_a_too_long_neuron_ends_as_diverged():
    study = changed(activation="tanh").replace(
        teacher={
            "kind": "given",
            "activation": {"kind": "tanh", "largest_norm": 1.2},
            "a": [4.0],
            "W": [[1.1, 0.0, 0.0]],
        },
        protocol={"kind": "plain", "step_size": 0.3, "steps": 200},
        student={"neurons": 1, "start": {"kind": "given", "a": [1.0], "W": [[1.0, 0.3, 0.0]]}},
    )
    ds = ens.run(study)
    assert np.all(ds["status"] == ens.STATUS["diverged"])
    assert np.all(np.isnan(ds["loss"])) and np.all(np.linalg.norm(ds["W"], axis=-1) > 1.2)
    assert np.all(ds["stop_step"] > 0) and np.all(np.isfinite(ds["loss_history"].isel(record=0)))


@pytest.mark.parametrize("data", [{"samples": 6}, {"online": True}], ids=str)
def test_so_does_one_that_trains_on_samples_beyond_where_its_loss_is_known(data):
    rows = [[1.9, 0.0, 0.0]]
    study = changed(activation="tanh").replace(
        data=data | {"noise": 0.1},
        probes=["loss", "mass"],
        protocol={"kind": "plain", "step_size": 0.05, "steps": 20},
        student={"neurons": 1, "start": {"kind": "given", "a": [1.0], "W": rows}},
        axes={"largest_norm": {"values": [1.91, 2.3], "field": "teacher.activation.largest_norm"}},
        teacher={
            "kind": "given",
            "activation": {"kind": "tanh", "largest_norm": 2.3},
            "a": [3.0],
            "W": [[0.0, 1.5, 0.0]],
        },
        seeds=4,
    )
    ds = ens.run(study)
    long = (np.linalg.norm(ds["W"], axis=-1) > 1.91 * (1 + 1e-8)).reshape(2, 4)
    assert long[0].any(), "some outgrow the shorter series"
    np.testing.assert_array_equal(np.isnan(ds["loss"])[0], long[0])
    np.testing.assert_array_equal(ds["status"] == ens.STATUS["diverged"], [long[0], [False] * 4])
    assert np.all(np.isfinite(ds["mass"])) and np.all(np.isfinite(ds["loss"][1]))
    np.testing.assert_array_equal(ds["W"][0], ds["W"][1], "training does not know the series")


def test_inputs_that_stretch_rows_beyond_the_series_are_said():
    words = r"got eigenvalues up to 4\.84, under which .* of up to 2\.2, with the activation tanh"
    with pytest.warns(ens.StudyWarning, match=words):
        changed(activation="tanh").replace(data={"inputs": {"kind": "anisotropic", "spectrum": [4.84, 1.0, 0.1]}})


def test_names_and_tables_give_the_same_instance():
    assert activation("erf") == Erf() and activation({"kind": "gelu"}) == GELU()
    assert activation({"kind": "leaky_relu", "slope": 0}) == LeakyReLU(0.0) != LeakyReLU(0.1)
    assert Polynomial((0.0, 0.0, 1.0)).symmetry == "line" and Polynomial((0.0, 1.0)).symmetry == "ray"
