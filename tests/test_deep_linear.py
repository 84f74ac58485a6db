"""Deep linear networks: risk, starts, probes, and descent against the exact mode curves (theory.md §11)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError
from scipy.integrate import quad

import analysis
import ensemble as ens
import ensemble.engine.kernels.base as kernels
from ensemble.engine.pools import LanePool
from ensemble.numerics import member_keys
from ensemble.numerics.keys import fixed_key, member_key
from ensemble.problem.models import DeepLinear, SingularMap
from ensemble.problem.risks import LinearRisk
from ensemble.problem.starts import AlignedBalanced, Gaussian, Identity, LambdaBalanced, NearFactors, Orthogonal
from ensemble.problem.teachers import DeepLinearTeacher
from tests.helpers import assert_same_members
from tests.test_pictures import cut_or_covered

MODES = (3.0, 2.0, 1.0)
ALIGNED = {"kind": "aligned_balanced", "scale": 0.05}
TEACHER = {"kind": "deep_linear", "singular_values": list(MODES), "inputs": 6, "outputs": 4, "rotation": "random"}


def study(**changes) -> ens.Study:
    fields = {
        "name": "deep",
        "seeds": 3,
        "records": 20,
        "store_weights": True,
        "probes": ["loss", "mode_strength", "mode_leakage", "balancedness", "layer_norm", "layer_effective_rank"],
        "teacher": TEACHER,
        "student": {
            "kind": "deep_linear",
            "depth": 3,
            "width": 5,
            "start": {"kind": "aligned_balanced", "scale": 0.05},
        },
        "protocol": {"kind": "plain", "step_size": 0.01, "steps": 400},
    }
    return ens.Study.model_validate(fields | changes)


@pytest.fixture(scope="module")
def depths():
    """Depths of 2 and 3 from an aligned and from a random start."""
    starts = [ALIGNED, {"kind": "gaussian", "gain": 0.7}]
    axes = {"depth": [2, 3], "start": {"values": ["aligned", "gaussian"], "fields": {"student.start": starts}}}
    return ens.run(study(axes=axes, probes=[*study().probes, "layer_alignment"]))


# -- exact curves ------------------------------------------------------------------------------------


@pytest.mark.parametrize("s", MODES)
@pytest.mark.parametrize("scale", [1e-4, 0.05])
def test_two_balanced_layers_follow_the_logistic_curve(s, scale):
    t = np.linspace(0.0, 8.0, 40)
    exact = s / (1.0 + (s / scale - 1.0) * np.exp(-2.0 * s * t))
    shares = np.full(2, scale**0.5)
    np.testing.assert_allclose(analysis.mode_strength(s, shares, t), exact, atol=1e-8)
    # ln(s/u₀ − 1)/2s is where the logistic curve is at s/2.
    assert analysis.learning_time(s, shares) == pytest.approx(np.log(s / scale - 1.0) / (2.0 * s), rel=1e-9)


@pytest.mark.parametrize("imbalance", [-2.0, 0.3, 4.0])
def test_lambda_balanced_layers_follow_their_closed_form(imbalance):
    s, u0, t = 2.0, 0.01, np.linspace(0.0, 3.0, 30)
    shares = np.asarray(LambdaBalanced(scale=u0, imbalance=imbalance).shares(2))
    assert shares[1] ** 2 - shares[0] ** 2 == pytest.approx(imbalance, rel=1e-12)
    assert shares.prod() == pytest.approx(u0, rel=1e-12)
    u, size = analysis.mode_strength(s, shares, t), abs(imbalance)
    z = (2 * u + np.sqrt(size**2 + 4 * u**2)) / size
    plus, minus = ((2 * s * sign + np.sqrt(4 * s**2 + size**2)) / size for sign in (1, -1))
    ratio = (z - plus) / (z + minus)
    np.testing.assert_allclose(ratio, ratio[0] * np.exp(-np.sqrt(4 * s**2 + size**2) * t), atol=1e-8)


@pytest.mark.parametrize("depth", [3, 4, 6])
def test_deeper_balanced_layers_take_the_time_of_the_integral(depth):
    """t(u) = ∫ du/(L u^{2−2/L}(s − u)), by quadrature in ln u."""
    s, scale = 2.0, 0.05
    exact, _ = quad(lambda x: np.exp(x * (2.0 / depth - 1.0)) / (depth * (s - np.exp(x))), np.log(scale), np.log(s / 2))
    assert analysis.learning_time(s, np.full(depth, scale ** (1 / depth))) == pytest.approx(exact, rel=1e-9)


def test_decay_takes_a_share_of_the_mode():
    """Two balanced layers rest at u = s − λ, where ċ = c(s − c² − λ) is 0, and at 0 for s ≤ λ."""
    shares, late = np.full(2, 0.1), np.array([0.0, 200.0])
    assert analysis.mode_strength(2.0, shares, late, weight_decay=0.5)[-1] == pytest.approx(1.5, rel=1e-9)
    assert analysis.mode_strength(0.4, shares, late, weight_decay=0.5)[-1] == pytest.approx(0.0, abs=1e-9)


def test_a_mode_without_strength_is_never_learned():
    assert analysis.learning_time(1.0, np.zeros(3)) == np.inf
    assert analysis.learning_time(1.0, np.ones(3)) == 0.0


def test_descent_is_at_a_distance_of_the_order_of_the_step_from_the_exact_curves():
    """Halving the step halves the distance: the slope of ln distance in ln η is 1."""
    sizes = [0.02, 0.01, 0.005]
    axes = {"eta": {"values": sizes, "fields": {"protocol.step_size": sizes, "protocol.steps": [200, 400, 800]}}}
    ds = ens.run(study(seeds=1, axes=axes, records=(0, *range(40, 801, 40)), store_weights=False))
    far = np.abs(ds["mode_strength_history"] - analysis.mode_curves(ds)["exact"]).isel(seed=0)
    ended = ds["step"] <= ds["stop_step"].isel(seed=0)
    distance = far.where(ended).max(["record", "mode"]).values
    slopes = np.diff(np.log(distance)) / np.diff(np.log(sizes))
    assert np.all(np.abs(slopes - 1.0) < 0.1), slopes
    assert float(ds["mode_leakage_history"].max()) < 1e-13, "modes mixed"


def flowing(depth: int = 3, start: dict = ALIGNED) -> ens.Study:
    update = {"kind": "flow", "rtol": 1e-10, "atol": 1e-12}
    student = {"kind": "deep_linear", "depth": depth, "width": 5, "start": start}
    return study(
        student=student, seeds=1, protocol={"kind": "plain", "update": update, "step_size": 0.25, "time": 10.0}
    )


def test_flow_is_the_exact_curve():
    """Every depth from 2 to 6 in tests/validation/test_deep_flow.py."""
    ds = ens.run(flowing())
    far = np.abs(ds["mode_strength_history"] - analysis.mode_curves(ds)["exact"])
    assert float(far.max()) < 1e-8
    assert np.all(np.abs(ds["mode_strength"] - np.asarray(MODES)) < 1e-8)


def test_flow_conserves_what_layers_differ_by():
    """d/dt (W_{l+1}ᵀW_{l+1} − W_lW_lᵀ) = 0 from any start, here entry by entry; descent breaks it at order η."""
    asked = flowing(start={"kind": "gaussian", "gain": 0.7})
    ds = ens.run(asked)
    (point,) = asked.points
    begun, _ = point.cell.student.draw(point.cell.teacher, member_keys(0, 0), None)
    ended = ens.network(ds.isel(seed=0))
    assert float(ds["loss"].isel(seed=0)) < 1e-3, "it moved"
    for pair in (0, 1):
        before, after = (
            m.layers[pair + 1].T @ m.layers[pair + 1] - m.layers[pair] @ m.layers[pair].T for m in (begun, ended)
        )
        np.testing.assert_allclose(after, before, atol=1e-10)


def test_mode_curves_are_of_cells_from_which_they_are_known(depths):
    curves = analysis.mode_curves(depths)
    assert np.all(np.isfinite(curves["exact"].sel(start="aligned")))
    assert np.all(np.isnan(curves["exact"].sel(start="gaussian")))
    distance = np.abs(depths["mode_strength_history"] - curves["exact"]).sel(start="aligned").max()
    assert 1e-4 < float(distance) < 0.1
    with pytest.raises(ValueError, match="from which modes mix"):
        analysis.mode_curves(depths.sel(start="gaussian"))
    with pytest.raises(ValueError, match="mode_strength"):
        analysis.mode_curves(ens.run(study(probes=["loss"], seeds=1, protocol={"kind": "plain", "steps": 1})))


def test_modes_are_learned_in_order_of_their_singular_values(depths):
    steps = analysis.learning_steps(depths)
    assert np.all(np.diff(steps["step"].sel(start="aligned"), axis=-1) > 0)
    inside = (steps["after"] <= steps["step"]) & (steps["step"] <= steps["by"])
    assert bool(inside.all())
    exact = analysis.mode_curves(depths)["learning_time"].sel(start="aligned") / 0.01
    aligned = steps.sel(start="aligned")
    assert bool(((aligned["after"] - 10 <= exact) & (exact <= aligned["by"] + 10)).all())
    with pytest.raises(ValueError, match="learned: got"):
        analysis.learning_steps(depths, 1.5)


@pytest.mark.parametrize("at", [{}, {"seed": 1}, {"depth": 2}, {"depth": 3, "seed": 0}])
def test_every_shape_is_served(depths, at):
    ds = depths.sel(start="aligned").sel(at)
    assert "mode" in analysis.learning_steps(ds)["step"].dims
    assert np.all(np.isfinite(analysis.mode_curves(ds)["exact"]))
    assert not cut_or_covered(analysis.mode_picture(ds))


def test_the_picture_has_a_panel_a_value_and_no_exact_curve_where_none_is_known(depths):
    known = analysis.mode_picture(depths.sel(start="aligned"))
    unknown = analysis.mode_picture(depths.sel(start="gaussian"))
    assert len(known.axes) == len(unknown.axes) == 2
    assert [len(figure.axes[0].lines) for figure in (known, unknown)] == [6, 3]
    with pytest.raises(ValueError, match="the axis 'start' is open"):
        analysis.mode_picture(depths, along="depth")


def test_a_map_of_layers_shows_medians_of_the_layers_that_there_are(depths):
    ds = depths.sel(start="aligned")
    figure = analysis.layer_picture(ds, "layer_alignment")
    assert not cut_or_covered(figure)
    shallow, deep = (np.ma.filled(ax.collections[0].get_array(), np.nan) for ax in figure.axes[:2])
    expected = ds["layer_alignment_history"].median("seed").transpose("depth", "layer_pair", "record").values
    np.testing.assert_allclose(deep, expected[1])
    np.testing.assert_allclose(shallow[:1], expected[0, :1])
    assert np.all(np.isnan(shallow[1:]))  # two layers are one pair
    assert not cut_or_covered(analysis.layer_picture(ds.sel(depth=3, seed=0), "mode_strength"))
    with pytest.raises(ValueError, match="measure: got 'loss', which has no value for each layer, pair or mode"):
        analysis.layer_picture(ds, "loss")


# -- the problem -------------------------------------------------------------------------------------


def test_risk_is_the_population_loss_and_its_gradient_the_written_out_one(rng):
    layers = [rng.normal(size=shape) for shape in ((5, 6), (5, 5), (4, 5))]
    planted = DeepLinearTeacher.model_validate(TEACHER).draw(fixed_key(3))
    model, T = DeepLinear(layers), np.asarray(planted.matrix)
    value, slope = LinearRisk(planted).value_and_gradient(model)
    A = layers[2] @ layers[1] @ layers[0]
    assert float(value) == pytest.approx(0.5 * ((A - T) ** 2).sum(), rel=1e-13)
    x = rng.normal(size=(40_000, 6))
    sampled = 0.5 * ((x @ (A - T).T) ** 2).sum(axis=1)
    assert abs(sampled.mean() - float(value)) < 4 * sampled.std() / np.sqrt(len(x))
    written = [
        layers[1].T @ layers[2].T @ (A - T),
        layers[2].T @ (A - T) @ layers[0].T,
        (A - T) @ (layers[1] @ layers[0]).T,
    ]
    for found, expected in zip(slope.layers, written, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    one = jnp.asarray(x[0])
    np.testing.assert_allclose(model(one), A @ x[0], rtol=1e-12)
    np.testing.assert_allclose(planted(one), T @ x[0], rtol=1e-12, atol=1e-12)


def test_a_teacher_has_its_singular_values_and_turns_by_seed():
    planted = [DeepLinearTeacher.model_validate(TEACHER).draw(fixed_key(seed)) for seed in (0, 1)]
    for one in planted:
        np.testing.assert_allclose(np.linalg.svd(one.matrix, compute_uv=False)[:3], MODES, rtol=1e-13)
    assert np.abs(planted[0].matrix - planted[1].matrix).max() > 0.1
    axes = DeepLinearTeacher.model_validate(TEACHER | {"rotation": "axes"}).draw(fixed_key(0))
    np.testing.assert_array_equal(axes.matrix, np.diag([*MODES, 0.0]) @ np.eye(4, 6))


SIZES = (6, 5, 7, 4)


@pytest.fixture
def planted() -> SingularMap:
    return DeepLinearTeacher.model_validate(TEACHER).draw(fixed_key(0))


def test_the_balanced_start_carries_its_scale_in_every_mode(planted):
    model = DeepLinear(AlignedBalanced(scale=0.02).draw(fixed_key(1), planted, SIZES))
    for before, after in zip(model.layers[:-1], model.layers[1:], strict=True):
        np.testing.assert_allclose(before @ before.T, after.T @ after, atol=1e-15)
    np.testing.assert_allclose(planted.U.T @ model.matrix @ planted.V, 0.02 * np.eye(3), atol=1e-15)


def test_modes_beyond_a_hidden_width_stay_out(planted):
    model = DeepLinear(AlignedBalanced(scale=0.02).draw(fixed_key(1), planted, (6, 2, 4)))
    np.testing.assert_allclose(planted.U.T @ model.matrix @ planted.V, np.diag([0.02, 0.02, 0.0]), atol=1e-15)


def test_a_start_near_the_factors_is_the_teacher_and_noise(planted):
    layers = NearFactors(distance=0.0).draw(fixed_key(1), planted, SIZES)
    np.testing.assert_allclose(DeepLinear(layers).matrix, planted.matrix, atol=1e-14)
    noisy = NearFactors(distance=0.3).draw(fixed_key(1), planted, SIZES)
    noise = Gaussian(gain=0.3).draw(fixed_key(1), planted, SIZES)
    for found, exact, beside in zip(noisy, layers, noise, strict=True):
        np.testing.assert_allclose(found, exact + beside, atol=1e-15)


def test_stages_train_the_layers_that_they_name():
    """Each stage moves its own layers, bit for bit no other; an axis over layers compiles nothing new."""
    common = {"step_size": 0.01, "steps": 5}
    stages = [{"name": "one", "layers": [0], **common}, {"name": "rest", "layers": [1, 2], **common}]
    asked = study(protocol={"kind": "stages", "stages": stages}, seeds=1, records=0, probes=["loss", "layer_norm"])
    ds = ens.run(asked)
    (point,) = asked.points
    begun, _ = point.cell.student.draw(point.cell.teacher, member_keys(0, 0), None)
    norms = ds["layer_norm_stage"].isel(seed=0).values
    start = [float(jnp.linalg.norm(W)) for W in begun.layers]
    np.testing.assert_allclose(norms[0, 1:], start[1:], rtol=1e-12)
    assert abs(norms[0, 0] - start[0]) > 1e-6 and norms[1, 0] == norms[0, 0]
    assert np.all(np.abs(norms[1, 1:] - norms[0, 1:]) > 1e-6)
    with pytest.raises(ValueError, match="exact mode curves are known of one stage"):
        analysis.mode_curves(ens.run(asked.replace(probes=["mode_strength"], records=2)))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([3], r"layers: got \[3\] in the stage 'local' for a deep_linear student, which has no layer 3: there are 3"),
        ([], r"layers: got \[\]; name at least one"),
        ([1, 1], r"layers: got \[1, 1\]; name at least one, each once"),
    ],
)
def test_layers_that_are_none_are_refused(layers, message):
    with pytest.raises(ValidationError, match=message):
        study(protocol={"kind": "stages", "stages": [{"name": "local", "layers": layers, "steps": 5}]})


def test_two_layer_students_have_no_numbered_layers():
    table = {
        "teacher": {"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 3},
        "student": {"neurons": 2},
        "protocol": {"kind": "stages", "stages": [{"name": "local", "layers": [0], "steps": 5}]},
        "probes": ["loss"],
    }
    with pytest.raises(ValidationError, match='for a two_layer student; take "first", "output" or "both"'):
        study(**table)


def test_starts_that_do_not_know_the_teacher(planted):
    frames = Orthogonal(gain=0.5).draw(fixed_key(1), planted, SIZES)
    for W in frames:
        G = W @ W.T if W.shape[0] <= W.shape[1] else W.T @ W
        np.testing.assert_allclose(G, 0.25 * np.eye(len(G)), atol=1e-14)
    identity = Identity(gain=2.0).draw(fixed_key(1), planted, SIZES)
    np.testing.assert_array_equal(identity[1], 2.0 * np.eye(7, 5))
    drawn = Gaussian(gain=0.7).draw(fixed_key(1), planted, (6, 40, 60, 4))
    assert np.std(drawn[1]) == pytest.approx(0.7 / np.sqrt(40), rel=0.05)
    narrow = Gaussian(gain=0.7).draw(fixed_key(1), planted, (6, 20, 60, 4))
    np.testing.assert_array_equal(narrow[0], drawn[0][:20])


def test_probes_are_what_numpy_says(depths):
    for depth in (2, 3):
        one = depths.sel(start="gaussian", depth=depth, seed=1)
        sizes = (6, *(5,) * (depth - 1), 4)
        W = [one["layer_weights"].values[i, : sizes[i + 1], : sizes[i]] for i in range(depth)]
        ranks = [(s2 := np.linalg.svd(w, compute_uv=False) ** 2).sum() ** 2 / (s2**2).sum() for w in W]
        np.testing.assert_allclose(one["layer_norm"][:depth], [np.linalg.norm(w) for w in W], rtol=1e-12)
        np.testing.assert_allclose(one["layer_effective_rank"][:depth], ranks, rtol=1e-10)
        for i in range(depth - 1):
            out, taken = W[i] @ W[i].T, W[i + 1].T @ W[i + 1]
            assert float(one["balancedness"][i]) == pytest.approx(np.linalg.norm(taken - out), rel=1e-10)
            cosine = (out * taken).sum() / np.linalg.norm(out) / np.linalg.norm(taken)
            assert float(one["layer_alignment"][i]) == pytest.approx(cosine, rel=1e-10)
        product = np.linalg.multi_dot(W[::-1])
        planted = DeepLinearTeacher.model_validate(TEACHER).draw(member_key(0, 1, "teacher"))
        inside = np.asarray(planted.U).T @ product @ np.asarray(planted.V)
        np.testing.assert_allclose(one["mode_strength"], np.diag(inside), rtol=1e-10)
        outside = product - np.asarray(planted.U) @ np.diag(np.diag(inside)) @ np.asarray(planted.V).T
        assert float(one["mode_leakage"]) == pytest.approx(np.linalg.norm(outside), rel=1e-9)
        assert float(one["loss"]) == pytest.approx(0.5 * ((product - np.asarray(planted.matrix)) ** 2).sum(), rel=1e-9)


def test_balancedness_is_conserved_to_the_order_of_the_step(depths):
    """Flow conserves it; descent changes it by O(η²) a step, so that half the step leaves half the change."""
    twice = study(
        axes={"depth": [2, 3]},
        student={"kind": "deep_linear", "depth": 3, "width": 5, "start": {"kind": "gaussian", "gain": 0.7}},
        protocol={"kind": "plain", "step_size": 0.005, "steps": 800},
        store_weights=False,
        probes=["balancedness"],
    )
    coarse, fine = (
        np.abs(ds["balancedness"] - ds["balancedness_history"].isel(record=0)).max(["seed", "layer_pair"])
        for ds in (depths.sel(start="gaussian"), ens.run(twice))
    )
    assert np.all((coarse / fine > 1.6) & (coarse / fine < 2.4)), (coarse.values, fine.values)


def test_networks_of_a_dataset_are_functions(depths, rng):
    x = jnp.asarray(rng.normal(size=6))
    one = depths.sel(depth=2, start="gaussian", seed=1)
    student, teacher = ens.network(one), ens.network(one, "teacher")
    assert [W.shape for W in student.layers] == [(5, 6), (4, 5)]
    loss = 0.5 * jnp.sum((student.matrix - teacher.matrix) ** 2)
    assert float(loss) == pytest.approx(float(one["loss"]), rel=1e-12)
    np.testing.assert_allclose(student(x), student.matrix @ x, rtol=1e-12)
    batch = ens.network(depths.sel(depth=3))
    assert [W.shape for W in batch.layers] == [(2, 3, 5, 6), (2, 3, 5, 5), (2, 3, 4, 5)]
    with pytest.raises(ens.StudyError, match="different sizes of layers"):
        ens.network(depths)
    with pytest.raises(ens.StudyError, match="holds no layer_weights"):
        ens.network(one.drop_vars("layer_weights"))


# -- as any member -----------------------------------------------------------------------------------


@pytest.mark.parametrize("update", ["descent", "adam"])
def test_seeds_alone_refill_and_budget_change_nothing(update, monkeypatch):
    protocol = {"kind": "plain", "step_size": 0.02, "steps": 60, "update": update, "grad_norm": 0.5}
    student = {"kind": "deep_linear", "depth": 3, "width": 5, "start": {"kind": "gaussian", "gain": 0.9}}
    asked = {"protocol": protocol, "student": student, "probes": ["loss", "mode_strength"]}
    ds = ens.run(study(**asked))
    assert_same_members(ens.run(study(seeds=1, **asked)), ds)
    monkeypatch.setattr(kernels, "_MOST_LANES", 16)
    monkeypatch.setattr(LanePool, "budget", lambda self, *_: 7)
    assert_same_members(ds, ens.run(study(seeds=40, **asked)))


def test_a_directory_is_opened_extended_and_made_again(tmp_path):
    small = {"records": 5, "protocol": {"kind": "plain", "step_size": 0.02, "steps": 60}}
    ens.run(study(**small), out=tmp_path / "run")
    ens.run(study(**small, seeds=5), out=tmp_path / "run")
    ds = ens.open_dataset(tmp_path / "run").load()
    assert ds.sizes["seed"] == 5 and ds["layer_weights"].dims == ("seed", "layer", "layer_output", "layer_input")
    assert_same_members(ens.run(study(**small)), ds)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"teacher": TEACHER | {"singular_values": [1.0] * 5}},
            "singular_values: got 5 for inputs = 6",
        ),
        ({"teacher": TEACHER | {"singular_values": [-1.0]}}, "singular_values"),
        (
            {"teacher": {"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 4}},
            "a deep_linear student",
        ),
        ({"student": {"neurons": 3}}, "teacher.kind: got 'deep_linear', which a two_layer student cannot learn from"),
        ({"student": {"kind": "deep_linear", "width": 5, "start": "balanced"}}, "known starts are aligned_balanced"),
        (
            {"student": {"kind": "deep_linear", "depth": 3, "width": 5, "start": "lambda_balanced"}},
            "got 3 with the start lambda_balanced, which is one of two layers",
        ),
        ({"protocol": {"kind": "plain", "max_angle": 0.1}}, "protocol.max_angle"),
        ({"protocol": {"kind": "zhou_ge"}}, "got a ridge stage for a student that is no two_layer"),
        ({"probes": ["max_angle"]}, "probes: got 'max_angle' for a deep_linear student"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field(changes, words):
    with pytest.raises(ens.StudyError, match=words):
        ens.Study(**(study().model_dump(mode="json", exclude_none=True) | {"probes": ["loss"]} | changes))


def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="layers: got shapes"):
        DeepLinear([np.ones((2, 3)), np.ones((2, 3))])
    assert jax.tree.leaves(DeepLinear([np.ones((2, 3))]))[0].shape == (2, 3)
