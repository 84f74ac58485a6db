"""The Hessian: finite differences of the closed gradient, its singular places, Lanczos beside the whole matrix."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import analysis
import ensemble as ens
from analysis.two_layer import hessian as module
from ensemble.problem.activations import Polynomial
from tests.helpers import seldom

gradient_of = eqx.filter_jit(ens.population_gradient)


def pair(sigma: str, m: int = 4, key: int = 0) -> tuple[ens.TwoLayer, ens.TwoLayer]:
    sigma = Polynomial((0.1, 0.5, 0.2)) if sigma == "polynomial" else sigma
    generator = np.random.default_rng(key)
    student = ens.TwoLayer(generator.standard_normal(m), generator.standard_normal((m, 3)), sigma)
    return student, ens.TwoLayer(generator.standard_normal(2), generator.standard_normal((2, 3)), sigma)


OTHERS = (
    *("abs", "gelu", "h2", "h3", "leaky_relu", "linear", "relu_even", "sigmoid", "silu", "sin", "softplus", "square"),
)


@pytest.mark.parametrize("sigma", seldom(sorted(ens.ACTIVATIONS), *OTHERS))
def test_hessian_is_the_gradient_s_derivative(sigma):
    student, teacher = pair(sigma)
    H = np.asarray(module.hessian(student, teacher, 0.3))
    x = np.concatenate([student.a, np.ravel(student.W)])

    def gradient(x):
        at = ens.TwoLayer(x[:4], x[4:].reshape(4, 3), student.activation)
        slope = gradient_of(at, teacher)
        return np.concatenate([slope.a, np.ravel(slope.W)]) + 0.3 * x

    h = 1e-5
    differences = np.array([(gradient(x + h * e) - gradient(x - h * e)) / (2 * h) for e in np.eye(len(x))])
    # Central differences: an error of h² times third derivatives, and of rounding over h.
    np.testing.assert_allclose(H, differences, atol=2e-8)
    np.testing.assert_array_equal(H, H.T)
    for layers, part in (("output", slice(0, 4)), ("first", slice(4, None))):
        np.testing.assert_allclose(module.hessian(student, teacher, 0.3, layers), H[part, part], atol=1e-14)


@pytest.mark.parametrize("sigma", ["relu", "abs_centred"])
def test_duplicated_opposite_and_zero_neurons(sigma):
    teacher = ens.TwoLayer([1.0, 0.5], [[1.0, 0.0], [0.6, 0.8]], sigma)
    W = np.array([[1.0, 0.0], [2.0, 0.0], [-1.5, 0.0], [0.0, 0.0]])
    student = ens.TwoLayer([0.7, 0.4, 0.2, 0.0], W, sigma)
    H = np.asarray(module.hessian(student, teacher))
    assert np.all(np.isfinite(H))
    # The blocks are continuous where neurons are parallel: a nearby student has nearly the same.
    near = ens.TwoLayer(student.a, W + 1e-7 * np.array([[0, 1.0], [0, -1], [0, 1], [0, 0]]), sigma)
    np.testing.assert_allclose(np.asarray(module.hessian(near, teacher)), H, atol=1e-5)


def test_lanczos_finds_the_ends(monkeypatch):
    student, teacher = pair("relu", m=9, key=1)
    dense = analysis.hessian_eigenvalues(student, teacher, 0.1)
    monkeypatch.setattr(module, "_DENSE", 5)
    assert analysis.hessian_eigenvalues(student, teacher, 0.1) == pytest.approx(dense, rel=1e-9, abs=1e-11)


def test_teacher_is_a_minimum_and_its_merged_copy_flat():
    teacher = ens.TwoLayer(jnp.ones(3), jnp.eye(3), "relu")
    lowest, highest = analysis.hessian_eigenvalues(teacher, teacher, layers="first")
    assert lowest > 1e-3 and highest > lowest
    # Scaling a up and w down leaves the function: three flat directions where both layers move.
    values = np.linalg.eigvalsh(np.asarray(module.hessian(teacher, teacher)))
    assert np.sum(np.abs(values) < 1e-12) == 3


def test_products_vmap():
    student, teacher = pair("relu")
    many = jax.tree.map(lambda x: jnp.stack([x, 2.0 * x]), student)
    product = jax.vmap(lambda s: module.hessian_product(s, teacher, s))(many)
    alone = module.hessian_product(student, teacher, student)
    np.testing.assert_allclose(product.W[0], alone.W, rtol=1e-13)
