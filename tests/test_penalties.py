"""Penalties: values, gradients, proximal maps (theory.md §8), what is certified under them, what is refused."""

import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from pydantic import TypeAdapter

import analysis
import ensemble as ens
from ensemble.dynamics.updates import Objective
from ensemble.numerics.elimination import inverse_of_one_plus
from ensemble.parts import REGISTRY, chosen, is_own
from ensemble.problem.penalties import L2, AbstractPenalty, Penalty, has_prox
from tests.helpers import seldom
from tests.studies import small

OWN = [name for name, part in REGISTRY["penalty"].items() if is_own(part)]
TABLES: list[Any] = [
    *(name for name in OWN if name != "sum"),
    {"kind": "l1", "layers": "first"},
    {"kind": "l2", "layers": "output"},
    {"kind": "group_lasso", "layers": "first"},
    {"kind": "group_lasso", "layers": "output"},
    [{"kind": "l1", "strength": 0.3}, {"kind": "l2", "strength": 0.7}],
    [{"kind": "l2"}, {"kind": "group_lasso", "strength": 0.4}, {"kind": "l1", "strength": 0.2}],
]
NAMES = [
    table if isinstance(table, str) else str(table).translate({ord(c): None for c in "{}[]' "}) for table in TABLES
]


def penalty(table: Any) -> Any:
    return TypeAdapter(Penalty).validate_python(table)


def network(rng, m=4, d=3, sigma="relu", zeros=False) -> ens.TwoLayer:
    a, W = rng.normal(size=m), rng.normal(size=(m, d))
    if zeros:
        a[1], W[0], W[2, 1] = 0.0, 0.0, 0.0
    return ens.TwoLayer(a, W, sigma)


def flat(model: ens.TwoLayer) -> np.ndarray:
    return np.concatenate([np.ravel(model.a), np.ravel(model.W)])


def unflat(vector: Any, like: ens.TwoLayer) -> ens.TwoLayer:
    m = like.a.shape[0]
    return ens.TwoLayer(vector[:m], jnp.reshape(vector[m:], like.W.shape), like.activation)


def test_every_registered_penalty_is_tested():
    assert {penalty(table).kind for table in TABLES} == set(OWN)


# -- values, gradients, proximal maps ------------------------------------------------------------------


def test_values(rng):
    """The formulas of theory.md §8, written out in NumPy."""
    net = network(rng)
    a, W = np.asarray(net.a), np.asarray(net.W)
    norm = np.linalg.norm(W, axis=1)
    expected = {
        "l2": 0.5 * (a @ a + (W * W).sum()),
        "path_norm": (np.abs(a) * norm).sum(),
        "group_lasso": np.sqrt(a**2 + norm**2).sum(),
        "l1": np.abs(a).sum() + np.abs(W).sum(),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(penalty(name).value(net), value, rtol=1e-14)
    table = [{"kind": name, "strength": 0.1 * (i + 1)} for i, name in enumerate(expected)]
    total = sum(0.1 * (i + 1) * value for i, value in enumerate(expected.values()))
    np.testing.assert_allclose(penalty(table).value(net), total, rtol=1e-14)


@pytest.mark.parametrize("table", TABLES, ids=NAMES)
def test_gradients_are_those_of_the_values(table, rng):
    """Central differences at a generic point; automatic differentiation of a value knows no rule of the gradient's."""
    part, net = penalty(table), network(rng)
    at, slope = flat(net), flat(part.gradient(net))
    # ε²·f‴/6 and ulp/ε with ε = 1e-5: 1e-10 each.
    for k in range(len(at)):
        step = np.zeros_like(at)
        step[k] = 1e-5
        up, down = (float(part.value(unflat(at + s * step, net))) for s in (1, -1))
        assert slope[k] == pytest.approx((up - down) / 2e-5, abs=2e-9)
    if table != "bottleneck":
        np.testing.assert_allclose(slope, flat(jax.grad(part.value)(net)), atol=1e-14)


@pytest.mark.parametrize("table", TABLES, ids=NAMES)
def test_gradients_at_zeros_are_subgradients_that_are_zero_there(table, rng):
    slope = penalty(table).gradient(network(rng, zeros=True))
    assert np.all(np.isfinite(flat(slope)))
    assert float(slope.a[1]) == 0.0 and np.all(slope.W[0] == 0.0)
    if table != "bottleneck":  # smooth: its gradient there is that of a weight that happens to be 0
        assert float(slope.W[2, 1]) == 0.0


@pytest.mark.parametrize("amount", [0.0, 0.2, 0.9, 1.7])
@pytest.mark.parametrize("table", [t for t in TABLES if has_prox(penalty(t))])
def test_proximal_maps_minimise(table, amount, rng):
    """½‖φ − θ‖² + amount·P(φ) at the map is what a simplex search from several points finds, or less."""
    part, net = penalty(table), network(rng, m=1, d=2)
    theta = flat(net)
    found = flat(part.prox(net, jnp.asarray(amount)))
    value = jax.jit(lambda v: part.value(unflat(v, net)))

    def height(v):
        return 0.5 * ((v - theta) ** 2).sum() + amount * float(value(v))

    starts = [theta, 0.3 * theta, theta * [0, 1, 1], theta * [1, 0, 0]]
    best = min(
        scipy.optimize.minimize(height, s, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13}).fun
        for s in starts
    )
    # The search ends within its fatol, and never below the true minimum.
    assert height(found) <= best + 1e-12 and best <= height(found) + 1e-6


def test_exact_zeros_of_proximal_maps():
    net = ens.TwoLayer([0.3, 2.0, 0.5], [[0.4, 0.0], [1.0, -1.0], [2.0, 0.0]], "relu")
    group = penalty("group_lasso").prox(net, jnp.asarray(0.5))
    assert float(group.a[0]) == 0.0 and np.all(group.W[0] == 0.0)
    # A neuron of norm n goes on with max(0, 1 − amount/n).
    np.testing.assert_allclose(group.W[1], (1 - 0.5 / np.sqrt(6)) * np.array([1.0, -1.0]), rtol=1e-15)
    soft = penalty("l1").prox(net, jnp.asarray(0.45))
    np.testing.assert_allclose(soft.a, [0.0, 1.55, 0.05], rtol=1e-14)
    np.testing.assert_array_equal(np.asarray(soft.W) == 0.0, [[True, True], [False, False], [False, True]])
    # path_norm: 0.5 < 0.3 · 2, so that the output weight goes and the row stays.
    path = penalty("path_norm").prox(net, jnp.asarray(0.3))
    assert float(path.a[2]) == 0.0 and np.all(np.asarray(path.W[2]) == [2.0, 0.0]) and float(path.a[1]) > 0.0


def test_balanced_neurons_cost_what_theory_says(rng):
    """m, m, √(2m) and 2√(m‖ŵ‖₁), the last after rescaling a neuron to the cheapest a and w of its mass."""
    mass, direction = 0.7, np.array([0.6, -0.8])
    net = ens.TwoLayer([np.sqrt(mass)], np.sqrt(mass) * direction[None, :], "relu")
    assert float(penalty("l2").value(net)) == pytest.approx(mass, rel=1e-14)
    assert float(penalty("path_norm").value(net)) == pytest.approx(mass, rel=1e-14)
    assert float(penalty("group_lasso").value(net)) == pytest.approx(np.sqrt(2 * mass), rel=1e-14)
    scales = np.linspace(0.2, 3.0, 20001)
    cheapest = (mass / scales + scales * np.abs(direction).sum()).min()
    assert cheapest == pytest.approx(2 * np.sqrt(mass * np.abs(direction).sum()), rel=1e-7)


# -- the information bottleneck ------------------------------------------------------------------------


def test_bottleneck_is_exact_for_linear_networks(rng):
    net = network(rng, sigma="linear")
    W = np.asarray(net.W)
    expected = 0.5 * np.linalg.slogdet(np.eye(4) + W @ W.T / 0.09)[1]
    np.testing.assert_allclose(penalty({"kind": "bottleneck", "noise": 0.3}).value(net), expected, rtol=1e-13)


@pytest.mark.parametrize(("noise", "exact", "bound"), [(0.1, 1.3067, 1.779), (0.3, 0.652, 0.783), (1.0, 0.143, 0.147)])
def test_bottleneck_of_a_relu_is_a_bound(noise, exact, bound):
    """The information of one relu neuron by quadrature of the entropy of max(x, 0) + s·noise."""
    found = float(penalty({"kind": "bottleneck", "noise": noise}).value(ens.TwoLayer([1.0], [[0.6, 0.8]], "relu")))
    assert found == pytest.approx(bound, abs=5e-4)
    # The density of h: half a Gaussian of the noise alone, and half of a sum, which ndtr cuts at x > 0.
    h, total = np.linspace(-12 * noise, 9 + 12 * noise, 8001), 1 + noise**2
    density = 0.5 * scipy.stats.norm.pdf(h, scale=noise)
    density += scipy.stats.norm.pdf(h, scale=np.sqrt(total)) * scipy.special.ndtr(h / (noise * np.sqrt(total)))
    entropy = -np.trapezoid(np.where(density > 0, density * np.log(np.maximum(density, 1e-300)), 0.0), h)
    information = entropy - 0.5 * np.log(2 * np.pi * np.e * noise**2)
    assert information == pytest.approx(exact, abs=5e-4) and information < found


@pytest.mark.parametrize("sigma", ["relu", "abs", "abs_centred", "relu_even", "erf", "square"])
def test_covariance_of_the_representation(sigma, rng):
    """Against 4·10⁵ samples: five standard errors of each entry."""
    net = network(rng, m=3, d=2, sigma=sigma)
    x = rng.normal(size=(400_000, 2))
    norms = jnp.linalg.norm(net.W, axis=1)
    h = np.asarray(net.activation(jnp.asarray(x) @ net.W.T, norms[None, :]))
    products = (h - h.mean(0))[:, :, None] * (h - h.mean(0))[:, None, :]
    found = penalty("bottleneck")._covariance(net)
    np.testing.assert_array_less(np.abs(products.mean(0) - found), 5 * products.std(0) / np.sqrt(len(x)))


@pytest.mark.parametrize("n", [1, 7])
def test_elimination_is_the_inverse_and_the_determinant(n, rng):
    """Against NumPy's, at rank 2 and κ = 10⁴, alone and as one of many; 10⁴ · n ulp."""
    V = rng.normal(size=(3, n, 2))
    A = 1e3 * V @ np.swapaxes(V, 1, 2)
    inverse, log_det = jax.vmap(inverse_of_one_plus)(jnp.asarray(A))
    np.testing.assert_allclose(inverse, np.linalg.inv(np.eye(n) + A), atol=2e-11)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(np.eye(n) + A)[1], rtol=2e-11)
    alone = inverse_of_one_plus(jnp.asarray(A[1]))
    np.testing.assert_array_equal(alone[0], inverse[1])
    np.testing.assert_array_equal(alone[1], log_det[1])
    slope = jax.grad(lambda A: inverse_of_one_plus(A)[1])(jnp.asarray(A[1]))
    np.testing.assert_allclose(slope, inverse[1], atol=1e-15)  # ∂ log det(I + A)/∂A


@pytest.mark.parametrize("sigma", ["relu", "erf"])
def test_no_routine_of_lapack_is_in_the_program_of_a_bottleneck(sigma, rng):
    part, one = penalty("bottleneck"), network(rng, sigma=sigma)
    many = jax.tree.map(lambda x: jnp.stack([x, x]), one)
    for function in (part.gradient, part.value):
        assert "lapack" not in jax.jit(jax.vmap(function)).lower(many).as_text()
    inverse = jax.jit(lambda W: jnp.linalg.inv(W @ W.T)).lower(one.W)
    assert "lapack" in inverse.as_text()  # as it was, and as this test would see it


def test_onset_of_the_gaussian_bottleneck():
    """y = u·x + σn: L + βₗ⁻¹·I is lowered by information from β_c = 1 + σ² on (in the units of Tishby's β).

    With one linear neuron of size q = w² the best read-out leaves I(h; y) = −½ log(1 − ρ²q/(q + s²)), ρ² = 1/(1 + σ²),
    and I(x; h) is the penalty: minimising I(x; h) − β I(h; y) starts to spend information at β = 1/ρ².
    """
    sigma2, part = 0.5, penalty({"kind": "bottleneck", "noise": 0.3})

    value = jax.jit(lambda w: part.value(ens.TwoLayer([1.0], [[w, 0.0]], "linear")))

    def objective(q, beta):
        about_y = -0.5 * np.log(1 - q / (q + 0.09) / (1 + sigma2))
        return float(value(np.sqrt(q))) - beta * about_y

    for beta, spends in ((0.98 * (1 + sigma2), False), (1.02 * (1 + sigma2), True)):
        assert (min(objective(q, beta) for q in np.geomspace(1e-6, 10, 60)) < -1e-9) == spends


def test_the_trade_off_of_a_linear_network():
    """The shipped study: with its noise's cost in the output, L = λ²/2 and I = −½ log λ, so that L = ½ exp(−4I)."""
    asked = ens.Study.from_toml(Path(__file__).parent.parent / "studies" / "bottleneck.toml")
    ds = ens.run(asked.replace(seeds=1).only(activation=["linear"], information_price=[0.2, 0.4])).isel(seed=0)
    price = ds["information_price"].values
    information = (ds["penalty_value"] - 0.5 * 0.09 * (ds["a"] ** 2).sum("neuron")).isel(activation=0) / price
    np.testing.assert_allclose(ds["loss"].isel(activation=0), price**2 / 2, rtol=1e-6)
    np.testing.assert_allclose(information, -0.5 * np.log(price), rtol=1e-6)


# -- proximal updates ----------------------------------------------------------------------------------


def _solve(kind: str, steps: int, table: Any, strength: float, momentum: float | None = None):
    """(weights, steps until the mapping is below 1e-10) on a linear regression with ill-conditioned curvatures."""
    curvature = jnp.asarray([1.0, 0.1, 0.01])
    target = jnp.asarray([1.0, 0.05, -2.0])

    class Quadratic:
        def value_and_gradient(self, model):
            return None, {"w": curvature * (model["w"] - target)}

    fields = {"momentum": momentum} if momentum is not None else {}
    update: Any = TypeAdapter(chosen(ens.AbstractSteppedUpdate)).validate_python({"kind": kind, **fields})
    moves = {"w": jnp.asarray(True)}
    objective = Objective(Quadratic(), penalty(table), jnp.asarray(strength), jnp.asarray(1.0), moves, False)  # type: ignore[arg-type]
    model = {"w": jnp.zeros(3)}
    state = update.init(model)
    step = jax.jit(lambda model, state: update.step(model, state, objective, None))
    for t in range(steps):
        new, state, info = step(model, state)
        if float(info.gradient_norm) < 1e-10:
            return np.asarray(model["w"]), t
        model = new
    return np.asarray(model["w"]), steps


@pytest.mark.parametrize(
    ("kind", "momentum", "most"), [("proximal", None, 2500), ("proximal", 0.8, 500), ("fista", None, 400)]
)
def test_proximal_updates_reach_the_lasso(kind, momentum, most):
    """Minimum of Σ ½ℓ(w − t)² + λ|w|: soft(t, λ/ℓ), with exact zeros; acceleration takes a fraction of the steps."""
    found, steps = _solve(kind, 5000, "l1", 0.01, momentum)
    np.testing.assert_allclose(found, [0.99, 0.0, -1.0], atol=1e-7)
    assert found[1] == 0.0 and steps < most


def test_fista_beats_its_own_bound_and_restarts():
    """F(θ_k) − F* ≤ 2‖θ₀ − θ*‖²/η(k + 1)² (Beck & Teboulle 2009, theorem 4.4), far below it at last with restart."""
    curvature, target = np.array([1.0, 0.1, 0.01]), np.array([1.0, 0.05, -2.0])

    def height(w):
        return (0.5 * curvature * (w - target) ** 2 + 0.01 * np.abs(w)).sum()

    best, far = np.array([0.99, 0.0, -1.0]), 0.99**2 + 1.0
    for k in (1, 3, 10, 30, 100):
        found, _ = _solve("fista", k, "l1", 0.01)
        assert height(found) - height(best) <= 2 * far / (k + 1) ** 2
    assert height(_solve("fista", 150, "l1", 0.01)[0]) - height(best) < 1e-3 * 2 * far / 151**2


# -- in studies ----------------------------------------------------------------------------------------


def study(table: Any, kind: str = "fixed_decay", **changes: Any) -> ens.Study:
    protocol = {"kind": kind, "weight_decay": 0.02, "step_size": 0.1, "penalty": table}
    return small(seeds=2, axes={}, records=4, protocol=protocol | changes.pop("protocol", {}), **changes)


def test_probes_say_what_is_left():
    """Weights, penalty and risk of a proximal run agree with the stored weights; neurons are exactly 0."""
    protocol = {"update": "proximal", "steps": 600, "weight_decay": 0.05}
    probes = ["loss", "risk", "penalty_value", "vanished", "sparsity", "effective_neurons"]
    ds = ens.run(study("group_lasso", protocol=protocol, probes=probes))
    a, W = ds["a"].values, ds["W"].values
    gone = (a == 0) & np.all(W == 0, axis=-1)
    np.testing.assert_array_equal(ds["vanished"], gone.sum(-1))
    assert gone.any() and not gone.all(axis=-1).any()
    zeros = (a == 0).sum(-1) + (W == 0).sum((-1, -2))
    np.testing.assert_allclose(ds["sparsity"], zeros / (a[0].size + W[0].size), rtol=1e-15)
    mass = np.abs(a) * np.linalg.norm(W, axis=-1)
    np.testing.assert_allclose(ds["effective_neurons"], mass.sum(-1) ** 2 / (mass**2).sum(-1), rtol=1e-13)
    value = np.sqrt(a**2 + (W**2).sum(-1)).sum(-1)
    np.testing.assert_allclose(ds["penalty_value"], value, rtol=1e-13)
    np.testing.assert_allclose(ds["risk"], ds["loss"] + 0.05 * value, rtol=1e-13)


def test_strengths_of_a_list_are_axes_that_compile_nothing():
    from ensemble.plan import groups

    table = [{"kind": "l1", "strength": 0.5}, {"kind": "l2"}]
    axis = {"field": "protocol.penalty.terms.0.strength", "values": [0.0, 0.5, 2.0]}
    asked = study(table, protocol={"steps": 30}, probes=["loss", "penalty_value"]).replace(axes={"strength": axis})
    assert len(groups(asked)) == 1
    ds = ens.run(asked).isel(seed=0)
    for strength in (0.0, 0.5, 2.0):
        one = ds.sel(strength=strength)
        value = strength * (np.abs(one["a"]).sum() + np.abs(one["W"]).sum()) + 0.5 * (
            (one["a"] ** 2).sum() + (one["W"] ** 2).sum()
        )
        np.testing.assert_allclose(one["penalty_value"], value, rtol=1e-13)
    # With strength 0 the sum is l2, on another kernel.
    plain = ens.run(study("l2", protocol={"steps": 30}), engine="xla").isel(seed=0)
    np.testing.assert_allclose(ds["W"].sel(strength=0.0), plain["W"], atol=1e-14)
    assert ens.Study.from_json(asked.text) == asked


@pytest.mark.long
def test_a_halving_schedule_works_for_every_penalty():
    asked = small(
        seeds=1,
        axes={"penalty": ["l2", "path_norm", "group_lasso", "l1", "bottleneck"]},
        protocol={"kind": "halving_decay", "weight_decay": 0.04, "step_size": 0.05, "epochs": 3, "epoch_steps": 4},
        records=[0, 4, 8],
        probes=["loss", "risk", "penalty_value", "applied_decay"],
    )
    ds = ens.run(asked).isel(seed=0)
    np.testing.assert_allclose(ds["applied_decay_history"], np.tile([0.04, 0.02, 0.01], (5, 1)), rtol=1e-15)
    expected = ds["loss_history"] + ds["applied_decay_history"] * ds["penalty_value_history"]
    np.testing.assert_allclose(ds["risk_history"], expected, rtol=1e-13)
    # l1 alone knows the axes of the input.
    wide = {"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 40}
    for name in OWN:
        table = "l2" if name == "sum" else name
        cell = study([table], teacher=wide, protocol={"steps": 3}).points[0].cell
        assert cell.stages.rotation_equivariant == (name != "l1")


@pytest.mark.parametrize("kind", seldom(["l2", "path_norm"], "l2"))
def test_path_norm_and_l2_share_minimum_and_certificate(kind):
    """One unit teacher neuron: R = λ − λ²/2κ₁ at mass 1 − λ/κ₁, certified at every width (theory.md §8)."""
    kappa, decay = 1 - 2 / np.pi, 0.1
    asked = ens.Study.model_validate(
        {
            "name": "single",
            "seeds": 2,
            "records": 0,
            "probes": ["risk", "gap", "certificate_max", "mass"],
            "store_weights": True,
            "teacher": {"kind": "orthonormal", "activation": "abs_centred", "neurons": 1, "inputs": 3},
            "student": {"neurons": 3, "start": "balanced"},
            "protocol": {
                "kind": "fixed_decay",
                "weight_decay": decay,
                "step_size": 0.3,
                "steps": 20_000,
                "penalty": kind,
            },
        }
    )
    ds = ens.run(asked)
    np.testing.assert_allclose(ds["mass"].sum("neuron"), 1 - decay / kappa, rtol=1e-6)
    np.testing.assert_allclose(ds["risk"], decay - decay**2 / (2 * kappa), rtol=1e-9)
    assert float(np.abs(ds["gap"]).max()) < 1e-9
    np.testing.assert_allclose(ds["certificate_max"], 1.0, rtol=1e-6)
    of_weights = analysis.certificates(ds.drop_vars("gap"))
    np.testing.assert_allclose(of_weights["gap"], ds["gap"], atol=1e-13)
    np.testing.assert_allclose(of_weights["risk"], ds["risk"], rtol=1e-12)


# -- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "changes", "message"),
    [
        (
            "l3",
            {},
            r"protocol.penalty.kind: got 'l3'; known penalties are l2, l1, .*, path_norm, bottleneck, elastic, sum",
        ),
        ({"kind": "bottleneck", "noise": 0.0}, {}, r"protocol.penalty.noise: got 0.0; input should be greater than 0"),
        ([], {}, r"protocol.penalty.terms: got \[\]"),
        ([{"kind": "l1", "strength": -1.0}], {}, r"protocol.penalty.terms.0.strength: got -1.0"),
        ("bottleneck", {"protocol": {"update": "proximal"}}, r"penalty: got 'bottleneck' under the update 'proximal'"),
        (["l1", "bottleneck"], {"protocol": {"update": "fista"}}, r"penalty: got 'sum' under the update 'fista'"),
        (
            "l1",
            {"probes": ["gap"]},
            r"probes: got 'gap' under the penalty 'l1', which costs .* not convex over measures",
        ),
        ("group_lasso", {"probes": ["gap"]}, r"under the penalty 'group_lasso', which costs .* not convex over"),
        ("bottleneck", {"probes": ["gap"]}, r"under the penalty 'bottleneck', which depends on .* no function of the"),
        (["l2"], {"probes": ["gap"]}, r"under the penalty 'sum', which is a sum, for which no certificate"),
    ],
)
def test_penalties_that_mean_nothing_are_refused(table, changes, message):
    with pytest.raises(ens.StudyError, match=message):
        study(table, **changes)


def test_penalties_and_problems_that_do_not_fit_are_refused():
    teacher = {"kind": "orthonormal", "activation": "erf", "neurons": 2, "inputs": 4}
    with pytest.raises(
        ens.StudyError, match=r"penalty: got 'path_norm' in the stage 'local' with activation erf, which"
    ):
        study("path_norm", teacher=teacher)
    stage = {"name": "s", "update": "proximal", "penalty": "group_lasso", "layers": "first", "steps": 3}
    with pytest.raises(ens.StudyError, match=r"layers: got 'first' under the update 'proximal' with the penalty 'gro"):
        small(axes={}, protocol={"kind": "stages", "stages": [stage]})
    from tests.test_registry import study as registry

    with pytest.raises(ens.StudyError, match=r"penalty: got 'group_lasso' in the stage 'first' for a factors student"):
        stages = [{"name": "first", "penalty": "group_lasso", "steps": 3}]
        registry("descent", "factors").replace(protocol={"kind": "stages", "stages": stages})


def test_a_penalty_of_no_weight_is_said():
    decay = {"kind": "fixed_decay", "weight_decay": 0.0, "steps": 5}
    with pytest.warns(ens.StudyWarning, match=r"got penalty = 'l1' with weight_decay = 0.*give weight_decay"):
        small(protocol=decay | {"penalty": "l1"}, axes={})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        axes = {"decay": {"values": [0.0, 0.01], "field": "protocol.weight_decay"}}
        small(protocol=decay | {"penalty": "l1"}, axes=axes)
        small(protocol=decay, axes={})


def test_reductions_of_other_penalties_are_refused():
    ds = ens.run(study("l1", protocol={"steps": 5}, probes=["loss", "risk", "grad_norm"]))
    with pytest.raises(ValueError, match=r"penalty: got 'l1'; certificates serve l2 and path_norm alone \(l1 costs"):
        analysis.certificates(ds)
    with pytest.raises(ValueError, match=r"penalty: got 'l1'; optimality gaps serve"):
        analysis.optimality_gap(ds)
    with pytest.raises(ValueError, match=r"penalty: got 'l1'; eigenvalues of the Hessian .* serve l2 alone"):
        analysis.families(ds)
    assert int(analysis.families(ds, eigenvalues=False)["families"]) >= 1


def test_the_plain_one_is_still_a_part_of_the_objective():
    assert isinstance(L2(), AbstractPenalty) and L2().total_variation and not L2(layers="first").total_variation
