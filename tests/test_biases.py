"""Two-layer networks with biases in both layers: closed kernels against quadrature, members, and what is refused."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import ensemble as ens
from ensemble.engine.program import TRACES
from ensemble.numerics.normal import orthant
from ensemble.parts import REGISTRY
from ensemble.problem.activations import ACTIVATIONS, activation
from ensemble.problem.activations.biased import BIASED, Pairs, biased_dual
from ensemble.problem.inputs import InputLaw
from ensemble.problem.models import BiasedTwoLayer
from ensemble.problem.risks.biased import BiasedRisk, biased_kernel, biased_mean

TABLES: dict[str, Any] = {
    "leaky_relu": {"kind": "leaky_relu", "slope": 0.3},
    "polynomial": {"kind": "polynomial", "coefficients": [0.2, -1.0, 0.5, 0.3]},
}
SIGMAS = {name: activation(TABLES.get(name, name)) for name in BIASED}


def test_the_names_are_those_of_the_kernels():
    closed = {name for name, sigma in ACTIVATIONS.items() if biased_dual(sigma) is not None}
    assert closed == set(BIASED)


def test_the_probability_below_two_limits_is_that_of_quadrature():
    """∫ φ(x) Φ((k − ρx)/√(1−ρ²)) dx up to h, and the limits |ρ| = 1, where P = Φ(min) or (Φ(h) + Φ(k) − 1)₊."""
    for h, k, rho in [(0.3, -0.4, 0.6), (-1.5, 2.0, -0.9), (0.0, 0.0, 0.5), (0.0, -1.0, 0.3), (2.5, 2.4, 0.995)]:
        sine = np.sqrt(1.0 - rho * rho)
        x, weight = np.polynomial.legendre.leggauss(200)
        turn = k / rho
        edges = np.unique(np.clip([-12.0, turn - 12.0 * sine, turn, turn + 12.0 * sine, h], -12.0, h))
        half = 0.5 * np.diff(edges)[:, None]
        at = edges[:-1, None] + half * (1.0 + x)
        expected = np.sum(half * weight * stats.norm.pdf(at) * stats.norm.cdf((k - rho * at) / sine))
        assert float(orthant(*map(jnp.asarray, (h, k, rho, sine)))) == pytest.approx(expected, abs=1e-14)
    for h, k in [(0.3, -0.4), (1.0, 1.0), (-0.2, -0.1)]:
        certain = float(orthant(*map(jnp.asarray, (h, k, 1.0, 0.0))))
        assert certain == pytest.approx(stats.norm.cdf(min(h, k)), abs=1e-15)
        opposite = max(stats.norm.cdf(h) + stats.norm.cdf(k) - 1.0, 0.0)
        assert float(orthant(*map(jnp.asarray, (h, k, -1.0, 0.0)))) == pytest.approx(opposite, abs=1e-15)


@pytest.mark.parametrize("name", BIASED)
def test_neurons_without_weights_are_constants(name):
    """K = σ(b)σ(c) and E σ = σ(b) for every activation by its name; relu of b > 0 has slope 1, and of b < 0 none."""
    known, zero = biased_dual(SIGMAS[name]), jnp.zeros(3)
    assert known is not None
    b, c = jnp.asarray([0.4, -0.7, 1.3]), jnp.asarray([-0.2, -1.1, 0.6])
    one, other = (np.asarray(SIGMAS[name](x, zero)) for x in (b, c))
    at = Pairs(zero, zero, zero, b, c)
    np.testing.assert_allclose(known.dual(at), one * other, atol=1e-14)
    np.testing.assert_allclose(known.mean(zero, b)[0], one, atol=1e-14)
    _, along, of_b = known.slopes(at)
    assert np.all(np.isfinite(along)) and np.all(np.isfinite(of_b))
    if name == "relu":
        np.testing.assert_allclose(of_b, np.where(b > 0.0, other, 0.0), atol=1e-15)


@pytest.mark.parametrize("ulps", [-2, -1, 0, 1, 3])
def test_a_neuron_with_itself_loses_no_digits(ulps, rng):
    """E u₊² = (‖w‖² + b²)Φ(h) + b‖w‖φ(h), h = b/‖w‖: exact where ρ is 1 but for rounding."""
    norm, b = rng.uniform(0.2, 3.0, size=200), rng.normal(size=200)
    gram = norm * norm
    gram += ulps * np.spacing(gram)
    known: Any = biased_dual(SIGMAS["relu"])
    found = known.dual(Pairs(*map(jnp.asarray, (gram, norm, norm, b, b))))
    h = b / norm
    expected = (norm**2 + b**2) * stats.norm.cdf(h) + b * norm * stats.norm.pdf(h)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)


def expectation(f, g, w, b, v, c) -> float:
    """E f(u)g(v) of u = wᵀx + b and v = vᵀx + c: rules of their own on both sides of each kink."""
    norm = np.linalg.norm(w)
    along = w @ v / norm
    across = np.sqrt(v @ v - along**2)
    z, share = pieces(np.asarray([-b / norm]))
    mean = along * z[0] + c
    y, inner = pieces(-mean / across)
    return float(np.sum(share[0] * f(norm * z[0] + b) * np.sum(inner * g(across * y + mean[:, None]), axis=1)))


def pieces(kinks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of E over N(0, 1), a row for each kink: Gauss and Legendre's on pieces that end there."""
    x, weight = np.polynomial.legendre.leggauss(24)
    edges = np.linspace(-9.0, 9.0, 10)
    edges = np.sort(np.concatenate([np.tile(edges, (len(kinks), 1)), np.clip(kinks, -9.0, 9.0)[:, None]], axis=1))
    half = 0.5 * np.diff(edges)[..., None]
    at = (edges[:, :-1, None] + half * (1.0 + x)).reshape(len(kinks), -1)
    return at, (half * weight).reshape(at.shape) * stats.norm.pdf(at)


@pytest.mark.parametrize("name", ["leaky_relu", "erf", "polynomial", "sin"])
def test_kernels_and_slopes_are_those_of_quadrature(name, rng):
    """K, E σ(u) and their derivatives, by quadrature over both sides of each kink; off by 1 % they would fail."""
    sigma = SIGMAS[name]
    w, v = jnp.asarray(rng.normal(size=3)), jnp.asarray(0.6 * rng.normal(size=3))
    b, c = jnp.asarray(0.4), jnp.asarray(-0.7)

    def value(z):
        return np.asarray(sigma(jnp.asarray(z), jnp.zeros_like(jnp.asarray(z))))

    def slope(z):
        z = jnp.asarray(z)
        return np.asarray(jax.jvp(lambda z: sigma(z, jnp.zeros_like(z)), (z,), (jnp.ones_like(z),))[1])

    @jax.jit
    def known(w, b, v, c):
        def both(w, b, v, c):
            return biased_kernel(sigma, w[None], b[None], v[None], c[None])[0, 0]

        def mean(w, b):
            return biased_mean(sigma, w[None], b[None])[0]

        whole = jax.value_and_grad(both, argnums=(0, 1, 2, 3))(w, b, v, c)
        return *whole, *jax.value_and_grad(mean, argnums=(0, 1))(w, b)

    K, (dw, db, dv, dc), mean, (mean_w, mean_b) = known(w, b, v, c)
    assert float(K) == pytest.approx(expectation(value, value, w, b, v, c), rel=1e-10)
    assert float(db) == pytest.approx(expectation(slope, value, w, b, v, c), rel=1e-9, abs=1e-12)
    assert float(dc) == pytest.approx(expectation(slope, value, v, c, w, b), rel=1e-9, abs=1e-12)
    assert float(mean) == pytest.approx(expectation(value, np.ones_like, w, b, v, c), rel=1e-10)
    assert float(mean_b) == pytest.approx(expectation(slope, np.ones_like, w, b, v, c), rel=1e-9, abs=1e-12)
    step = 1e-4 * jnp.asarray(rng.normal(size=3))
    up, down = known(w + step, b, v, c), known(w - step, b, v, c)
    assert float(dw @ step) == pytest.approx(float(up[0] - down[0]) / 2.0, rel=1e-5, abs=1e-12)
    assert float(mean_w @ step) == pytest.approx(float(up[2] - down[2]) / 2.0, rel=1e-5, abs=1e-12)
    up, down = known(w, b, v + step, c), known(w, b, v - step, c)
    assert float(dv @ step) == pytest.approx(float(up[0] - down[0]) / 2.0, rel=1e-5, abs=1e-12)


# -- members -----------------------------------------------------------------------------------------


def study(**changes: Any) -> ens.Study:
    network = {"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 3}
    fields = {
        "name": "biased",
        "seeds": 2,
        "records": 4,
        "store_weights": True,
        "probes": ["loss", "max_angle", "total_mass", "imbalance"],
        "teacher": {"kind": "biased", "network": network, "biases": 0.5, "output_bias": 0.3},
        "student": {"kind": "biased", "neurons": 4, "biases": 0.1},
        "protocol": {
            "kind": "stages",
            "stages": [
                {"name": "first", "layers": "first", "step_size": 0.1, "steps": 10},
                {"name": "all", "step_size": 0.1, "steps": 20, "weight_decay": 0.01},
            ],
        },
    }
    return ens.Study(**(fields | changes))


@pytest.fixture(scope="module")
def trained():
    return ens.run(study())


def descended(network: BiasedTwoLayer, risk: Any) -> BiasedTwoLayer:
    """The stages of `study`, by differentiating the risk's value."""
    slope = jax.jit(jax.grad(risk.value))
    for step in range(30):
        decay = 0.0 if step < 10 else 0.01
        moved = jax.tree.map(lambda x, d, decay=decay: x - 0.1 * (d + decay * x), network, slope(network))
        kept = (network.a, network.output_bias) if step < 10 else (moved.a, moved.output_bias)
        network = BiasedTwoLayer(kept[0], moved.W, moved.biases, kept[1], network.activation)
    return network


def assert_close(network: Any, expected: Any) -> None:
    for one, other in zip(jax.tree.leaves(network), jax.tree.leaves(expected), strict=True):
        # Slopes at ρ = 1, of a neuron with itself, are differences of numbers of 1e-8: 1e-11 in 30 steps.
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10)


def test_descent_is_that_of_the_exact_risk(trained):
    """Written out in JAX: W and b alone, then all with decay. The risk is that of 50,000 inputs within four standard
    errors, which a fifth more would not be."""
    start, teacher = ens.initial(study(), 1)
    assert isinstance(start, BiasedTwoLayer) and isinstance(teacher, BiasedTwoLayer)
    network = descended(start, BiasedRisk.of(teacher))
    assert_close(ens.network(trained.sel(seed=1)), network)
    ended = trained.sel(seed=1)
    x = jnp.asarray(np.random.default_rng(5).normal(size=(50_000, 3)))
    terms = 0.5 * np.asarray(jax.vmap(lambda x: (network(x) - teacher(x)) ** 2)(x))
    error = 4.0 * terms.std() / np.sqrt(len(terms))
    assert abs(terms.mean() - float(ended["loss"])) < error < abs(terms.mean() - 1.2 * float(ended["loss"]))
    rows = np.concatenate([network.W, network.biases[:, None]], axis=1)
    stars = np.concatenate([teacher.W, teacher.biases[:, None]], axis=1)
    norms = np.linalg.norm(rows, axis=1)
    cosine = (rows @ stars.T) / norms[:, None] / np.linalg.norm(stars, axis=1)
    assert float(ended["max_angle"]) == pytest.approx(float(np.arccos(cosine.max(axis=1)).max()), rel=1e-9)
    assert float(ended["total_mass"]) == pytest.approx(float(np.abs(network.a) @ norms), rel=1e-9)
    again = ens.network(trained.sel(seed=1), "teacher")
    np.testing.assert_allclose(again.biases, teacher.biases, rtol=1e-15)
    assert float(again.output_bias) == 0.3


INPUTS: dict[str, Any] = {
    "anisotropic": {"kind": "anisotropic", "power": 1.5},
    "mixture": {"kind": "mixture", "means": [[2.0, 0.0, 0.5], [-1.0, 1.0, 0.0]], "spread": 0.7},
}


@pytest.mark.parametrize("name", INPUTS)
def test_other_gaussian_inputs_are_exact_with_biases(name):
    """Descent of a member on its exact risk, whose loss is that of 200,000 inputs and is told from that under
    N(0, I); its numbers compile nothing."""
    field = {"anisotropic": "power", "mixture": "spread"}[name]
    axes = {"number": {"field": f"data.inputs.{field}", "values": [INPUTS[name][field], 0.4]}}
    made = study(data={"inputs": INPUTS[name]}, axes=axes)
    assert made.points[0].cell.is_exact
    before = len(TRACES)
    ds = ens.run(made)
    assert len(TRACES) - before == 1
    one = ds.isel(number=0).sel(seed=1)
    network, teacher = ens.network(one), ens.network(one, "teacher")
    part = REGISTRY["inputs"][name](**INPUTS[name])
    x = jax.jit(lambda: InputLaw.of(part, 3).rows(jax.random.key(4), 200_000, jnp.float64))()
    terms = 0.5 * np.asarray(jax.vmap(lambda x: (network(x) - teacher(x)) ** 2)(x))
    error = 4.0 * terms.std() / np.sqrt(len(terms))
    loss, gaussian = float(one["loss"]), float(BiasedRisk.of(teacher).value(network))
    assert abs(terms.mean() - loss) < error < abs(gaussian - loss)
    start, _ = ens.initial(made, 1, number=INPUTS[name][field])
    risk = part.population(BiasedRisk.of(teacher), 3)
    assert_close(network, descended(start, risk))


@pytest.mark.long
def test_the_teacher_has_no_loss_and_no_slope(rng):
    """A neuron of the teacher's twice at half its weight, an opposite one and one without weights: all finite."""
    sigma = SIGMAS["relu"]
    W, b = rng.normal(size=(2, 3)), np.array([0.5, -1.2])
    teacher = BiasedTwoLayer([1.0, -2.0], W, b, 0.4, sigma)
    rows = np.concatenate([W, W[:1], -W[:1], np.zeros((1, 3))])
    copy = BiasedTwoLayer([0.5, -2.0, 0.5, 0.0, 0.0], rows, [*b, b[0], -b[0], 0.0], 0.4, sigma)
    value, slope = jax.jit(lambda model: BiasedRisk.of(teacher).value_and_gradient(model))(copy)
    assert abs(float(value)) < 1e-14
    assert max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(slope)) < 1e-7
    single = jax.tree.map(lambda x: x.astype(jnp.float32), (BiasedRisk.of(teacher), copy))
    value, slope = jax.jit(lambda risk, model: risk.value_and_gradient(model))(*single)
    assert abs(float(value)) < 1e-5 and {leaf.dtype for leaf in jax.tree.leaves(slope)} == {jnp.dtype("float32")}
    assert max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(slope)) < 3e-3


def test_without_a_closed_form_it_needs_samples():
    """Of the teacher with its biases, whose numbers are a program's arguments."""
    network = {"kind": "orthonormal", "activation": "gelu", "neurons": 2, "inputs": 3}
    fields = {"teacher": {"kind": "biased", "network": network, "biases": [0.5, -0.5], "output_bias": 0.2}}
    with pytest.raises(ens.StudyError, match=r"biased student with activation gelu and biases \(there is one for relu"):
        study(**fields)
    teacher = study(**fields, data={"samples": 30}).teacher
    drawn = jax.jit(lambda numbers: teacher.structure().with_numbers(numbers).draw(jax.random.key(1)))
    x = np.random.default_rng(6).normal(size=(30, 3))
    y = jax.vmap(drawn(teacher.numbers()))(jnp.asarray(x))
    z = x[:, :2] + np.array([0.5, -0.5])
    np.testing.assert_allclose(y, np.sum(z * stats.norm.cdf(z), axis=1) + 0.2, rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": {"biases": [0.1]}}, "teacher.biases: got 1 values for 2 neurons; give one a neuron"),
        ({"student": {"biases": [0.1]}}, "student.biases: got 1 values for 4 neurons"),
        ({"teacher": {"network": {"activation": "abs_centred"}}}, "teacher.network.activation: got 'abs_centred'"),
        ({"student": {"start": {"kind": "near_teacher", "distance": 0.1}}}, "student.start: got 'near_teacher'"),
        (
            {"student": {"start": {"kind": "given", "a": [1.0] * 4, "W": [[1.0]] * 4}}},
            "W: got rows of 1 inputs, but those of teacher.network have 3",
        ),
        ({"data": {"inputs": "sphere"}}, "under sphere inputs has no closed form with biases: there is one for gau"),
        ({"student": {"kind": "two_layer", "neurons": 4}}, "teacher.kind: got 'biased', which a two_layer student"),
        ({"probes": ["gap"]}, "probes: got 'gap' for a biased student"),
        ({"coordinates": "reduced"}, "coordinates: got 'reduced' for a biased student"),
        ({"protocol": {"kind": "zhou_ge"}}, "got a ridge stage for a student that is no two_layer"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field(changes, message):
    whole = study()
    tables = {name: getattr(whole, name).model_dump(mode="json", exclude_none=True) for name in ("teacher", "student")}
    for name in set(tables) & set(changes):
        of_kind = changes[name].get("kind", tables[name]["kind"]) == tables[name]["kind"]
        network = changes[name].get("network", {})
        made = (tables[name] if of_kind else {}) | changes[name]
        changes = changes | {name: made | ({"network": tables[name]["network"] | network} if network else {})}
    with pytest.raises(ens.StudyError, match=message):
        study(**changes)
