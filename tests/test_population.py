"""Dual kernels, population loss and gradient: against 50-digit arithmetic, sampling and each other."""

import itertools

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import ensemble as ens
from ensemble.problem.activations import ACTIVATIONS, AbstractHomogeneous
from ensemble.problem.risks import UnitRowsRisk, kernel
from tests import reference

NAMES = reference.CLOSED
HOMOGENEOUS = tuple(n for n, s in ACTIVATIONS.items() if isinstance(s, AbstractHomogeneous))


def random_pair(rng, name, m=5, teacher=3, d=4, degenerate=False):
    a, W = rng.normal(size=m), rng.normal(size=(m, d))
    teacher_a, teacher_W = rng.normal(size=teacher), rng.normal(size=(teacher, d))
    if degenerate:
        W[1] = W[0]  # duplicated
        W[2] = -W[0]  # opposite
        W[3] = 0.0  # zero
        teacher_W[0] = W[0]  # on a teacher
        teacher_W[1] = -2.0 * teacher_W[0]
    return ens.TwoLayer(a, W, name), ens.TwoLayer(teacher_a, teacher_W, name)


@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_kappa_against_mpmath(name):
    near = np.logspace(-16, -1, 60)
    rho = np.unique(np.concatenate([np.linspace(-1, 1, 401), 1 - near, near - 1, near, -near]))
    values = ACTIVATIONS[name].kappa(jnp.asarray(rho))
    errors = [abs(mp.mpf(float(v)) - reference.kappa(name, float(r))) for v, r in zip(values, rho, strict=True)]
    assert max(errors) <= 1e-15


@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_kappa_slopes_against_mpmath(name):
    for rho in (-0.999, -0.5, -1e-3, 0.0, 0.2, 0.7, 0.9999):
        remainder, slope = ACTIVATIONS[name].kappa_slopes(jnp.asarray(rho))
        true_slope = mp.diff(lambda r: reference.kappa(name, r), mp.mpf(rho))
        true_remainder = reference.kappa(name, mp.mpf(rho)) - mp.mpf(rho) * true_slope
        assert abs(float(slope) - true_slope) <= 1e-15
        assert abs(float(remainder) - true_remainder) <= 1e-15


@pytest.mark.parametrize("degenerate", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_loss_against_mpmath(name, degenerate, rng):
    student, teacher = random_pair(rng, name, degenerate=degenerate)
    truth, largest = reference.loss_terms(name, student.a, student.W, teacher.a, teacher.W)
    error = abs(mp.mpf(float(ens.population_loss(student, teacher))) - truth)
    assert error <= 1e-13 * largest
    # The test can tell the two conventions apart: without the ½ it fails.
    assert abs(2 * mp.mpf(float(ens.population_loss(student, teacher))) - truth) > 1e-13 * largest


@pytest.mark.parametrize("name", NAMES)
def test_gradient_against_mpmath(name, rng):
    student, teacher = random_pair(rng, name, m=3, teacher=2, d=3)
    slope = ens.population_gradient(student, teacher)
    _, largest = reference.loss_terms(name, student.a, student.W, teacher.a, teacher.W)

    def loss_with(a=None, W=None):
        a = student.a if a is None else a
        W = student.W if W is None else W
        return reference.loss_terms(name, a, W, teacher.a, teacher.W)[0]

    # Central differences in float64 steps of 2^-13: their error is O(h²) times third derivatives.
    h = 2.0**-13
    for i in range(3):
        up, down = np.array(student.a), np.array(student.a)
        up[i] += h
        down[i] -= h
        difference = (loss_with(a=up) - loss_with(a=down)) / (2 * mp.mpf(h))
        # The loss is quadratic in a: the central difference is exact but for the rounding of a ± h.
        assert abs(difference - mp.mpf(float(slope.a[i]))) <= 1e-11 * largest
    for i, k in itertools.product(range(3), range(3)):
        up, down = np.array(student.W), np.array(student.W)
        up[i, k] += h
        down[i, k] -= h
        difference = (loss_with(W=up) - loss_with(W=down)) / (2 * mp.mpf(h))
        assert abs(difference - mp.mpf(float(slope.W[i, k]))) <= 100 * h**2 * largest


@pytest.mark.parametrize("degenerate", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_autodiff_equals_closed_gradient(name, degenerate, rng):
    student, teacher = random_pair(rng, name, degenerate=degenerate)
    automatic = jax.grad(ens.population_loss)(student, teacher)
    closed = ens.population_gradient(student, teacher)
    scale = float(jnp.abs(closed.W).max() + jnp.abs(closed.a).max())
    assert np.isfinite(scale)
    # Both add up a few dozen terms of this scale.
    np.testing.assert_allclose(automatic.a, closed.a, rtol=0, atol=1e-14 * scale)
    np.testing.assert_allclose(automatic.W, closed.W, rtol=0, atol=1e-14 * scale)


@pytest.mark.parametrize("name", NAMES)
def test_zero_student_has_finite_gradient(name, rng):
    _, teacher = random_pair(rng, name)
    student = ens.TwoLayer(np.zeros(3), np.zeros((3, 4)), name)
    slope = ens.population_gradient(student, teacher)
    np.testing.assert_array_equal(slope.W, 0.0)
    assert bool(jnp.all(jnp.isfinite(slope.a)))
    assert bool(jnp.isfinite(ens.population_loss(student, teacher)))


@pytest.mark.parametrize("name", NAMES)
def test_loss_against_sampling(name, rng):
    student, teacher = random_pair(rng, name)
    x = jnp.asarray(rng.normal(size=(200_000, 4)))
    samples = 0.5 * (jax.vmap(student)(x) - jax.vmap(teacher)(x)) ** 2
    error = float(jnp.std(samples)) / np.sqrt(len(x))
    # Five standard errors: a false alarm once in two million keys, and the key is fixed.
    assert abs(float(jnp.mean(samples)) - float(ens.population_loss(student, teacher))) < 5 * error


@pytest.mark.parametrize("name", NAMES)
def test_rotation_and_permutation_invariance(name, rng):
    student, teacher = random_pair(rng, name)
    rotation, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    order = rng.permutation(5)
    moved = ens.TwoLayer(student.a[order], student.W[order] @ rotation, name)
    moved_teacher = ens.TwoLayer(teacher.a, teacher.W @ rotation, name)
    slope, moved_slope = ens.population_gradient(student, teacher), ens.population_gradient(moved, moved_teacher)
    loss = float(ens.population_loss(student, teacher))
    np.testing.assert_allclose(ens.population_loss(moved, moved_teacher), loss, rtol=1e-12)
    np.testing.assert_allclose(moved_slope.a, slope.a[order], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(moved_slope.W, slope.W[order] @ rotation, rtol=1e-10, atol=1e-12)


def test_loss_vanishes_at_the_teacher(rng):
    for name in NAMES:
        _, teacher = random_pair(rng, name)
        assert abs(float(ens.population_loss(teacher, teacher))) < 1e-13
        slope = ens.population_gradient(teacher, teacher)
        np.testing.assert_allclose(slope.W, 0.0, atol=1e-13)


def test_kernel_of_unit_vectors_is_kappa():
    W = jnp.asarray([[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(kernel(ACTIVATIONS["relu"], W, W), [[0.5, 0.5 / np.pi], [0.5 / np.pi, 0.5]], rtol=1e-15)


def test_errors():
    net = ens.TwoLayer([1.0], [[1.0, 0.0]], "relu")
    with pytest.raises(ValueError, match=r"activation: got 'rleu'; known activations are relu"):
        ens.TwoLayer([1.0], [[1.0]], "rleu")
    with pytest.raises(ValueError, match=r"got shapes \(2,\) and \(1, 2\)"):
        ens.TwoLayer([1.0, 2.0], [[1.0, 0.0]])
    with pytest.raises(ValueError, match="the student's is 'relu' and the teacher's 'abs'"):
        ens.population_loss(net, ens.TwoLayer([1.0], [[1.0, 0.0]], "abs"))
    with pytest.raises(ValueError, match="2 inputs and the teacher 3"):
        ens.population_gradient(net, ens.TwoLayer([1.0], [[1.0, 0.0, 0.0]], "relu"))


@pytest.mark.parametrize("degenerate", [False, True])
@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_gradient_from_unit_rows_is_the_same_to_rounding(name, degenerate, rng):
    """`UnitRowsRisk`, for accelerators, also at duplicated, opposite and zero neurons."""
    student, teacher = random_pair(rng, name, degenerate=degenerate)
    risk = ens.PopulationRisk.of(teacher)
    loss, slope = risk.value_and_gradient(student)
    other_loss, other = UnitRowsRisk(risk).value_and_gradient(student)
    np.testing.assert_allclose(other_loss, loss, rtol=1e-14)
    # Sums of 8 terms of order 10. Where two neurons lie on one line, √(1 − ρ²) is off by 1e-8 on both sides, and so is
    # what it meets along the other row: the sum is not.
    np.testing.assert_allclose(other.a, slope.a, atol=2e-14)
    np.testing.assert_allclose(other.W, slope.W, atol=2e-14)
    # Companion: output weights that are 1e-12 larger are seen.
    longer = ens.TwoLayer(student.a * (1.0 + 1e-12), student.W, name)
    assert np.abs(UnitRowsRisk(risk).value_and_gradient(longer)[1].W - slope.W).max() > 2e-14
