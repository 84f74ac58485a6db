"""Newton's finish: gradients at rounding level, at the stationary point that descent was going to."""

import numpy as np
import pytest

import ensemble as ens
from tests.studies import small

NEAR, FINISHED = 1e-5, 1e-13


def finished(**stage) -> ens.Study:
    """Descent to gradient norms of 1e-5, and the finish."""
    common = {"step_size": 0.1, **stage}
    descent = {"name": "descent", "steps": 200_000, "grad_norm": NEAR, **common}
    finish = {"name": "finish", "update": "newton", "steps": 12, "grad_norm": FINISHED, **common}
    return small(
        seeds=4,
        records=0,
        axes={},
        probes=["loss", "grad_norm"],
        teacher={"kind": "orthonormal", "activation": "relu", "neurons": 6, "inputs": 6},
        student={"neurons": 6, "start": "xavier"},
        protocol={"kind": "stages", "stages": [descent, finish]},
    )


@pytest.mark.parametrize("stage", [{"layers": "first"}, {"weight_decay": 0.02}], ids=["first layer", "decay"])
def test_a_few_steps_reach_rounding(stage):
    ds = ens.run(finished(**stage))
    norms = ds["grad_norm_stage"].transpose("seed", "stage").values
    assert np.all(norms[:, 0] > 0.1 * NEAR) and np.all(norms[:, 1] <= FINISHED)
    assert np.all(ds["status"] == ens.STATUS["converged"])
    steps = ds["stage_end_step"].diff("stage")
    assert np.all(steps >= 1) and np.all(steps <= 6)


def test_it_ends_where_descent_was_going():
    study = finished(layers="first")
    ds = ens.run(study)
    descent = {"kind": "plain", "layers": "first", "step_size": 0.1, "steps": 200_000, "grad_norm": 1e-12}
    far = ens.run(study.replace(protocol=descent))
    assert np.all(far["status"] == ens.STATUS["converged"])
    np.testing.assert_allclose(ds["loss"], far["loss"], rtol=0, atol=1e-14)
    np.testing.assert_allclose(ds["W"], far["W"], rtol=0, atol=1e-9)
    # What the stage does not move is what it was, to the bit.
    np.testing.assert_array_equal(ds["a"], far["a"])


def test_it_moves_nothing_where_no_step_is_better():
    """From a stationary point at rounding level no candidate lowers the gradient's norm by much, and none raises it."""
    study = finished(layers="first")
    stages = [stage.model_dump() for stage in study.points[0].cell.stages.stages]
    stages.append(stages[1] | {"name": "again", "grad_norm": None, "steps": 5})
    ds = ens.run(study.replace(protocol={"kind": "stages", "stages": stages}))
    norms = ds["grad_norm_stage"].transpose("seed", "stage").values
    assert np.all(norms[:, 2] <= norms[:, 1])
