"""Stages that fit some teacher neurons, and stages in which some student neurons move."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ensemble as ens
from ensemble.dynamics.stages import Stage
from ensemble.engine import TRACES
from ensemble.plan import groups
from tests.helpers import assert_same_members
from tests.studies import small, tiny

ETA, DECAY = 0.1, 0.02


def study(*stages: dict[str, Any], **changes: Any) -> ens.Study:
    common = {"step_size": ETA, "weight_decay": DECAY}
    table = [{"name": f"s{i}", **common, **stage} for i, stage in enumerate(stages)]
    fields = {"seeds": 2, "axes": {}, "protocol": {"kind": "stages", "stages": table}, "probes": ["loss", "grad_norm"]}
    return small(**(fields | changes))


def walk(student, teacher, steps: int, target=None, neurons=None):
    """Descent written out: against a teacher that has the target's neurons alone, with a mask a neuron."""
    a, W, sigma = teacher.a, teacher.W, teacher.activation
    shown = teacher if target is None else ens.TwoLayer(a[jnp.asarray(target)], W[jnp.asarray(target)], sigma)
    moves = jnp.ones(student.a.shape) if neurons is None else jnp.zeros(student.a.shape).at[jnp.asarray(neurons)].set(1)

    @jax.jit
    def step(student):
        slope = jax.tree.map(lambda g, x: g + DECAY * x, ens.population_gradient(student, shown), student)
        new_a = student.a - ETA * moves * slope.a
        return ens.TwoLayer(new_a, student.W - ETA * moves[:, None] * slope.W, sigma)

    for _ in range(steps):
        student = step(student)
    return student


def assert_reached(ds, student) -> None:
    np.testing.assert_allclose(ds["a"].isel(seed=0), student.a, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ds["W"].isel(seed=0), student.W, rtol=0, atol=1e-12)


def test_a_target_is_a_teacher_of_its_neurons_alone():
    """Two stages with one target each, and a third on the whole: the same as descent on the smaller teachers."""
    asked = study({"target": [1], "steps": 40}, {"target": [0], "steps": 30}, {"target": "all", "steps": 20})
    ds = ens.run(asked)
    student, teacher = ens.initial(asked)
    student = walk(walk(student, teacher, 40, [1]), teacher, 30, [0])
    middle = ens.population_loss(student, teacher)
    student = walk(student, teacher, 20)
    assert_reached(ds, student)
    # Probes measure against the whole teacher, at ends of stages that do not fit it, too.
    np.testing.assert_allclose(ds["loss_stage"].isel(seed=0)[1], middle, atol=1e-13)
    other, _ = ens.initial(asked)
    assert np.abs(walk(other, teacher, 90).W - student.W).max() > 1e-3, "a target matters"


@pytest.mark.parametrize(
    ("neurons", "which"),
    [("first half", [0, 1]), ([1, 3], [1, 3]), (0.75, [0, 1, 2]), (0.3, [0, 1]), ("all", [0, 1, 2, 3])],
)
def test_neurons_that_do_not_move_stay_and_stay_in_the_network(neurons, which):
    asked = study({"neurons": neurons, "steps": 40}, {"steps": 10})
    ds = ens.run(asked, engine="xla")
    student, teacher = ens.initial(asked)
    first = walk(student, teacher, 40, neurons=which)
    assert_reached(ds, walk(first, teacher, 10))
    slope = jax.tree.map(lambda g, x: g + DECAY * x, ens.population_gradient(first, teacher), first)
    squared = (slope.a[jnp.asarray(which)] ** 2).sum() + (slope.W[jnp.asarray(which)] ** 2).sum()
    np.testing.assert_allclose(ds["grad_norm_stage"].isel(seed=0)[0], jnp.sqrt(squared), rtol=1e-10)
    still = [i for i in range(4) if i not in which]
    begun = ens.run(asked.replace(max_steps=40), engine="xla")
    np.testing.assert_array_equal(begun["W"].isel(seed=0).values[still], student.W[jnp.asarray(still, int)])
    np.testing.assert_array_equal(begun["a"].isel(seed=0).values[still], student.a[jnp.asarray(still, int)])


@pytest.mark.parametrize("update", ["descent", "adam", "momentum", "fista"])
def test_every_update_keeps_what_does_not_move(update):
    stage = {"neurons": [2], "layers": "first", "update": update, "penalty": "l1", "steps": 25, "step_size": 0.02}
    asked = study(stage)
    ds, (student, _) = ens.run(asked).isel(seed=0), ens.initial(asked)
    np.testing.assert_array_equal(ds["a"], student.a)
    moved = np.any(ds["W"].values != np.asarray(student.W), axis=1)
    np.testing.assert_array_equal(moved, [False, False, True, False])


def test_rules_of_a_stage_are_those_of_its_target():
    """A neuron that is the target alone is fitted: the stage ends by its loss, far above the loss of the whole."""
    asked = study({"target": [0], "steps": 4000, "loss": 1e-4, "check_every": 10, "weight_decay": 0.0})
    ds = ens.run(asked).isel(seed=0)
    _, teacher = ens.initial(asked)
    assert int(ds["status"]) == ens.STATUS["converged"] and int(ds["stop_step"]) < 4000
    alone = ens.TwoLayer(teacher.a[:1], teacher.W[:1], teacher.activation)
    ended = ens.TwoLayer(ds["a"].values, ds["W"].values, teacher.activation)
    assert float(ens.population_loss(ended, alone)) <= 1e-4 < 1e-2 < float(ds["loss"])


def test_choices_are_rows_that_compile_nothing_and_members_depend_on_nothing_else():
    """Targets and neurons of cells are numbers of a row: one program, and a cell alone has the same bits."""
    stages = [{"name": "a", "steps": 20, "step_size": ETA, "target": [0], "neurons": [0]}]
    axes = {
        "target": {"values": [0, 1], "fields": {"protocol.stages.0.target": [[0], [1]]}},
        "neurons": {"values": [1, 2], "fields": {"protocol.stages.0.neurons": [[0], [0, 1]]}},
    }
    asked = small(seeds=3, axes=axes, protocol={"kind": "stages", "stages": stages})
    (group,) = groups(asked)
    assert group.pools[0].program.by_neuron and group.pools[0].program.targeted
    before = len(TRACES)
    ds = ens.run(asked)
    assert len(TRACES) - before <= 1 and ds.attrs["engine"] == "xla"
    assert_same_members(ens.run(asked.replace(seeds=1).only(target=[1], neurons=[2])), ds)


def test_plain_stages_stay_on_the_vector_kernel():
    (group,) = groups(study({"steps": 5, "target": "all", "neurons": "all"}))
    assert not (group.pools[0].program.by_neuron or group.pools[0].program.targeted)
    assert ens.run(study({"steps": 5, "target": "all"})).attrs["engine"] == "simd"


def test_the_protocols_by_name():
    table = {"stage_steps": 7, "epochs": 3, "epoch_steps": 5, "weight_decay": 0.04}
    one = ens.protocols.curriculum(order=(1, 0), **table)
    assert [(s.name, s.target, s.steps) for s in one.stages] == [
        ("learn_0", (1,), 7),
        ("learn_1", (1, 0), 7),
        ("local", None, 15),
    ]
    alone = ens.protocols.curriculum(order=(1, 0), cumulative=False, **table)
    assert [s.target for s in alone.stages] == [(1,), (0,), None]
    grown = ens.protocols.gradual_unfreezing(parts=3, **table)
    assert [s.moving_neurons(6).sum() for s in grown.stages] == [2, 4, 6]
    assert grown.stages[-1].weight_decay_schedule is not None and grown.steps == 29
    ds = ens.run(small(seeds=1, axes={}, protocol=grown))
    assert list(ds["stage"].values) == ["unfreeze_1", "unfreeze_2", "local"] and int(ds["stop_step"][0]) == 29


def test_shares_are_rounded_up():
    assert [int(Stage(name="s", neurons=k / 7).moving_neurons(21).sum()) for k in range(1, 8)] == [
        3,
        6,
        9,
        12,
        15,
        18,
        21,
    ]
    assert int(Stage(name="s", neurons="first half").moving_neurons(5).sum()) == 3


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (
            {"target": [2], "steps": 3},
            r"protocol.target: got 2 in the stage 's0', which is no teacher neuron: there are 2",
        ),
        ({"target": [], "steps": 3}, r'target: got \[\]; name at least one, each once, or "all"'),
        ({"target": [1, 1], "steps": 3}, r"target: got \[1, 1\]; name at least one"),
        ({"target": "first", "steps": 3}, r"target: got 'first'"),
        ({"target": [-1], "steps": 3}, r"target.*got -1; input should be greater than or equal to 0"),
        ({"neurons": [4], "steps": 3}, r"protocol.neurons: got 4 in the stage 's0', which is no student neuron"),
        ({"neurons": 1.5, "steps": 3}, r"neurons.*got 1.5"),
        ({"update": "ridge", "target": [0]}, r"target: got \(0,\) under the update 'ridge', which takes no step"),
    ],
)
def test_choices_that_are_none_are_refused(stage, message):
    with pytest.raises(ens.StudyError, match=message):
        study(stage)


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        (
            {"kind": "curriculum", "order": [0, 2]},
            r"^protocol.order: got 2 in the stage 'learn_1', which is no teacher",
        ),
        ({"kind": "curriculum", "order": [0, 0]}, r"^protocol.order: got \[0, 0\]; name each teacher neuron once$"),
        # A refused stage alone is named, and not that no stage is left.
        (
            {"kind": "stages", "stages": [{"name": "s", "steps": 3, "target": [1, 1]}]},
            r'^protocol.stages.0.target: got \[1, 1\]; name at least one, each once, or "all"$',
        ),
        (
            {"kind": "stages", "stages": [{"name": "s", "steps": 3, "update": "flow", "time": 2.0}]},
            r"^protocol.stages.0.steps: got 3 beside time = 2, which is in place of steps; leave one of them out$",
        ),
    ],
)
def test_what_is_refused_is_named_as_it_was_written(protocol, message):
    with pytest.raises(ens.StudyError, match=message):
        small(protocol=protocol)


def test_models_without_neurons_have_no_choice():
    from tests.test_registry import study as registry

    stages = [{"name": "s", "steps": 3, "neurons": [0]}]
    with pytest.raises(ens.StudyError, match=r"protocol.neurons: got \(0,\) in the stage 's' for a factors student"):
        registry("descent", "factors").replace(protocol={"kind": "stages", "stages": stages})


def test_a_refusal_names_the_protocol_s_own_argument():
    deep = {
        "teacher": {"kind": "deep", "inputs": 4, "width": 3},
        "student": {"kind": "deep", "width": 3},
        "probes": ["loss"],
        "axes": {},
        "data": {"samples": 8, "test_samples": 8},
    }
    with pytest.raises(ens.StudyError, match=r"protocol.parts: got 0.25 in the stage 'unfreeze_1' for a deep student"):
        tiny(**deep, protocol={"kind": "gradual_unfreezing"})
    with pytest.raises(ens.StudyError, match=r"protocol.order: got \(0,\) in the stage 'learn_0' for a deep student"):
        tiny(**deep, protocol={"kind": "curriculum", "order": [0, 1]})
    tasks = {"kind": "two_tasks", "activation": "relu", "neurons": 4, "inputs": 6, "task_angle": 0.5}
    with pytest.raises(ens.StudyError, match=r"protocol.order: got the target \[0\] in the stage 'learn_0' with data"):
        tiny(
            teacher=tasks,
            axes={},
            data={"samples": 8, "second": {"samples": 4}},
            protocol={"kind": "curriculum", "order": [0, 1, 2, 3]},
        )
