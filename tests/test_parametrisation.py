"""Parametrisations of deep students: their multipliers and a step by hand (how first steps go with the width is
measured in tests/validation/test_widths.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ensemble as ens
from ensemble.numerics.keys import fixed_key
from ensemble.problem.activations import ACTIVATIONS
from ensemble.problem.models import Deep
from ensemble.problem.students import DeepStudent
from ensemble.problem.students.parametrisation import multipliers, start_shares
from tests.test_deep import study


def student(kind: str, **fields) -> DeepStudent:
    return DeepStudent.model_validate({"width": 8, "parametrisation": kind} | fields)


def test_multipliers_and_starts_by_hand():
    """depth 3, 4 inputs, widths 9 and 16, one output."""
    sizes = (4, 9, 16, 1)
    assert multipliers("standard", sizes) is None and start_shares("standard", sizes) == (1.0, 1.0, 1.0)
    assert multipliers("lazy", sizes) == (pytest.approx((1 / 2, 1 / 3, 1 / 4)), (1.0, 1.0, 1.0))
    assert start_shares("lazy", sizes) == pytest.approx((2.0, 3.0, 4.0))
    assert multipliers("mup", sizes) == (pytest.approx((3.0, 1.0, 1 / 4)), pytest.approx((3.0, 4.0, 1.0)))
    assert start_shares("mup", sizes) == pytest.approx((1 / 3, 1.0, 1.0))
    assert multipliers("mean_field", (4, 9, 1)) == multipliers("mup", (4, 9, 1))


def test_a_network_with_multipliers_by_hand(rng):
    W, b = rng.normal(size=(3, 2)), rng.normal(size=3)
    V, c, x = rng.normal(size=(1, 3)), rng.normal(size=1), rng.normal(size=2)
    network = Deep([W, V], ACTIVATIONS["relu"], [b, c], multipliers=((3.0, 0.5), (2.0, 0.25)))
    expected = 0.5 * V @ np.maximum(3.0 * W @ x + 2.0 * b, 0.0) + 0.25 * c
    assert float(network(jnp.asarray(x))) == pytest.approx(float(expected[0]), rel=1e-13)


@pytest.mark.long
def test_a_study_in_mup_descends_on_the_network_with_multipliers():
    """A step by hand on the member's own sample; its weights are networks again; how much features changed, by hand."""
    one = {"kind": "plain", "step_size": 0.05, "steps": 1}
    fields = {"student": student("mup", depth=3, width=4, bias=True), "protocol": one, "records": 0, "seeds": 1}
    fields |= {"probes": ["feature_change", "train_loss"]}
    ds = ens.run(study(**fields)).sel(seed=0)
    network, _ = ens.initial(study(**fields), 0)
    standard, _ = ens.initial(study(**fields | {"student": student("standard", depth=3, width=4, bias=True)}), 0)
    for found, W, share in zip(network.weights, standard.weights, (1 / 2, 1.0, 1.0), strict=True):
        np.testing.assert_allclose(found, share * W, rtol=1e-13)
    assert network.multipliers == ((2.0, 1.0, 0.5), (2.0, 2.0, 1.0)) and standard.multipliers is None
    x, y = ens.sample(study(**fields), 0)
    g = jax.jit(lambda f: jax.grad(lambda f: 0.5 * jnp.mean((jax.vmap(f)(x) - y) ** 2))(f))(network)
    moved = jax.tree.map(lambda w, d: w - 0.05 * d, network, g)
    np.testing.assert_allclose(ds["layer_weights"], moved.stacked, rtol=1e-9, atol=1e-12)
    stored = ens.network(ds)
    assert stored.multipliers == network.multipliers
    error = 0.5 * np.mean((jax.vmap(stored)(x) - y) ** 2)
    assert float(ds["train_loss"]) == pytest.approx(float(error), rel=1e-9)
    probed = jax.random.normal(fixed_key(11), (256, 3))
    before, after = jax.vmap(network.hidden)(probed), jax.vmap(moved.hidden)(probed)
    change = [np.sqrt(np.sum((h - b) ** 2) / np.sum(b**2)) for h, b in zip(after, before, strict=True)]
    np.testing.assert_allclose(ds["feature_change"], change, rtol=1e-8)


@pytest.mark.parametrize(("kind", "said"), [("mean_field", "with depth = 3"), ("ntk", "'standard'")])
def test_what_does_not_fit_is_refused_by_its_field(kind, said):
    with pytest.raises(ens.StudyError, match=f"parametrisation: got '{kind}'.*{said}"):
        study(student={"kind": "deep", "depth": 3, "width": 4, "parametrisation": kind})
