"""Sensitivities against sampling, attacks against the exact adversary, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ensemble as ens
from ensemble.probes import PROBES, Measured, Moment, prepared
from ensemble.probes.robustness import error_of, mean_square_gradient
from ensemble.problem.activations import ACTIVATIONS
from ensemble.problem.models import DeepLinear, SingularMap
from ensemble.problem.penalties import L2
from ensemble.problem.risks import LinearRisk

NAMES = ("sensitivity", "error_sensitivity", "adversarial_alignment")
BASIS = np.linalg.qr(np.random.default_rng(5).normal(size=(4, 2)))[0].T


def pair(name: str, seed: int = 0) -> tuple[ens.TwoLayer, ens.TwoLayer]:
    """A student with a doubled, an opposite and a vanished neuron, and a teacher."""
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(5, 4)) * 0.6
    W[3], W[4] = -2.0 * W[0], 0.0
    student = ens.TwoLayer(rng.normal(size=5), W, name)
    return student, ens.TwoLayer([1.0, -0.7], rng.normal(size=(2, 4)) * 0.7, name)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_mean_square_gradient_is_that_of_sampled_autodiff(name):
    student, teacher = pair(name)
    error = error_of(student, teacher)
    assert isinstance(error, ens.TwoLayer)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(100_000, 4)))
    for network, basis in ((student, None), (student, BASIS), (error, None)):
        gradients = jax.jit(jax.vmap(jax.grad(lambda x, f=network: f(x))))(x)
        squares = np.asarray(jnp.sum((gradients if basis is None else gradients @ basis.T) ** 2, axis=1))
        exact = float(mean_square_gradient(network, None if basis is None else jnp.asarray(basis)))
        deviation = abs(squares.mean() - exact)
        assert deviation < 4 * squares.std() / np.sqrt(len(squares)) + 1e-12 * exact
    # The companion: without E σ′σ′, as for a linear network, it would be far off.
    plain = float(jnp.sum((student.a @ student.W) ** 2))
    assert name == "linear" or abs(plain - float(mean_square_gradient(student))) > 0.05 * plain


def measured(model, risk, names=NAMES) -> dict[str, float]:
    aids = prepared([PROBES[name] for name in names], risk)
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
