"""The lazy comparator of convolutions: closed forms of shared filters against samples, and members trained so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import ensemble as ens
from ensemble.problem.activations import ACTIVATIONS
from ensemble.problem.lazy import LinearisedRisk, ScaledRisk, View, tangent_of
from ensemble.problem.models import Conv
from tests.test_conv import study

RISKS = {"scaled": (ScaledRisk, False), "recentred": (ScaledRisk, True), "linearised": (LinearisedRisk, False)}
DRAWS = 40_000


@pytest.fixture
def networks(rng) -> tuple[Conv, Conv, Conv]:
    """A start, what it became, and a teacher, on three patches that overlap."""
    a, W = rng.normal(size=3), rng.normal(size=(3, 3))
    moved = a + 0.3 * rng.normal(size=3), W + 0.3 * rng.normal(size=(3, 3))
    made = [(a, W), moved, (rng.normal(size=2), rng.normal(size=(2, 3)))]
    return tuple(Conv(*weights, ACTIVATIONS["erf"], patches=3, stride=2) for weights in made)


@pytest.mark.parametrize("name", RISKS)
def test_the_exact_risk_is_that_of_many_samples(name, networks, rng):
    """½ mean (g − f*)² of what samples are given (`View`), within four standard errors; its gradient is its own."""
    origin, moved, teacher = networks
    kind, recentred = RISKS[name]
    scale = jnp.asarray(1.5)
    seen = View(origin, scale, recentred, kind is LinearisedRisk)(moved)
    x = jnp.asarray(rng.normal(size=(DRAWS, origin.inputs)))

    @jax.jit
    def measured(x):
        risk = kind.of(teacher, scale, origin, recentred)
        terms = 0.5 * (jax.vmap(seen)(x) - jax.vmap(teacher)(x)) ** 2
        return terms, *risk.value_and_gradient(moved), jax.grad(risk.value)(moved)

    terms, value, gradient, expected = measured(x)
    error = float(terms.std()) / np.sqrt(DRAWS)
    assert abs(float(terms.mean() - value)) < 4.0 * error < 0.1 * float(value)
    np.testing.assert_allclose(ravel_pytree(gradient)[0], ravel_pytree(expected)[0], rtol=1e-9, atol=1e-12)


def test_the_kernel_is_that_of_many_pairs_of_inputs(networks, rng):
    """E Θ_θ(x, x′)Θ_θ′(x, x′) over independent pairs, from Jacobians; within four standard errors."""
    origin, moved, _ = networks
    x, other = (jnp.asarray(rng.normal(size=(DRAWS, origin.inputs))) for _ in range(2))

    def kernel(network: Conv):
        weights, whole = ravel_pytree(network)
        slopes = jax.vmap(jax.grad(lambda weights, x: whole(weights)(x)), (None, 0))
        return jnp.sum(slopes(weights, x) * slopes(weights, other), axis=1)

    overlap = tangent_of(origin).overlap
    terms, expected = jax.jit(lambda: (kernel(origin) * kernel(moved), overlap(origin, moved)))()
    error = float(terms.std()) / np.sqrt(DRAWS)
    assert abs(float(terms.mean() - expected)) < 4.0 * error < 0.1 * float(terms.mean())


@pytest.mark.long
def test_members_stay_with_their_networks_where_the_scale_is_large():
    """With step sizes of 0.1/α², g of network and comparator part as 1/α; the comparator's kernel does not change."""
    student = {"kind": "conv", "width": 4, "recentred": True, "output_scale": 30.0}
    fields = {"student": student, "probes": ["loss", "kernel_change", "linearisation_error"], "seeds": 1}
    fields |= {"protocol": {"kind": "plain", "step_size": 0.1 / 900.0, "steps": 40}, "records": 4}
    axes = {"linearised": {"field": "student.linearised", "values": [False, True]}}
    ds = ens.run(study(**fields, axes=axes))
    network, lazy = (ds.sel(linearised=value, seed=0) for value in (False, True))
    assert float(network["loss"]) == pytest.approx(float(lazy["loss"]), rel=0.02)
    assert float(network["loss"]) < 0.9 * float(network["loss_history"].isel(record=0))
    assert float(lazy["kernel_change"]) == 0.0 < 1e-3 < float(network["kernel_change"]) < 0.1
    assert 1e-3 < float(network["linearisation_error"]) < 0.1


def test_what_has_no_closed_form_is_trained_on_samples_or_refused():
    """A step by hand: a linearised network under a maximum is linear in its weights on the member's own sample."""
    teacher = study().teacher.model_copy(update={"pooling": "max"})
    student = {"kind": "conv", "width": 4, "linearised": True}
    fields = {"teacher": teacher, "student": student, "data": {"samples": 30, "test_samples": 100}, "probes": ["loss"]}
    fields |= {"protocol": {"kind": "plain", "step_size": 0.1, "steps": 2}, "records": [0], "seeds": 1}
    ds = ens.run(study(**fields))
    network, _ = ens.initial(study(**fields), 0)
    x, y = ens.sample(study(**fields), 0)
    weights, whole = ravel_pytree(network)
    sloped = jax.jit(jax.vmap(jax.value_and_grad(lambda weights, x: whole(weights)(x)), (None, 0)))
    values, slopes = sloped(weights, x)
    moved = weights
    for _ in range(2):
        moved = moved - 0.1 * slopes.T @ (values + slopes @ (moved - weights) - y) / len(y)
    np.testing.assert_allclose(ds["filters"].sel(seed=0), whole(moved).W, rtol=1e-9, atol=1e-12)
    with pytest.raises(ens.StudyError, match="data: got a table for a student with output_scale"):
        study(student=student, data={"samples": 30})
    with pytest.raises(ens.StudyError, match="for a conv student whose tangent kernel over N\\(0, I\\) has no closed"):
        study(**(fields | {"probes": ["kernel_change"]}))
