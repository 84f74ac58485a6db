"""Importance and removal of neurons: exact losses, the update that prunes, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ensemble as ens
from ensemble.dynamics.updates.prune import increases, narrowest, removals, terms, without
from tests.studies import small


def pair(name: str, seed: int = 0) -> tuple[ens.TwoLayer, ens.TwoLayer]:
    """Six neurons, of which one is a double, one opposite and one has vanished."""
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(6, 4)) * 0.4
    W[3], W[4], W[5] = W[0], -W[1], 0.0
    student = ens.TwoLayer(rng.normal(size=6), W, name)
    return student, ens.TwoLayer([1.0, -0.7], rng.normal(size=(2, 4)) * 0.5, name)


def losses_of(student: ens.TwoLayer, teacher: ens.TwoLayer, kept: list[list[int]]) -> np.ndarray:
    """The losses of the networks of some neurons each, computed anew; the others have output weight 0."""
    stays = np.array([np.isin(np.arange(len(student.a)), some) for some in kept])
    of_network = jax.jit(
        jax.vmap(lambda a: ens.population_loss(ens.TwoLayer(a, student.W, student.activation), teacher))
    )
    return np.asarray(of_network(jnp.where(stays, student.a[None, :], 0.0)))


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "abs_centred", "erf", "square", "sigmoid"])
def test_leave_one_out_losses_are_those_computed_anew(name):
    student, teacher = pair(name)
    of = terms(student, teacher)
    grown = np.asarray(increases(student.a, of))
    full = float(ens.population_loss(student, teacher))
    largest = float(jnp.max(jnp.abs(student.a[:, None] * of.K * student.a[None, :])))
    anew = losses_of(student, teacher, [[j for j in range(6) if j != i] for i in range(6)])
    assert np.abs(full + grown - anew).max() <= 1e-14 * max(largest, full, 1.0)
    # The companion: the first-order term alone, which saliency is, is far off.
    first = np.asarray(student.a * (of.b - of.K @ student.a))
    assert np.abs(first - grown).max() > 1e-3


@pytest.mark.parametrize("by", ["mass", "importance"])
def test_losses_of_every_count_are_those_computed_anew(by):
    student, teacher = pair("relu")
    order, kept = jax.jit(removals, static_argnames="by")(student, teacher, by=by)
    assert sorted(np.asarray(order)) == [*range(6)] and int(order[0]) == 5
    largest = float(jnp.max(jnp.abs(kept)))
    anew = losses_of(student, teacher, [[int(i) for i in order[6 - count :]] for count in range(7)])
    assert np.abs(np.asarray(kept) - anew).max() <= 1e-14 * largest
    pruned = without(student, order, 2)
    assert np.array_equal(np.flatnonzero(pruned.a), np.sort(order[4:])) and np.all(
        (pruned.W != 0).any(1) == (pruned.a != 0)
    )
    if by == "mass":
        mass = np.abs(student.a) * np.linalg.norm(student.W, axis=1)
        np.testing.assert_array_equal(order, np.argsort(mass, kind="stable"))
    else:
        # Greedy: at every step no other neuron would have left a smaller loss.
        for k in range(1, 5):
            left = [int(i) for i in order[k:]]
            tried = losses_of(student, teacher, [[j for j in left if j != i] for i in left])
            assert tried[0] <= tried.min() + 1e-14


def test_importance_sees_what_mass_does_not():
    """A heavy neuron that only harms leaves first; by mass the light one that fits would."""
    teacher = ens.TwoLayer([1.0], [[1.0, 0.0]], "abs")
    student = ens.TwoLayer([1.0, 3.0], [[1.0, 0.0], [0.0, 1.0]], "abs")
    by_mass, by_importance = (removals(student, teacher, by) for by in ("mass", "importance"))
    assert by_mass.order.tolist() == [0, 1] and by_importance.order.tolist() == [1, 0]
    assert abs(float(by_importance.kept[1])) < 1e-14 and float(by_mass.kept[1]) > 1.0


def test_the_narrowest_network_is_the_one_from_which_on_all_are_good():
    kept = jnp.array([1.0, 0.01, 0.5, 0.02, 0.0])
    found = [int(narrowest(kept, jnp.asarray(allowed))) for allowed in (2.0, 0.5, 0.1, 0.02, 0.01, 0.0, -1.0)]
    assert found == [1, 1, 3, 3, 4, 4, 4]


def pruned_study(update: dict, **changes) -> ens.Study:
    stages = [
        {"name": "train", "step_size": 0.2, "weight_decay": 0.02, "steps": 60},
        {"name": "prune", "update": {"kind": "prune"} | update, "weight_decay": 0.02},
        {"name": "again", "step_size": 0.2, "weight_decay": 0.02, "steps": 60},
    ]
    fields = {
        "protocol": {"kind": "stages", "stages": stages},
        "axes": {},
        "probes": ["loss", "vanished", "total_mass"],
    }
    return small(**fields | {"student": {"neurons": 6, "start": "balanced"}} | changes)


KEEP = {"keep": {"field": "protocol.stages.1.update.keep", "values": [2, 5]}}


@pytest.mark.parametrize("by", ["mass", "importance"])
def test_a_stage_prunes_and_training_goes_on_without_the_pruned(by):
    ds = ens.run(pruned_study({"by": by, "keep": 3}, axes=KEEP))
    gone = ds["vanished_stage"].transpose("keep", "seed", "stage").values
    assert np.all(gone == np.array([[0, 4, 4], [0, 1, 1]])[:, None, :])
    assert np.all((ds["a"] == 0).sum("neuron") == [[4] * 3, [1] * 3])
    loss = ds["loss_stage"].transpose("keep", "seed", "stage").values
    assert np.all(loss[..., 2] < loss[..., 1])
    # The loss at the end of the stage is that of the removal, from the weights of the same member before it.
    before = ens.run(pruned_study({"by": by, "keep": 3}, max_steps=60))
    one = before.isel(seed=1)
    assert int(one["stop_step"]) == 60
    assert float(one["loss_stage"].sel(stage="train")) == pytest.approx(float(ds["loss_stage"][0, 1, 0]), rel=1e-14)


def test_a_tolerance_and_a_threshold_keep_what_they_say():
    stored = ens.run(pruned_study({"keep": 6}, seeds=4))
    student, teacher = (ens.network(stored, which) for which in ("student", "teacher"))
    with_tolerance = ens.run(pruned_study({"tolerance": 0.02}, seeds=4))
    with_threshold = ens.run(pruned_study({"threshold": 0.3}, seeds=4))
    half = float(ens.population_loss(ens.TwoLayer([0.0], np.zeros((1, 4)), "abs_centred"), _one(teacher, 0)))
    loss = with_tolerance["loss_stage"]
    assert np.all(loss.sel(stage="prune") <= loss.sel(stage="train") + 0.02 * half * (1 + 1e-12))
    assert np.all(with_threshold["vanished"] >= 0) and student.a.shape == (4, 6)
    assert int(with_tolerance["vanished_stage"].sel(stage="prune").sum()) > 0
    assert int(with_threshold["vanished_stage"].sel(stage="prune").sum()) > 0


def _one(networks: ens.TwoLayer, i: int) -> ens.TwoLayer:
    return jax.tree.map(lambda leaf: leaf[i], networks)


@pytest.mark.parametrize(
    ("update", "changes", "said"),
    [
        ({}, {}, r"keep: got no way to say who stays under the update 'prune'; give one of keep, tolerance and"),
        ({"keep": 2, "threshold": 0.1}, {}, r"keep: got keep and threshold under the update 'prune'"),
        ({"keep": 0}, {}, r"keep"),
        ({"keep": 2.5}, {}, r"keep: got 2.5; give a whole number of neurons, 1 or more"),
        ({"keep": 7}, {}, r"protocol.update.keep: got 7 for a student of 6 neurons; keep at most as many"),
        ({"tolerance": 1.5}, {}, r"tolerance"),
        ({"threshold": 0.1, "by": "importance"}, {}, r"threshold: got 0.1 with by = 'importance'"),
        ({"keep": 2, "by": "size"}, {}, r"by"),
        ({"by": "magnitude"}, {}, r'share: is missing with by = "magnitude"; give the share of all weights'),
        ({"by": "magnitude", "share": 1.0}, {}, r"share: got 1.0"),
        ({"by": "magnitude", "share": 0.5, "keep": 2}, {}, r'keep: got 2 with by = "magnitude", which removes single'),
        ({"by": "mass", "share": 0.5}, {}, r"share: got 0.5 with by = 'mass'; it is of single weights: take by ="),
    ],
)
def test_what_prunes_nothing_or_all_is_refused(update, changes, said):
    with pytest.raises(ens.StudyError, match=said):
        pruned_study(update, **changes)


def test_small_weights_leave_and_stay_away_where_the_stage_says_so():
    """Of 30 weights the smallest 18 leave; with `keep_zeros` none of these comes back."""
    small_ones, probes = {"by": "magnitude", "share": 0.6}, ["loss", "grad_norm"]
    axis = {"masked": {"field": "protocol.stages.2.keep_zeros", "values": [True, False]}}
    both = ens.run(pruned_study(small_ones, axes=axis, probes=probes))
    ds, loose = both.sel(masked=True), both.sel(masked=False)
    before = ens.run(pruned_study(small_ones, max_steps=60, probes=probes))

    def weights(ds):
        return np.concatenate([ds["a"], ds["W"].values.reshape(3, -1)], axis=1)

    trained = weights(before)
    order = np.argsort(np.abs(trained), axis=1)
    gone = np.zeros_like(trained, bool)
    np.put_along_axis(gone, order[:, :18], True, axis=1)
    np.testing.assert_array_equal(weights(ds) == 0.0, gone)
    # Without it some do; others are of neurons of which nothing is left, or of inputs that no weight sees any more.
    assert np.any((weights(loose) == 0.0).sum(axis=1) < 18)
    # What stays moves, and the norm of the gradient is that of what moves.
    assert np.all(weights(ds)[~gone] != trained[~gone])
    at = ens.population_gradient(ens.network(ds.isel(seed=0)), ens.network(ds.isel(seed=0), "teacher"))
    slope = np.concatenate([at.a, np.ravel(at.W)]) + 0.02 * weights(ds)[0]
    assert float(ds["grad_norm"][0]) == pytest.approx(np.linalg.norm(slope[~gone[0]]), rel=1e-9)
    loss = ds["loss_stage"].transpose("seed", "stage").values
    assert np.all(loss[:, 2] < loss[:, 1])


def test_single_weights_are_of_the_input_s_axes():
    """In reduced coordinates other weights would be small, and others 0."""
    wide = {"teacher": {"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 40}}
    half = pruned_study({"by": "magnitude", "share": 0.5}, **wide)
    assert half.space(half.points[0].cell).columns == 40
    stages = pruned_study({"keep": 2}, **wide).model_dump(mode="json", exclude_none=True)["protocol"]["stages"]
    masked = {"kind": "stages", "stages": [*stages[:2], stages[2] | {"keep_zeros": True}]}
    for protocol, what in ((half.protocol, "the update 'prune'"), (masked, "keep_zeros")):
        with pytest.raises(ens.StudyError, match=f"coordinates: got 'reduced' with {what} in the stage"):
            pruned_study({"keep": 2}, **wide, protocol=protocol, coordinates="reduced")


def test_pruning_of_what_is_not_the_network_of_n_0_i_is_refused():
    data = {"samples": 50, "inputs": {"kind": "sphere"}}
    with pytest.raises(
        ValueError, match="got a prune stage 'prune' by the population loss of N\\(0, I\\) under sphere"
    ):
        pruned_study({"keep": 2, "by": "importance"}, data=data, probes=["loss"])
    pruned_study({"keep": 2}, data=data, probes=["loss"])
    with pytest.raises(ValueError, match="probes: got 'sensitivity' under sphere inputs: it is exact over"):
        pruned_study({"keep": 2}, data=data, probes=["loss", "sensitivity"])
    table = {"neurons": 6, "start": "balanced", "recentred": True}
    with pytest.raises(ValueError, match="got a prune stage for a student with output_scale, recentred or linearised"):
        pruned_study({"keep": 2}, student=table, probes=["loss"])
    stages = {"kind": "plain", "steps": 5}
    with pytest.raises(ValueError, match="probes: got 'sensitivity' for a student with output_scale, recentred or"):
        small(axes={}, student=table, protocol=stages, probes=["loss", "sensitivity"])
    teacher = {"kind": "orthonormal", "activation": "sigmoid", "neurons": 2, "inputs": 4}
    with pytest.raises(ValueError, match="got a prune stage with activation sigmoid, of which σ\\(0\\) ≠ 0"):
        pruned_study({"keep": 2}, teacher=teacher, probes=["loss"])


def test_pruning_is_of_two_layers():
    fields = {
        "name": "linear",
        "teacher": {"kind": "deep_linear", "singular_values": [1.0], "inputs": 2, "outputs": 2},
        "student": {"kind": "deep_linear", "width": 2},
        "protocol": {"kind": "stages", "stages": [{"name": "prune", "update": {"kind": "prune", "keep": 1}}]},
    }
    with pytest.raises(ValueError, match="got a prune stage for a student that is no two_layer"):
        ens.Study.model_validate(fields)
