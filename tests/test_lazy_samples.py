"""The lazy comparator of deep students on samples: linear in the weights by JAX's derivatives, and descent on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ensemble as ens
from ensemble.problem.activations import ACTIVATIONS
from ensemble.problem.inputs import Gaussian
from ensemble.problem.inputs.base import InputLaw
from ensemble.problem.lazy import View
from ensemble.problem.models import Deep
from ensemble.problem.risks import HeldOutRisk
from ensemble.problem.risks.sample import as_leaf
from tests.test_deep import STAGES, study

LAZY = {
    "kind": "deep",
    "depth": 3,
    "width": 4,
    "bias": True,
    "linearised": True,
    "recentred": True,
    "output_scale": 2.0,
}


@pytest.fixture
def pair(rng) -> tuple[Deep, Deep]:
    """A network, and one not far from it."""
    weights = [rng.normal(size=shape) for shape in ((4, 3), (1, 4))]
    moved = [W + 0.3 * rng.normal(size=W.shape) for W in weights]
    return Deep(weights, ACTIVATIONS["erf"]), Deep(moved, ACTIVATIONS["erf"])


@pytest.mark.parametrize("recentred", [False, True])
def test_what_is_compared_by_hand(recentred, pair, rng):
    """The slope by central differences along θ − θ0, which a network that is not linear does not end at."""
    origin, moved = pair
    x, alpha = jnp.asarray(rng.normal(size=3)), 1.5

    def at(share: float) -> float:
        return float(jax.tree.map(lambda a, b: a + share * (b - a), origin, moved)(x))

    slope = (at(1e-5) - at(-1e-5)) / 2e-5
    start = 0.0 if recentred else at(0.0)
    scale = jnp.asarray(alpha)
    found = float(View(origin, scale, recentred, True)(moved)(x))
    assert found == pytest.approx(alpha * (start + slope), rel=1e-8)
    plain = float(View(origin, scale, recentred, False)(moved)(x))
    assert plain == pytest.approx(alpha * (at(1.0) - (at(0.0) if recentred else 0.0)), rel=1e-12)
    assert abs(plain - found) > 1e-3


def test_a_test_sample_scores_what_is_compared(pair):
    origin, moved = pair
    view, key = View(origin, jnp.asarray(1.5), True, True), as_leaf(jax.random.key(5))
    teacher, law = ens.TwoLayer([1.0], [[1.0, 0.0, 0.0]], "relu"), InputLaw.of(Gaussian(), 3)
    found = HeldOutRisk(teacher, law, key, 50, view).value_and_error(moved)
    expected = HeldOutRisk(teacher, law, key, 50).value_and_error(view(moved))
    np.testing.assert_array_equal(found, expected)


def test_descent_is_linear_in_the_weights():
    """g = α J(θ − θ0) on the sample, J by hand at the start: the first layer alone, then all with decay."""
    fields = {"student": LAZY, "probes": ["train_loss", "weight_change"], "seeds": 1, "records": [0]}
    made = study(**fields)
    ds = ens.run(made).sel(seed=0)
    network, _ = ens.initial(made, 0)
    x, y = ens.sample(made, 0)
    leaves, structure = jax.tree.flatten(network)
    slopes = jax.jit(lambda leaves: jax.jacrev(lambda leaves: jax.vmap(structure.unflatten(leaves))(x))(leaves))(leaves)
    J, begin = [np.asarray(s) for s in slopes], [np.asarray(w) for w in leaves]
    theta = begin
    residual = -np.asarray(y)
    for step in range(STAGES[0]["steps"] + STAGES[1]["steps"]):
        g = [2.0 * np.tensordot(residual, j, 1) / len(y) for j in J]
        first = step < STAGES[0]["steps"]
        decay = 0.0 if first else STAGES[1]["weight_decay"]
        moved = [w - 0.05 * (d + decay * w) for w, d in zip(theta, g, strict=True)]
        theta = [m if place < 2 or not first else w for place, (m, w) in enumerate(zip(moved, theta, strict=True))]
        values = sum(2.0 * np.tensordot(j, w - b, w.ndim) for j, w, b in zip(J, theta, begin, strict=True))
        residual = values - np.asarray(y)
    assert float(ds["train_loss"]) == pytest.approx(0.5 * np.mean(residual**2), rel=1e-8)
    assert float(ds["train_loss_history"][0]) == pytest.approx(0.5 * np.mean(np.asarray(y) ** 2), rel=1e-12)
    final = structure.unflatten([jnp.asarray(w) for w in theta])
    np.testing.assert_allclose(ds["layer_weights"], final.stacked, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"samples": 40, "adversary": {"radius": 0.1}}}, "data.adversary: got one for a student with"),
        ({"probes": ["kernel_change"]}, "probes: got 'kernel_change' for a deep student"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field(changes, message):
    with pytest.raises(ens.StudyError, match=message):
        study(**({"student": LAZY} | changes))
