"""Losses under other inputs: against samples of them, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

import analysis
import ensemble as ens
from analysis.uses.shift import _loss, mean_scale, root, spectrum
from ensemble.problem.models import DeepLinear
from tests.test_robustness import linear_study, pair


@pytest.mark.parametrize("name", ["relu", "abs_centred", "relu_even", "erf"])
def test_shifted_losses_are_those_of_samples(name, rng):
    """Inputs s Σ^{1/2} z with a turned Σ and Student's s (none for erf), 4 standard errors."""
    student, teacher = pair(name)
    tails = None if name == "erf" else 5.0
    sqrt = root(9.0, 4, True)
    exact = float(_loss(student, teacher, sqrt, mean_scale(tails)))
    count = 200_000
    s = 1.0 if tails is None else np.sqrt((tails - 2) / rng.chisquare(tails, size=(count, 1)))
    x = s * (rng.normal(size=(count, 4)) @ np.asarray(sqrt))
    sigma = {"erf": lambda z, n: scipy.special.erf(z / np.sqrt(2)), "relu": lambda z, n: np.maximum(z, 0)}
    sigma |= {"abs_centred": lambda z, n: np.abs(z) - np.sqrt(2 / np.pi) * n}
    sigma |= {"relu_even": lambda z, n: 0.5 * sigma["abs_centred"](z, n)}

    def values(net):
        norms = np.linalg.norm(net.W, axis=1)
        return sigma[name](x @ np.asarray(net.W).T, norms) @ np.asarray(net.a)

    terms = 0.5 * (values(student) - values(teacher)) ** 2
    error = terms.std() / np.sqrt(count)
    assert abs(terms.mean() - exact) < 4 * error
    # The companion: the loss under N(0, I) is another one.
    assert abs(float(ens.population_loss(student, teacher)) - exact) > 8 * error


def test_the_spectrum_and_the_scale():
    np.testing.assert_allclose(spectrum(16.0, 3) / spectrum(16.0, 3)[2], [16.0, 4.0, 1.0], rtol=1e-14)
    assert spectrum(16.0, 5).mean() == pytest.approx(1.0, rel=1e-15) and spectrum(7.0, 1).tolist() == [1.0]
    turned = np.asarray(root(16.0, 3, True))
    np.testing.assert_allclose(np.linalg.eigvalsh(turned @ turned), spectrum(16.0, 3)[::-1], rtol=1e-12)
    for nu in (2.5, 5.0, 40.0):
        expected = scipy.stats.chi2(nu).expect(lambda q, nu=nu: np.sqrt((nu - 2) / q), epsabs=1e-12)
        assert mean_scale(nu) == pytest.approx(expected, rel=1e-6)
    assert mean_scale(None) == 1.0


def test_linear_maps_by_hand():
    nets = [DeepLinear([jnp.diag(jnp.array(values))]) for values in ([2.0, 1.0], [0.0, 0.0])]
    # ½(λ₁ 2² + λ₂ 1²) of eigenvalues (1.6, 0.4), whatever the tails are.
    assert float(_loss(*nets, root(4.0, 2, False), 0.7)) == pytest.approx(0.5 * (1.6 * 4 + 0.4), rel=1e-14)


@pytest.fixture(scope="module")
def linear():
    return ens.run(linear_study(seeds=2, coordinates="full"))


def test_of_a_dataset(linear):
    found = analysis.shifted_loss(linear, [9.0, 1.0], turned=True)
    assert found["condition_number"].values.tolist() == [1.0, 9.0] and found.attrs["turned"] == 1
    np.testing.assert_allclose(found["shifted_loss"].sel(condition_number=1.0), linear["loss"], rtol=1e-12)
    np.testing.assert_allclose(found["shift_ratio"].sel(condition_number=1.0), 1.0, rtol=1e-12)
    one = linear.sel(seed=1)
    error = one["a"].values @ one["W"].values - one["teacher_a"].values @ one["teacher_W"].values
    expected = 0.5 * np.sum((error @ np.asarray(root(9.0, 4, True))) ** 2)
    assert float(found["shifted_loss"].sel(seed=1, condition_number=9.0)) == pytest.approx(expected, rel=1e-12)
    # A linear map feels no tails.
    heavy = analysis.shifted_loss(linear, [9.0], turned=True, tails=3.0)
    np.testing.assert_allclose(heavy["shifted_loss"][:, 0], found["shifted_loss"][:, 1], rtol=1e-12)
    assert "Student t of 3 degrees" in analysis.shift_picture(heavy).axes[0].get_title().replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"conditions": [0.5]}, r"conditions: got 0.5; give finite condition numbers, 1 or more"),
        ({"conditions": []}, r"conditions: got none"),
        ({"conditions": [4.0, 4.0]}, r"conditions: got \[4.0, 4.0\]; give every one once"),
        ({"tails": 2.0}, r"tails: got 2.0; a Student t of variance 1 needs more than 2"),
    ],
)
def test_what_is_no_shift_is_refused(linear, arguments, said):
    with pytest.raises(ValueError, match=said):
        analysis.shifted_loss(linear, **arguments)


def test_networks_that_cannot_be_shifted_are_refused(linear):
    reduced = linear.assign(coordinates=linear["coordinates"] - 1)
    with pytest.raises(ValueError, match="coordinates: got rows in reduced ones, whose axes are not"):
        analysis.shifted_loss(reduced)
    with pytest.raises(ValueError, match="W: the shifted loss needs the weights"):
        analysis.shifted_loss(linear.drop_vars(["a", "W"]))
    with pytest.raises(ValueError, match=r"result: got a dataset without shifted_loss; pass that of analysis"):
        analysis.shift_picture(linear)


def test_a_smooth_activation_has_no_tails(linear):
    smooth = linear.assign_attrs(study=linear.attrs["study"].replace('"linear"', '"erf"'))
    with pytest.raises(ValueError, match=r"tails: got 5 with activation erf, of which f\(sx\) is not s f\(x\)"):
        analysis.shifted_loss(smooth, tails=5.0)
