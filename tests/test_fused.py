"""The Pallas kernel: in interpret mode it does what the reference program does; for CUDA it lowers.

Its speed and its bits on a card are what `make gpu` measures there (docs/performance.md).
"""

import functools

import jax
import numpy as np
import pytest

import ensemble as ens
from benchmarks.gpu.lanes import Run
from benchmarks.gpu.programs import Case
from ensemble.engine import EngineError, places
from ensemble.engine.kernels import base as kernels
from ensemble.engine.kernels.fused import advance_members
from ensemble.engine.lanes import NEVER, empty_lanes, take
from ensemble.engine.pools import LanePool
from ensemble.plan import groups
from tests.helpers import assert_same_members, seldom
from tests.studies import heavy_tailed, small

# Those of the one-homogeneous and of the others that have code of their own; each compiles for seconds.
SERVED = ("relu", "abs", "relu_even", "abs_centred", "linear", "erf", "square", "h3")


def run(study: ens.Study, engine: str):
    ds = ens.run(study, engine=engine)
    assert ds.attrs["engine"] == engine
    return ds


@pytest.mark.parametrize("activation", seldom(SERVED, "abs", "linear", "relu_even", "square"))
def test_agrees_with_the_reference_to_rounding(activation):
    teacher = {"kind": "separated_pairs", "activation": activation, "neurons": 4, "inputs": 7, "separation": 0.7}
    # Steps at which none of the activations diverges.
    protocol = {"kind": "halving_decay", "step_size": 0.02, "weight_decay": 0.05, "epochs": 3, "epoch_steps": 20}
    student = {"neurons": 5, "start": "balanced"}
    axes, probes = {"weight_decay": [0.0, 0.05]}, ["loss", "grad_norm"]
    study = small(teacher=teacher, student=student, protocol=protocol, axes=axes, probes=probes)
    fused, plain = run(study, "fused"), run(study, "xla")
    # 60 steps of order-one arithmetic, each off by a few 1e-16, without amplification by more than 100.
    for name in ("a", "W", "loss_history", "grad_norm"):
        np.testing.assert_allclose(fused[name], plain[name], atol=6e-13, rtol=0, err_msg=name)


@pytest.mark.parametrize(
    ("neurons", "teachers", "inputs"), [(14, 4, 5), (34, 3, 5), (64, 3, 5), (14, 4, 34), (20, 4, 34), (30, 4, 34)]
)
def test_sizes_that_leave_no_room_for_the_teacher_or_are_taken_in_blocks(neurons, teachers, inputs):
    """The teacher of most students above is among their padding; students of more than 32 neurons or inputs are paired
    with blocks, of which the teacher's come last where it is not."""
    found = []
    for kernel in ("fused", "xla"):
        of_kernel = Run(kernel, Case(kernel, neurons, inputs, teachers, activation="relu"), 2)
        stage = of_kernel.lanes.stage
        stage.moves.a[:], stage.step_size[:], stage.decay[:] = True, 0.02, 0.05
        of_kernel.advance(20)
        found.append(take(of_kernel.lanes.moving.model, slice(2)))
    ours, reference = found
    assert np.abs(reference.a - 1.0).max() > 1e-3  # they moved
    for name in ("a", "W"):
        np.testing.assert_allclose(getattr(ours, name), getattr(reference, name), atol=2e-13, rtol=0, err_msg=name)


def test_stages_records_and_ends_are_those_of_the_reference():
    protocol = {
        "kind": "stages",
        "stages": [
            {"name": "early", "layers": "first", "step_size": 0.2, "steps": 7},
            {"name": "fit", "layers": "output", "step_size": 0.2, "weight_decay": 0.01, "steps": 9},
            {"name": "level", "update": "balance"},
            {"name": "main", "step_size": 0.1, "weight_decay": 0.05, "steps": 30,
             "weight_decay_schedule": {"kind": "halving", "every": 10}},
        ],
    }  # fmt: skip
    study = small(protocol=protocol, axes={"separation": [0.4, 1.2]}, records=list(range(47)))
    fused, plain = run(study, "fused"), run(study, "xla")
    for name in ("loss_stage", "risk_history", "W"):
        np.testing.assert_allclose(fused[name], plain[name], atol=6e-13, rtol=0, err_msg=name)
    np.testing.assert_array_equal(fused["stage_end_step"], plain["stage_end_step"])
    with pytest.warns(ens.StudyWarning):
        wild = heavy_tailed(protocol={"kind": "plain", "step_size": 1e3, "steps": 200})
    wild = run(wild, "fused")
    assert np.all(wild["status"] == ens.STATUS["diverged"])


@pytest.mark.parametrize("budget", [30, 1000])
def test_budget_refill_and_neighbours_change_nothing(budget, monkeypatch):
    whole = run(heavy_tailed(seeds=5), "fused")
    monkeypatch.setattr(kernels, "_MOST_LANES", 2 * len(places()))
    monkeypatch.setattr(LanePool, "budget", lambda self, *_: budget)
    assert_same_members(whole, run(heavy_tailed(seeds=20), "fused"))
    assert np.all(whole["status"] == ens.STATUS["converged"])


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("activation", SERVED)
def test_lowers_for_cuda(activation, precision):
    """The kernel is made of what Triton has, padded as it wants; compiling and running it needs the GPU."""
    teacher = {"kind": "separated_pairs", "activation": activation, "neurons": 6, "inputs": 9, "separation": 0.7}
    study = small(teacher=teacher, student={"neurons": 20, "start": "balanced"}, precision=precision, axes={})
    (group,) = groups(study)
    (pool,) = group.pools
    lanes = empty_lanes(64, pool.like)
    program = jax.jit(functools.partial(advance_members, False, pool.program))
    traced = program.trace(lanes, np.array([0, 5, NEVER], np.int32), np.int32(7))
    assert "gpu.triton" in traced.lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize("activation", ["h2", "tanh"])
def test_activations_that_it_cannot_serve_are_refused(activation):
    """A padded neuron would move where σ(0) ≠ 0, and a series has products of matrices."""
    teacher = {"kind": "orthonormal", "activation": activation, "neurons": 2, "inputs": 4}
    with pytest.raises(EngineError, match=r"of activations with a closed kernel and σ\(0\) = 0"):
        ens.run(small(axes={}, teacher=teacher, protocol={"kind": "plain", "steps": 9}), engine="fused")


def test_rules_that_it_does_not_know_are_refused():
    message = "got 'fused', which serves plain descent of two-layer students on the exact population risk without optax"
    with pytest.raises(EngineError, match=message):
        ens.run(small(axes={}, protocol={"kind": "plain", "step_size": 0.2, "steps": 9, "loss": 1e-3}), engine="fused")
