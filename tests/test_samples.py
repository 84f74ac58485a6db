"""Members that are trained on samples: the same descent written out, exact scores, bits, and what is refused."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import ensemble as ens
import ensemble.engine.kernels.base as kernels
from ensemble.engine.kernels import simd
from ensemble.engine.kernels.draws import store_normals
from ensemble.engine.pools import LanePool
from ensemble.engine.program import TRACES
from ensemble.parts import REGISTRY
from ensemble.problem.students import DeepLinearStudent
from tests.helpers import assert_same_members, run_paused

FULL, BATCH = {"samples": 30, "noise": 0.2}, {"samples": 30, "noise": 0.2, "batch": 6}
SHUFFLED, ONLINE = BATCH | {"replacement": False}, {"online": True, "batch": 5, "noise": 0.2}
DATA = {"full": FULL, "batch": BATCH, "shuffled": SHUFFLED, "online": ONLINE}
TEACHER = {"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 4, "rotation": "random"}


def study(data: dict | None, **changes) -> ens.Study:
    fields = {
        "name": "sampled",
        "seeds": 3,
        "records": [0, 7, 20],
        "store_weights": True,
        "probes": ["loss", "grad_norm", "risk"],
        "teacher": TEACHER,
        "student": {"neurons": 3, "start": "xavier"},
        "protocol": {"kind": "fixed_decay", "weight_decay": 0.01, "step_size": 0.1, "steps": 25},
    }
    if data is not None:
        fields["data"] = data
        if "samples" in data:
            fields["probes"] = [*fields["probes"], "train_loss", "generalisation_gap", "label_noise_fit"]
    return ens.Study.model_validate(fields | changes)


@pytest.fixture(scope="module", params=[(name, engine) for engine in ("simd", "xla") for name in DATA], ids="-".join)
def case(request) -> tuple[str, xr.Dataset]:
    name, engine = request.param
    ds = ens.run(study(DATA[name]), engine=engine)
    assert ds.attrs["engine"] == engine
    return name, ds


# -- against the same written out --------------------------------------------------------------------


def slopes(a, W, x, y):
    """(½ mean (f − y)², its gradient) of a relu network, written out."""
    hidden = np.maximum(x @ W.T, 0.0)
    error = hidden @ a - y
    pulled = (error[:, None] * (x @ W.T > 0.0)) * a[None, :]
    return 0.5 * np.mean(error**2), hidden.T @ error / len(x), pulled.T @ x / len(x)


def test_steps_are_those_of_descent_on_the_members_own_data(case):
    """NumPy on `ens.sample` takes the same 25 steps."""
    name, ds = case
    s = study(DATA[name])
    for seed in range(2):
        student, _ = ens.initial(s, seed)
        a, W = np.array(student.a), np.array(student.W)
        for step in range(25):
            x, y = ens.sample(s, seed, step=step)
            _, slope_a, slope_W = slopes(a, W, np.asarray(x), np.asarray(y))
            a, W = a - 0.1 * (slope_a + 0.01 * a), W - 0.1 * (slope_W + 0.01 * W)
        np.testing.assert_allclose(ds["a"].sel(seed=seed), a, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(ds["W"].sel(seed=seed), W, rtol=1e-10, atol=1e-12)


def test_a_member_is_scored_by_the_exact_population_loss(case):
    name, ds = case
    for seed in range(2):
        one = ds.sel(seed=seed)
        student, teacher = ens.network(one), ens.network(one, "teacher")
        loss = float(ens.population_loss(student, teacher))
        assert float(one["loss"]) == pytest.approx(loss, rel=1e-12)
        assert float(one["loss_history"][-1]) != float(one["loss"]), "it went on from there"
        shrink = 0.5 * 0.01 * float(np.sum(student.a**2) + np.sum(student.W**2))
        assert float(one["risk"]) == pytest.approx(loss + shrink, rel=1e-12)
        if name == "online":
            whole = ens.population_gradient(student, teacher)
            slope = [np.asarray(whole.a), np.asarray(whole.W)]
        else:
            x, y = map(np.asarray, ens.sample(study(DATA[name]), seed))
            train, *slope = slopes(np.asarray(student.a), np.asarray(student.W), x, y)
            assert float(one["train_loss"]) == pytest.approx(train, rel=1e-12)
            gap = loss + 0.5 * 0.2**2 - train
            assert float(one["generalisation_gap"]) == pytest.approx(gap, rel=1e-10)
            clean = np.asarray(teacher(x))
            fit = ((np.asarray(student(x)) - clean) @ (y - clean)) / ((y - clean) @ (y - clean))
            assert float(one["label_noise_fit"]) == pytest.approx(fit, rel=1e-9)
        pull = [g + 0.01 * np.asarray(w) for g, w in zip(slope, (student.a, student.W), strict=True)]
        norm = np.sqrt(sum(np.sum(g**2) for g in pull))
        assert float(one["grad_norm"]) == pytest.approx(norm, rel=1e-10)


def test_batches_without_replacement_see_every_sample_once_an_epoch():
    s = study(SHUFFLED)
    whole = np.asarray(ens.sample(s, 1).x)
    epochs = [np.concatenate([ens.sample(s, 1, step=5 * e + k).x for k in range(5)]) for e in range(2)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch[:, 0]), np.sort(whole[:, 0]))
    assert not np.array_equal(*epochs)


def test_ridge_solves_the_least_squares_of_the_sample():
    stages = [{"name": "fit", "update": "ridge", "layers": "output", "weight_decay": 0.02}]
    stages += [{"name": "rest", "steps": 1, "step_size": 1e-300}]
    s = study(BATCH, protocol={"kind": "stages", "stages": stages})
    ds = ens.run(s)
    student, _ = ens.initial(s, 2)
    x, y = map(np.asarray, ens.sample(s, 2))
    hidden = np.maximum(x @ np.asarray(student.W).T, 0.0)
    a = np.linalg.solve(hidden.T @ hidden / 30 + 0.02 * np.eye(3), hidden.T @ y / 30)
    np.testing.assert_allclose(ds["a"].sel(seed=2), a, rtol=1e-10)


def test_a_target_has_labels_of_its_own_neurons_with_the_same_noise():
    stage = {"name": "one", "target": [1], "step_size": 0.1, "steps": 1}
    s = study(FULL, protocol={"kind": "stages", "stages": [stage]})
    student, teacher = ens.initial(s, 0)
    x, y = map(np.asarray, ens.sample(s, 0))
    fewer = y - np.asarray(teacher.a)[0] * np.maximum(x @ np.asarray(teacher.W)[0], 0.0)
    _, slope, _ = slopes(np.asarray(student.a), np.asarray(student.W), x, fewer)
    np.testing.assert_allclose(ens.run(s)["a"].sel(seed=0), np.asarray(student.a) - 0.1 * slope, rtol=1e-11)


def test_any_model_is_trained_on_samples():
    """Deep linear students have several outputs: ½ mean ‖f − y‖²."""
    teacher = {"kind": "deep_linear", "singular_values": [2.0, 1.0], "inputs": 4, "outputs": 3}
    student = {"kind": "deep_linear", "depth": 2, "width": 3, "start": {"kind": "gaussian", "gain": 0.7}}
    s = study(FULL, teacher=teacher, student=student, seeds=2)
    ds = ens.run(s)
    layers = [np.array(W) for W in ens.initial(s, 1)[0].layers]
    x, y = map(np.asarray, ens.sample(s, 1))
    assert y.shape == (30, 3)
    for _ in range(25):
        first, second = layers
        error = (x @ first.T @ second.T - y) / 30
        steps = (error @ second).T @ x + 0.01 * first, error.T @ (x @ first.T) + 0.01 * second
        layers = [W - 0.1 * step for W, step in zip(layers, steps, strict=True)]
    found = ens.network(ds.sel(seed=1)).layers
    for W, expected in zip(found, layers, strict=True):
        np.testing.assert_allclose(W, expected, rtol=1e-10, atol=1e-12)
    train = 0.5 * np.sum((x @ layers[0].T @ layers[1].T - y) ** 2) / 30
    gap = float(ds["loss"][1]) + 0.5 * 3 * 0.2**2 - train
    assert float(ds["generalisation_gap"][1]) == pytest.approx(gap, rel=1e-9)


# -- vectors of eight members --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn() -> list[tuple[np.ndarray, np.ndarray]]:
    """x and noise of ten steps; the activation has no part in them."""
    s = study(ODD, teacher=TEACHER | {"inputs": 5}, seeds=2)
    _, teacher = ens.initial(s, 1)
    samples = [ens.sample(s, 1, step=step) for step in range(10)]
    return [(np.asarray(x), np.asarray(y - teacher(x))) for x, y in samples]


ODD = {"online": True, "batch": 11, "noise": 0.1}
"""No multiple of the rows in work at once; nor are five inputs one of four."""


@pytest.mark.parametrize("activation", ["abs_centred", {"kind": "leaky_relu", "slope": 0.3}])
def test_other_activations_take_the_steps_that_differentiation_gives(activation, drawn):
    protocol = {"kind": "fixed_decay", "weight_decay": 0.01, "step_size": 0.1, "steps": 10}
    teacher = TEACHER | {"activation": activation, "inputs": 5}
    s = study(ODD, teacher=teacher, seeds=2, probes=["grad_norm"], protocol=protocol, records=[0])
    ds = ens.run(s, engine="simd")
    (model, planted) = ens.initial(s, 1)

    @jax.jit
    def slope(model, x, noise):
        return jax.grad(lambda f: 0.5 * jnp.mean((f(x) - planted(x) - noise) ** 2))(model)

    for x, noise in drawn:
        model = jax.tree.map(lambda w, g: w - 0.1 * (g + 0.01 * w), model, slope(model, x, noise))
    np.testing.assert_allclose(ds["a"].sel(seed=1), model.a, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ds["W"].sel(seed=1), model.W, rtol=1e-10, atol=1e-12)


def test_a_sample_beyond_a_cores_own_memory_gives_the_same_bits(monkeypatch):
    near = ens.run(study(FULL), engine="simd")
    monkeypatch.setattr(simd, "_MOST_HELD", 0)
    assert_same_members(near, ens.run(study(FULL), engine="simd"))


def test_normal_numbers_are_jaxs(rng):
    """Relative to 1e-14: the same hash, and the same formula with other roundings; 40 000 reach the tails' branch."""
    keys = jax.vmap(lambda k: jax.random.fold_in(jax.random.key(5), k))(jnp.arange(8))
    words, found = np.zeros(32, np.uint32), np.zeros(8 * 5003)
    words[:16] = np.asarray(jax.random.key_data(keys)).T.reshape(-1)
    store_normals(found, 0, words, 0, 5003)
    expected = np.asarray(jax.vmap(lambda k: jax.random.normal(k, (5003,)))(keys))
    assert np.abs(expected).max() > 3.5
    np.testing.assert_allclose(found.reshape(-1, 8).T, expected, rtol=1e-14)


# -- draws -------------------------------------------------------------------------------------------


def test_larger_samples_begin_with_the_smaller_ones_and_noise_is_a_row():
    axes = {"samples": [10, 20], "noise": [0.0, 0.1, 0.2]}
    s = study(FULL, axes=axes, seeds=1, probes=["loss"])
    small, large = (ens.sample(s, 0, samples=n, noise=0.1) for n in (10, 20))
    np.testing.assert_array_equal(small.x, large.x[:10])
    np.testing.assert_array_equal(small.y, large.y[:10])
    clean, one, two = (np.asarray(ens.sample(s, 0, samples=10, noise=z).y) for z in (0.0, 0.1, 0.2))
    np.testing.assert_allclose(2 * (one - clean), two - clean, rtol=1e-12)
    before = len(TRACES)
    ens.run(s, engine="xla")
    assert len(TRACES) - before == 2, "a program a size, and none a noise"


def test_samples_are_normal_and_independent_of_teacher_and_start(rng):
    s = study({"samples": 4000, "noise": 0.5}, seeds=2)
    for seed in range(2):
        x, y = map(np.asarray, ens.sample(s, seed))
        _, teacher = ens.initial(s, seed)
        noise = y - np.asarray(teacher(x))
        assert abs(x.mean()) < 4 / np.sqrt(x.size) and abs(x.var() - 1) < 4 * np.sqrt(2 / x.size)
        np.testing.assert_allclose(np.cov(x.T), np.eye(4), atol=4 * np.sqrt(2 / 4000))
        assert abs(noise.std() - 0.5) < 4 * 0.5 / np.sqrt(2 * 4000)
        assert np.all(np.abs(noise @ x) / 4000 < 4 * 0.5 / np.sqrt(4000))
    assert not np.array_equal(ens.sample(s, 0).x, ens.sample(s, 1).x)


def test_precisions_share_their_draws():
    double, single = (study(ONLINE, precision=p, seeds=2) for p in ("float64", "float32"))
    for rounded, exact in zip(ens.sample(single, 0, step=3), ens.sample(double, 0, step=3), strict=True):
        assert rounded.dtype == np.float32
        np.testing.assert_allclose(rounded, exact, rtol=1e-6, atol=1e-6)
    ds = ens.run(single)
    assert ds["loss"].dtype == np.float32 and np.all(np.isfinite(ds["loss"]))


# -- bits --------------------------------------------------------------------------------------------


def test_seeds_alone_refill_and_budget_change_nothing(case, monkeypatch):
    name, ds = case
    engine = ds.attrs["engine"]
    assert_same_members(ens.run(study(DATA[name], seeds=1), engine=engine), ds)
    monkeypatch.setattr(kernels, "_MOST_LANES", 16)
    monkeypatch.setattr(LanePool, "budget", lambda self, *_: 7)
    assert_same_members(ds, ens.run(study(DATA[name], seeds=40), engine=engine))


def test_stopped_and_gone_on_with(case):
    name, ds = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LanePool, "budget", lambda self, *_: 9)
        again, pauses = run_paused(study(DATA[name]), ds.attrs["engine"], every=1)
    assert pauses >= 3
    for variable in again.data_vars:
        xr.testing.assert_equal(again[variable].drop_attrs(), ds[variable].drop_attrs())


def test_a_directory_of_samples_is_opened_and_made_again(tmp_path):
    s = study(BATCH)
    ens.run(s, out=tmp_path / "run")
    again = ens.reproduce(tmp_path / "run", {"seed": 1})
    assert not again.different and again.engine == "simd"
    with ens.open_dataset(tmp_path / "run") as ds:
        assert not {"x", "y"} & set(ds.variables), "data are kept in no file"
        assert ens.Study.from_json(ds.attrs["study"]).data == s.data


def test_a_study_without_data_is_the_text_that_it_was():
    assert "data" not in study(None).resolved()


# -- a test sample -----------------------------------------------------------------------------------


class Scoreless(DeepLinearStudent):
    """A deep linear student whose population risk is taken for unknown."""

    kind: Literal["scoreless"] = "scoreless"  # pyright: ignore[reportIncompatibleVariableOverride]
    exact: ClassVar[bool] = False


@pytest.fixture
def scoreless():
    ens.register(Scoreless)
    yield {"kind": "scoreless", "depth": 2, "width": 3, "start": {"kind": "gaussian", "gain": 0.7}}
    del REGISTRY["student"]["scoreless"]


def test_a_loss_without_a_closed_form_is_estimated_with_its_error(scoreless):
    teacher = {"kind": "deep_linear", "singular_values": [2.0, 1.0], "inputs": 4, "outputs": 3}
    known = study(FULL, teacher=teacher, student=scoreless | {"kind": "deep_linear"}, seeds=12, probes=["loss"])
    exact = ens.run(known)
    s = study(FULL | {"test_samples": 2500}, teacher=teacher, student=scoreless, seeds=12, probes=["loss"])
    ds = ens.run(s)
    for layers in ("layer_weights", "teacher_matrix"):
        np.testing.assert_array_equal(ds[layers], exact[layers], "training does not depend on what it is scored by")
    z = (ds["loss"] - exact["loss"]) / ds["loss_error"]
    assert np.all(np.abs(z) < 4.5) and 0.4 < float(z.std()) < 1.8, z.values
    # Of Gaussian errors the terms ½‖e‖² have a relative standard deviation between √2/√3 (three alike) and √2.
    relative = ds["loss_error"] / ds["loss"] * np.sqrt(2500)
    assert np.all((relative > 0.7) & (relative < 1.6))
    assert "test sample of 2,500" in ds["loss"].attrs["comment"] and "loss_error" in ds["loss"].attrs["comment"]
    assert "comment" not in exact["loss"].attrs and "loss_error" not in exact


# -- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "changes", "words"),
    [
        ({"samples": 5, "online": True}, {}, r"data.samples: got 5 with online = true"),
        ({"samples": 5, "batch": 6}, {}, r"data.batch: got 6 of samples = 5; a batch has at most all of them"),
        ({"batch": 6}, {}, r"data.batch: got 6 without samples; give samples = n, or online = true"),
        ({"noise": 0.1}, {}, r"data.noise: got 0.1 without samples"),
        ({"samples": 5, "noise": -0.1}, {}, r"data.noise: got -0.1; .*greater than or equal to 0"),
        ({"samples": 0}, {}, r"data.samples: got 0; .*greater than 0"),
        ({"samples": 5, "replacement": False}, {}, r"data.replacement: got false without batches"),
        ({"samples": 5, "inputs": "gausian"}, {}, r"data.inputs.kind: got 'gausian'; .*did you mean 'gaussian'"),
        ({"sample": 5}, {}, r"data.sample: unknown field; did you mean 'samples'"),
        (FULL, {"coordinates": "reduced"}, r"coordinates: got 'reduced' with data of samples"),
        (FULL, {"probes": ["gap"]}, r"probes: got 'gap' for members that are trained on samples"),
        (ONLINE, {"probes": ["train_loss"]}, r"probes: got 'train_loss' without a sample of the member's own"),
        (None, {"probes": ["train_loss"]}, r"probes: got 'train_loss' without a sample of the member's own"),
        (
            BATCH,
            {"protocol": {"kind": "plain", "grad_norm": 0.1}},
            r"protocol.grad_norm: got 0.1 in the stage 'local' with batches, whose gradients are small by chance",
        ),
        (ONLINE, {"protocol": {"kind": "zhou_ge"}}, r"protocol: got a ridge stage 'fit' with data.online = true"),
        (
            {"samples": 10**9},
            {},
            r"data.samples: got 1,000,000,000 of 4 inputs: .* members' take .*; at most .* fit, and online = true",
        ),
        (FULL | {"test_samples": 1}, {}, r"data.test_samples: got 1; input should be greater than or equal to 2"),
        (
            FULL | {"test_samples": 10**12},
            {},
            r"data.test_samples: got 1000000000000; input should be less than or equal",
        ),
        ({"online": True, "batch": 10**9}, {}, r"data.batch: got 1,000,000,000 of 4 inputs: .* at most"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field(data, changes, words):
    with pytest.raises(ens.StudyError, match=words):
        ens.run(made(data, changes))


def made(data, changes) -> ens.Study:
    fields = study(None, probes=["loss"]).resolved() | ({} if data is None else {"data": data})
    return ens.Study(**(fields | changes))


def test_students_without_samples_are_refused(scoreless):
    teacher = {"kind": "deep_linear", "singular_values": [2.0, 1.0], "inputs": 4, "outputs": 3}
    with pytest.raises(ens.StudyError, match=r"data: is missing; the population risk of a scoreless student has no"):
        made(None, {"teacher": teacher, "student": scoreless})
    with pytest.raises(ens.StudyError, match=r"data.samples: is missing; the population risk of a scoreless student"):
        made({}, {"teacher": teacher, "student": scoreless})


@pytest.mark.parametrize(
    ("engine", "changes", "words"),
    [
        ("fused", {}, "exact population risk"),
        ("simd", {"precision": "float32"}, "on samples of their own or on fresh Gaussian ones, in float64"),
    ],
)
def test_kernels_refuse_what_they_do_not_serve(engine, changes, words):
    with pytest.raises(ens.EngineError, match=words):
        ens.run(study(FULL, **changes), engine=engine)


def test_fresh_samples_of_other_inputs_are_drawn_by_the_other_kernel():
    with pytest.raises(ens.EngineError, match="on samples of their own or on fresh Gaussian ones"):
        ens.run(study(ONLINE | {"inputs": "rademacher"}, probes=["max_angle"]), engine="simd")


def test_data_is_asked_of_members_that_have_some():
    with pytest.raises(ens.StudyError, match="trained on the population, and have no samples"):
        ens.sample(study(None), 0)
    with pytest.raises(ens.StudyError, match="step: got none; an online member has a batch of every step"):
        ens.sample(study(ONLINE), 0)
    with pytest.raises(ens.StudyError, match="step: got -1"):
        ens.sample(study(BATCH), 0, step=-1)
    with pytest.raises(ens.StudyError, match=r"step: got 1\.5"):
        ens.sample(study(BATCH), 0, step=1.5)  # pyright: ignore[reportArgumentType]
    for seed in (1.5, "1"):
        with pytest.raises(ens.StudyError, match=f"seed: got {seed!r}; seeds are 0, 1"):
            ens.sample(study(FULL), seed)  # pyright: ignore[reportArgumentType]
    assert jax.tree.leaves(ens.sample(study(FULL), 0))[0].shape == (30, 4) and jnp.ndim(ens.sample(study(FULL)).y) == 1
