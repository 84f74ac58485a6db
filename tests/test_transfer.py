"""Two tasks in one teacher: its rows, losses of either, what a first layer holds, and stages on one after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ensemble as ens
from ensemble.probes.geometry import angles
from ensemble.probes.transfer import readout_loss, task
from ensemble.problem.teachers import TwoTasks

PROBES = ["loss", "first_task_loss", "second_task_loss", "first_task_readout", "second_task_readout"]


def planted(**fields) -> TwoTasks:
    return TwoTasks.model_validate({"activation": "abs_centred", "neurons": 6, "inputs": 8, "task_angle": 0.3} | fields)


def test_the_second_task_is_the_first_one_turned():
    teacher = planted(shared=1).draw(jax.random.key(0))
    first, second = (task(teacher, number) for number in (0, 1))
    between = np.diag(np.asarray(angles(first.W, second.W, "line")))
    np.testing.assert_allclose(between, [0.0, 0.3, 0.3], atol=1e-15)
    for one in (first, second):
        np.testing.assert_allclose(one.W @ one.W.T, np.eye(3), atol=1e-15)
    sizes, gram = planted(shared=1).known()
    np.testing.assert_allclose(gram, teacher.W @ teacher.W.T, atol=1e-15)
    assert sizes.tolist() == [1.0] * 6


def test_what_a_first_layer_leaves_of_a_teacher(rng):
    """Against the minimum of the quadratic that the loss is in the output weights."""
    teacher = planted().draw(jax.random.key(0))
    first, second = (task(teacher, number) for number in (0, 1))
    # All that the teacher is made of: nothing is left, whatever the output weights are.
    assert abs(float(readout_loss(ens.TwoLayer(np.zeros(6), teacher.W, "abs_centred"), second))) < 1e-14
    student = ens.TwoLayer(rng.normal(size=4), rng.normal(size=(4, 8)), "abs_centred")
    left = float(readout_loss(student, first))
    loss = jax.jit(lambda a: ens.population_loss(ens.TwoLayer(a, student.W, "abs_centred"), first))
    best = jnp.linalg.solve(jax.hessian(loss)(student.a), -jax.grad(loss)(jnp.zeros(4)))
    assert float(loss(best)) == pytest.approx(left, rel=1e-10)
    assert all(float(loss(best + 0.01 * jnp.asarray(rng.normal(size=4)))) > left for _ in range(5))


STAGES = [
    {"name": "first", "target": [0, 1], "step_size": 0.2, "steps": 60},
    {"name": "second", "target": [2, 3], "step_size": 0.2, "steps": 60},
]


def study(stages=STAGES, teacher=None, **changes) -> ens.Study:
    fields = {
        "name": "transfer",
        "seeds": 3,
        "records": 4,
        "store_weights": True,
        "probes": PROBES,
        "teacher": {"kind": "two_tasks", "activation": "abs_centred", "neurons": 4, "inputs": 5, "task_angle": 0.7}
        | (teacher or {}),
        "student": {"neurons": 6, "start": "balanced"},
        "protocol": {"kind": "stages", "stages": stages},
        "axes": {"task_angle": [0.0, 0.7]},
    }
    return ens.Study.model_validate(fields | changes)


@pytest.fixture(scope="module")
def ds():
    return ens.run(study())


def test_stages_learn_one_task_after_the_other(ds):
    first, second = (
        ds[f"{name}_task_loss_stage"].transpose("task_angle", "seed", "stage").values for name in ("first", "second")
    )
    assert np.all(second[..., 1] < second[..., 0] + 1e-12) and np.all(second[1, :, 1] < 0.5 * second[1, :, 0])
    # At angle 0 the tasks are one: no step on the second is lost for the first. Apart, it is.
    np.testing.assert_allclose(first[0], second[0], rtol=1e-10)
    assert np.all(first[1, :, 1] > first[1, :, 0])
    for name in ("first", "second"):
        assert np.all(ds[f"{name}_task_readout_history"] <= ds[f"{name}_task_loss_history"] + 1e-13)
        assert np.all(ds[f"{name}_task_readout_history"] >= -1e-13)
    one = ds.sel(task_angle=0.7, seed=1)
    expected = ens.population_loss(ens.network(one), task(ens.network(one, "teacher"), 1))
    assert float(one["second_task_loss"]) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"teacher": {"neurons": 3}}, r"neurons: got 3; give an even number, half of it for each"),
        ({"teacher": {"neurons": 6}}, r"neurons: got 6 in inputs = 5 dimensions; take as many inputs"),
        ({"teacher": {"shared": 3}}, r"shared: got 3; a task has 2 neurons"),
        (
            {"teacher": {"task_angle": 1.6}, "axes": {}},
            r"task_angle: got 1.6 rad between lines .* it is at most 1.5708 rad",
        ),
        ({"stages": [STAGES[0], STAGES[1] | {"target": [4, 5]}]}, r"target: got 4 in the stage 'second', which is no"),
    ],
)
def test_what_is_no_second_task_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        study(**changes)


def test_probes_of_two_tasks_need_two():
    teacher = {"kind": "orthonormal", "activation": "abs_centred", "neurons": 4, "inputs": 5}
    table = study().model_dump(mode="json", exclude_none=True) | {"teacher": teacher, "axes": {}}
    with pytest.raises(
        ValueError, match="probes: got 'first_task_loss' with the teacher 'orthonormal', and it is measured"
    ):
        ens.Study.model_validate(table)
