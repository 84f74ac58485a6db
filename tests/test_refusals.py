"""Wrong types, names and values in a study file: each is refused by its field, before anything runs."""

import numpy as np
import pytest

import ensemble as ens
from ensemble.dynamics.stability import drawn_stable_step, largest_stable_step
from ensemble.dynamics.updates import Descent
from tests.studies import small
from tests.test_study import refused

SEEDS, DECAY, AXIS = "seeds = 2", "weight_decay = 0.05", "separation = [0.2, 0.5]"
KIND, DELTA, QUESTION = '"halving_decay"', "separation = 0.5", 'question = "?"'
PROTOCOL = f"kind = {KIND}\n{DECAY}"


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (SEEDS, 'seeds = "12"', r"seeds: got '12'; give a number, not a text"),
        (SEEDS, "seeds = true", r"seeds: got True; give a number, not a truth value"),
        (SEEDS, f"seeds = {'9' * 5000}", r"mine.toml: is not valid TOML"),
        (SEEDS, f"{'s' * 500} = 2", r"mine.toml: 'sss.*\.\.\.: unknown field"),
        (DECAY, 'weight_decay = "0.05"', r"protocol.weight_decay: got '0.05'; give a number, not a text"),
        (DECAY, "weight_decay = inf", r"protocol.weight_decay: got inf; input should be a finite number"),
        (DECAY, "weight_decay = nan", r"protocol.weight_decay: got nan; input should be a finite number"),
        (PROTOCOL, 'kind = "plain"\ngrad_norm = inf', r"protocol.grad_norm: got inf; input should be a finite number"),
        (
            'start = "symmetric"',
            'start = {kind = "balanced", scale = 1e-160}',
            r"student.start.scale: got 1e-160; rows so short have no direction.*: take 1e-150 or more",
        ),
        (DECAY, "weight_decays = 1", r"the protocol halving_decay has .*; did you mean 'weight_decay'\?"),
        (DECAY, "[[protocol.x]]", r"protocol.x: unknown field"),
        (DECAY, "epoch_steps = 2147483648", r"protocol.epoch_steps: got 2147483648; input should be less than"),
        (KIND, '"halving_deca"', r"protocol.kind: got 'halving_deca'; .*; did you mean 'halving_decay'\?"),
        (PROTOCOL, 'kind = ["plain"]', r"protocol.kind: got \['plain'\]; known protocols are"),
        (PROTOCOL, "kind = 'stages'\nstages = []", r"protocol.stages: got .*at least 1"),
        (DELTA, 'separation = ["0.5"]', r"teacher.separation: got \['0.5'\]; input should be a valid number"),
        (DELTA, "separatoin = 0.5", r"teacher.separatoin: unknown field; did you mean 'separation'\?"),
        (QUESTION, 'records = [0, "5"]', r"records: got '5'; give a number, not a text"),
        (QUESTION, "records = [2147483648]", r"records.*: got 2147483648; input should be less than"),
        (QUESTION, "records = {a = 1}", r"records: got {'a': 1}; input should be a valid integer, or be a list"),
        (AXIS, "separatio = [0.2]", r"axes.separatio: got no field.*; did you mean 'separation'\?"),
        (AXIS, "separation = 3", r"axes.separation.values: got 3; input should be a list"),
        (
            AXIS,
            "separation = [[1]]",
            r"axes.separation.values.0: got \[1\]; .*valid integer, or be a valid",
        ),
        (AXIS, "separation = [18446744073709551616]", r"axes.separation.values: got .*must fit into 64 bits"),
        (AXIS, 'activation = ["a\\u0000", "b"]', r"axes.activation: got 'a.*a label has no NUL"),
        (AXIS, "'a b' = [1]", r"axes.'a b': an axis needs a name of letters"),
        (AXIS, "x = 3", r"axes.x: got no field"),
        (AXIS, "x = {values = [1], field = 'teacher.x.y'}", r"axes.x: got the field 'teacher.x.y', of which 'x' does"),
        (AXIS, "x = {values = [1], field = 'techer'}", r"axes.x: got .*did you mean 'teacher'\?"),
        (AXIS, "x = {values = [1], field = 1}", r"axes.x.field: got 1; input should be a valid string"),
        (AXIS, "x = {value = [1]}", r"axes.x.value: unknown field; did you mean 'values'\?"),
    ],
)
def test_every_wrong_type_is_refused_by_its_field(tmp_path, old, new, match):
    refused(tmp_path, old, new, match)


@pytest.mark.parametrize(("steps", "said"), [(20, None), (30, "is -0.05 at step 14 of the stage 'a'")])
@pytest.mark.parametrize("number", ["step_size", "weight_decay"])
def test_a_schedule_that_turns_negative_within_its_stage_is_refused(number, steps, said):
    """Down a line that is below 0 from step 14, or 27, on: what a stage never reaches is no harm."""
    line = {"init_value": 1.0, "end_value": -0.5, "transition_steps": 20 if said else 40}
    schedule = {"kind": "optax", "name": "linear_schedule", "arguments": line}
    stage = {"name": "a", "steps": steps, "layers": "both", "step_size": 0.1, f"{number}_schedule": schedule}
    table = {"kind": "stages", "stages": [stage]}
    if said is None:
        assert small(axes={}, protocol=table).points
        return
    with pytest.raises(ens.StudyError, match=f"protocol: got a {number}_schedule that {said}"):
        small(axes={}, protocol=table)


def test_a_study_without_a_name_is_refused():
    table = small().model_dump(exclude={"name"})
    with pytest.raises(ens.StudyError, match=r"^name: is missing; this field is required"):
        ens.Study(**table)


def test_a_probe_of_ones_own_takes_its_name_where_it_is_measured_and_nowhere_else():
    class Width(ens.AbstractPlainProbe):
        name = "width"
        dims = ("layer_of_mine",)
        long_name = "no width of any study here"

        def __call__(self, at):
            raise AssertionError("no study of this test runs")

    axes = {"width": {"field": "student.neurons", "values": [4, 6]}}
    before = small(axes=axes)
    try:
        ens.register(Width)
        assert before.replace(seeds=2).axes.keys() == {"width"}, "another study's probe does not matter"
        for name in ("width", "width_stage", "layer_of_mine"):
            with pytest.raises(
                ens.StudyError, match=f"axes.{name}: an axis needs a name that is no dimension or variable"
            ):
                before.replace(axes={name: axes["width"]}, probes=["loss", "width"])
    finally:
        del ens.PROBES["width"]


def test_random_teachers_warn_for_the_sharpest_that_is_drawn():
    teacher = {
        "kind": "random_separated",
        "activation": "relu",
        "neurons": 3,
        "rank": 3,
        "inputs": 4,
        "separation": 0.1,
    }
    study = small(teacher=teacher, axes={}, seeds=5)
    own = study.points[0].cell.teacher
    limits = []
    for seed in range(5):
        planted = ens.initial(study, seed)[1]
        given = {"kind": "given", "activation": "relu", "a": np.asarray(planted.a).tolist()}
        same = small(teacher=given | {"W": np.asarray(planted.W).tolist()}, axes={}).points[0].cell.teacher
        limits.append(largest_stable_step(same, Descent(), "both", 0.01))
    drawn = drawn_stable_step(own, Descent(), "both", 0.01, 100.0, study.root_seed, range(5))
    assert drawn is not None and largest_stable_step(own, Descent(), "both", 0.01) is None
    found, seed = drawn
    assert seed == int(np.argmin(limits)) and found == pytest.approx(min(limits), rel=1e-12)
    assert drawn_stable_step(own, Descent(), "both", 0.01, 0.1, 0, range(5)) is None, "none can be so sharp"
    with pytest.warns(ens.StudyWarning, match=f"cannot rest at the teacher of seed {seed} "):
        study.replace(protocol={"kind": "plain", "step_size": 30.0, "steps": 10})


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (
            {"update": "ridge", "keep_state": True},
            r"keep_state: got true under the update 'ridge', which takes no step",
        ),
        ({"update": "balance", "steps": 20}, r"update: got 'balance' beside steps = 20, and it takes no step; take"),
        ({"update": "flow", "decay": "decoupled"}, r"decay: got 'decoupled' under the update 'flow', which is of the"),
        ({"update": "newton", "decay": "decoupled"}, r"decay: got 'decoupled' under the update 'newton', which is of"),
    ],
)
def test_what_a_stage_would_not_look_at_is_refused(stage, said):
    first = {"name": "first", "steps": 2}
    with pytest.raises(ens.StudyError, match=rf"^protocol.stages.1.{said}"):
        small(axes={}, protocol={"kind": "stages", "stages": [first, {"name": "then", "steps": 0} | stage]})


def test_a_protocol_that_descends_refuses_an_update_that_takes_no_step():
    with pytest.raises(ens.StudyError, match=r"^protocol.update: got 'ridge' beside steps = 20, and it takes no step"):
        small(axes={}, records=[0, 5], protocol={"kind": "fixed_decay", "update": "ridge", "steps": 20})
