"""Study files: what they mean, and what is said when they cannot be run."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import ensemble as ens
from ensemble.parts import lenient
from ensemble.study import StudyError
from ensemble.study.units import field_units
from tests.studies import small

STUDIES = sorted(Path("studies").glob("*.toml"))

TEXT = """
question = "?"
seeds = 2
[teacher]
kind = "separated_pairs"
activation = "abs_centred"
neurons = 4
inputs = 6
separation = 0.5
[student]
neurons = 8
start = "symmetric"
[protocol]
kind = "halving_decay"
weight_decay = 0.05
[axes]
separation = [0.2, 0.5]
"""


def write(tmp_path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def refused(tmp_path, old: str, new: str, match: str) -> None:
    assert old in TEXT
    with pytest.raises(StudyError, match=match):
        ens.Study.from_toml(write(tmp_path, TEXT.replace(old, new)))


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_shipped_studies_are_valid_explained_and_free_of_warnings(path):
    text = path.read_text()
    study = ens.Study.from_toml(path)
    assert study.name == path.stem
    assert study.question
    assert "# Asks:" in text and "# Expect:" in text
    assert ens.Study.from_json(json.dumps(study.resolved())) == study


def test_there_are_the_studies_that_the_documentation_names():
    assert {"recovery", "stages", "spurious_minima", "width"} <= {p.stem for p in STUDIES}


def test_from_toml(tmp_path):
    study = ens.Study.from_toml(write(tmp_path, TEXT))
    assert study.name == "mine"
    assert study.members == 4
    assert study.axes["separation"].field == "teacher.separation"
    assert study.axes["separation"].units == "rad"
    assert [p.cell.teacher.separation for p in study.points] == [0.2, 0.5]
    assert study.points[0].cell.stages.steps == 16_000


@pytest.mark.parametrize(
    ("path", "table", "units"),
    [
        ("student.start.distance", {"neurons": 2, "start": "near_teacher"}, "rad"),
        ("student.start.distance", {"kind": "deep_linear", "start": {"kind": "near_factors"}}, "1"),
        ("student.start.distance", {"kind": "deep", "start": "near_layers"}, "1"),
        ("student.start.scale", {"kind": "deep_linear"}, "1"),
        ("teacher.filters.separation", {"kind": "conv", "filters": "separated_pairs"}, "rad"),
        ("teacher.separation", {"kind": "orthonormal"}, "rad"),  # an axis changes its kind
        ("protocol.epoch_steps", {"kind": "halving_decay"}, "step"),
        ("protocol.max_angle", {"kind": "plain"}, "rad"),
        ("protocol.stages.0.steps", {"kind": "stages"}, "step"),
        ("protocol.stages.0.step_size", {"kind": "stages"}, "1"),
        ("seeds", {}, "1"),
    ],
)
def test_an_axis_has_the_units_that_the_part_of_its_field_says(path, table, units):
    assert field_units(path, {path.partition(".")[0]: table}) == units


def test_one_axis_sets_several_fields():
    study = ens.Study.from_toml("studies/spurious_minima.toml").only(k=[8, 12])
    shapes = [(p.cell.teacher.shape(), p.cell.student.width) for p in study.points]
    assert shapes == [((8, 8), 8), ((8, 8), 9), ((12, 12), 12), ((12, 12), 13)]
    assert [p.labels for p in study.points][1] == {"k": 8, "extra_neurons": 1}


def test_a_whole_table_can_be_an_axis():
    study = ens.Study.from_toml("studies/stages.toml")
    assert [p.cell.protocol["kind"] for p in study.points] == ["zhou_ge", "fixed_first_layer", "zhou_ge", "zhou_ge"]
    assert study.stage_names == ("early", "fit", "balance", "local")


def test_axes_over_a_part_and_over_a_field_of_it_mean_the_same_in_any_order():
    """The part that one axis chooses has the field that the other sets, and no axis has the values of another."""
    teachers = [small().resolved()["teacher"] | {"separation": 0.1, "neurons": k} for k in (2, 4)]
    axes = {
        "b1": {"field": "protocol.update.b1", "values": [0.5, 0.9]},
        "update": ["adam", "adamw"],
        "separation": [0.4, 0.8],
        "k": {"values": [2, 4], "fields": {"teacher": teachers}},
    }
    protocol = {"kind": "fixed_decay", "steps": 3, "step_size": 0.01, "update": "adam"}
    for order in (list(axes), list(reversed(axes))):
        study = small(protocol=protocol, axes={name: axes[name] for name in order})
        for point in study.points:
            teacher, (stage,) = point.cell.teacher, point.cell.stages.stages
            ran = {"b1": stage.update.b1, "update": stage.update.kind}
            assert ran | {"separation": teacher.separation, "k": teacher.neurons} == point.labels


def test_numbers_of_parts_that_are_named_by_a_text_are_axes():
    """Of a stage as of a named protocol, and of an activation; what is stored says the text."""
    stages = [
        {"name": "first", "update": "adam", "steps": 2},
        {
            "name": "then",
            "update": "rmsprop",
            "penalty": "elastic",
            "weight_decay": 0.1,
            "steps": 2,
            "decay": "coupled",
        },
    ]
    teacher = small().resolved()["teacher"] | {"activation": "leaky_relu"}
    axes = {
        "b1": [0.5, 0.9],
        "rho": {"field": "protocol.stages.1.update.decay", "values": [0.8, 0.7]},
        "decay": ["coupled", "decoupled"],  # the stage's own, and not that of its rmsprop
        "leak": {"field": "teacher.activation.slope", "values": [0.1, 0.2]},
        "layers": {"field": "protocol.stages.1.penalty.layers", "values": ["first", "output"]},
    }
    study = small(protocol={"kind": "stages", "stages": stages}, teacher=teacher, axes=axes)
    assert study.axes["b1"].field == "protocol.stages.0.update.b1"
    assert study.axes["decay"].field == "protocol.stages.1.decay"
    for point in study.points:
        first, then = point.cell.stages.stages
        said = {"b1": first.update.b1, "rho": then.update.decay, "decay": then.decay, "layers": then.penalty.layers}
        assert said | {"leak": point.cell.teacher.sigma.slope} == point.labels
    table = study.resolved()
    assert [stage["update"] for stage in table["protocol"]["stages"]] == ["adam", "rmsprop"]
    assert table["teacher"]["activation"] == "leaky_relu"
    with pytest.raises(StudyError, match=r"axes.x: got the field 'protocol.kind.x'; protocol.kind is a single value"):
        study.replace(axes={"x": {"field": "protocol.kind.x", "values": [1]}})


def test_axes_may_say_the_data_that_a_study_leaves_out():
    tables = {"d": {"values": ["population", "sample"], "fields": {"data": [{}, {"samples": 20}]}}}
    one = small(axes=tables)
    assert one.data is None and [p.cell.is_sampled for p in one.points] == [False, True]
    many = small(axes={"n": {"field": "data.samples", "values": [10, 20]}})
    assert [p.cell.data and p.cell.data.samples for p in many.points] == [10, 20]
    assert all(p.cell.data is None for p in small().points)


def test_replace_and_only():
    study = small()
    other = study.replace(seeds=8, axes={"weight_decay": [0.0, 0.05]}, max_steps=10)
    assert (other.seeds, other.members, other.max_steps) == (8, 16, 10)
    assert list(other.axes) == ["weight_decay"]
    assert list(study.only(separation=[0.8]).axes) == ["weight_decay", "separation"]
    assert other.replace(protocol=ens.protocols.plain(steps=5), axes={}).points[0].cell.stages.steps == 5
    assert study.hash != other.hash
    assert study.hash == small().hash


def test_records_are_log_spaced_and_hold_both_ends():
    study = small(records=12)
    steps = study.record_steps
    assert steps[0] == 0 and steps[-1] == 60
    assert 12 <= len(steps) <= 14
    assert np.all(np.diff(steps) > 0)
    assert small(records=0).record_steps == ()
    assert small(records=[5, 0, 5]).record_steps == (0, 5)
    # More records than steps: every step.
    assert small(records=1000).record_steps == tuple(range(61))


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("neurons = 4", "neurons = -3", r"mine.toml: teacher.neurons: got -3; input should be greater than 0"),
        ("neurons = 4", "neurons = 5", r"teacher.neurons: got 5; separated pairs need an even number"),
        ("seeds = 2", "seed = 2", r"mine.toml: seed: unknown field; did you mean 'seeds'\?"),
        ("seeds = 2", 'seeds = "many"', r"seeds: got 'many'; give a number, not a text"),
        ("separation = 0.5\n", "", r"teacher.separation: is missing"),
        ("inputs = 6\n", "", r"teacher.inputs: is missing; this field is required"),
        ("separation = 0.5", "separation = 2.0", r"teacher.separation: got 2 rad between lines"),
        (
            'start = "symmetric"',
            'start = "symetric"',
            r"student.start.kind: got 'symetric'; known starts are symmetric, balanced, .*did you mean 'symmetric'",
        ),
        ("neurons = 8", "neurons = 7", r"student.neurons: got a width of 7; the symmetric start needs an even width"),
        ("neurons = 8", "neurons = 8\ninputs = 5", r"student.inputs: got 5, but teacher.inputs = 6"),
        ("weight_decay = 0.05", "weight_decay = -1", r"protocol.weight_decay: got -1; input should be greater than"),
        ("weight_decay = 0.05", "weight_decy = 1", r"protocol.weight_decy: unknown field; the protocol halving_decay"),
        ('"halving_decay"', '"haling"', r"protocol.kind: got 'haling'; known protocols are zhou_ge"),
        ("[0.2, 0.5]", "[0.2, 0.2]", r"axes.separation.values: got \[0.2, 0.2\]; every point of an axis must differ"),
        ("[0.2, 0.5]", "[0.2, 1.7]", r"separation: got 1.7 rad .*\(at separation = 1.7\)"),
        ("separation = [0.2, 0.5]", "sep = [0.2]", r"axes.sep: got no field, and 'sep' is the name of no field"),
        ("separation = [0.2, 0.5]", "neurons = [4]", r"fits teacher.neurons and student.neurons"),
        ("separation = [0.2, 0.5]", "loss = {values = [1], field = 'seeds'}", r"axes.loss: an axis needs a name"),
        ("separation = [0.2, 0.5]", "tolerance = {values = [1], field = 'seeds'}", r"axes.tolerance: an axis needs a"),
        ("[axes]", "[axes]\nx = {values = [1, 2], field = 'teacher.nothing'}", r"teacher.nothing: unknown field"),
        ("[axes]", "[axes]\nx = {values = [1, 2], field = 'nowhere.at'}", r"axes.x: got the field 'nowhere.at'"),
        ('question = "?"', 'question = "?"\nprobes = ["los"]', r"probes: got 'los'; did you mean 'loss'\?"),
        ('question = "?"', 'question = "?', r"mine.toml: is not valid TOML: .*line 2"),
        ('question = "?"', 'name = "../up"', r"name: got '../up'; string should match pattern"),
    ],
)
def test_errors_name_the_field_the_value_and_the_way_out(tmp_path, old, new, match):
    refused(tmp_path, old, new, match)


def test_errors_of_files_and_calls(tmp_path):
    with pytest.raises(StudyError, match="no such study file"):
        ens.Study.from_toml(tmp_path / "none.toml")
    with pytest.raises(StudyError, match=r"axes.colour: no such axis; this study's axes are weight_decay, separation"):
        small().only(colour=[1])
    with pytest.raises(StudyError, match=r"axes.separation: got 7; its values are \[0.4, 0.8, 1.2\]"):
        small().only(separation=[7])
    with pytest.raises(StudyError, match=r"sedes: unknown field; did you mean 'seeds'\?"):
        small().replace(sedes=3)


def test_balance_needs_a_homogeneous_activation(tmp_path):
    text = TEXT.replace('"abs_centred"', '"erf"').replace('"halving_decay"', '"zhou_ge"')
    with pytest.raises(StudyError, match="balance stage with activation erf"):
        ens.Study.from_toml(write(tmp_path, text))


def test_step_size_beyond_the_stability_bound_warns(tmp_path):
    text = TEXT.replace("weight_decay = 0.05", "weight_decay = 0.05\nstep_size = 30")
    with pytest.warns(ens.StudyWarning, match="got step_size = 30 in stage 'local'"):
        ens.Study.from_toml(write(tmp_path, text))


def test_every_way_to_make_a_study_warns_once_and_opening_a_stored_one_does_not(tmp_path):
    fields = small(axes={}, seeds=1, records=0).resolved()
    wild = {"kind": "fixed_decay", "step_size": 30.0, "steps": 5, "update": {"kind": "momentum"}}
    calm = small(axes={}, seeds=1, records=0)
    path = write(tmp_path, TEXT.replace("weight_decay = 0.05", "weight_decay = 0.05\nstep_size = 30"))
    made = []
    for make in (
        lambda: ens.Study(**fields | {"protocol": wild}),
        lambda: ens.Study.model_validate(fields | {"protocol": wild}),
        lambda: calm.replace(protocol=wild),
        lambda: ens.Study.from_toml(path),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            made.append(make())
        # At the line that made the study, whatever is called in between.
        assert [(w.category, w.filename) for w in caught] == [(ens.StudyWarning, __file__)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", ens.StudyWarning)
        ens.initial(made[0], seed=3)
        ens.run(made[0], out=tmp_path / "run")
        ens.run(made[0], out=tmp_path / "run")
        ens.open_dataset(tmp_path / "run")
        assert ens.Study.from_json(made[0].text) == made[0]


def test_stability_bound_is_where_descent_leaves_the_teacher():
    # Orthonormal relu teacher, first layer: the bound is 2/((k−1)/4 + 1/2), and the sharpness is at least that.
    from ensemble.dynamics.stability import largest_stable_step
    from ensemble.dynamics.updates import Descent

    study = ens.Study.from_toml("studies/spurious_minima.toml").only(k=[8], extra_neurons=[0])
    limit = largest_stable_step(study.points[0].cell.teacher, Descent(), "first", 0.0)
    assert limit == pytest.approx(2 / (7 / 4 + 1 / 2), rel=1e-12)
    start = {"kind": "near_teacher", "distance": 1e-3}
    protocol = {"kind": "plain", "layers": "first", "steps": 500}
    eight = {"kind": "orthonormal", "activation": "relu", "neurons": 8, "inputs": 8}
    student = {"neurons": 8, "start": start}
    near = study.replace(seeds=2, axes={}, teacher=eight, student=student, protocol=protocol | {"step_size": 0.1})
    calm = near.replace(protocol=protocol | {"step_size": 0.5 * limit})
    with pytest.warns(ens.StudyWarning):
        wild = near.replace(protocol=protocol | {"step_size": 1.3 * limit})
    assert float(ens.run(calm)["loss"].max()) < 1e-6 < 1e-3 < float(ens.run(wild)["loss"].min())


def test_every_way_to_make_a_study_raises_the_same_error():
    study = small(axes={})
    fields = {name: getattr(study, name) for name in ("name", "teacher", "student", "protocol")}
    assert ens.Study(**fields, seeds=3).seeds == 3
    said = []
    for make in (
        lambda: ens.Study(**fields, seeds=-1),
        lambda: study.replace(seeds=-1),
        lambda: ens.Study.from_json(study.text.replace('"seeds": 3', '"seeds": -1')),
    ):
        with pytest.raises(ens.StudyError, match="seeds: got -1; input should be greater than 0") as error:
            make()
        said.append(str(error.value).removeprefix("study: "))
    assert len(set(said)) == 1


def test_a_protocol_of_python_keeps_its_name_and_its_fields():
    """The same dynamics have the same identity, and an axis finds a field by its name."""
    table = {"kind": "halving_decay", "weight_decay": 0.03, "epochs": 2, "epoch_steps": 10}
    arguments = {k: v for k, v in table.items() if k != "kind"}
    named, written = small(protocol=ens.protocols.halving_decay(**arguments), axes={}), small(protocol=table, axes={})
    assert named.hash == written.hash and named.protocol["kind"] == "halving_decay"
    assert small(protocol=ens.protocols.halving_decay(**arguments), axes={"epochs": [1, 2]}).members == 6


@pytest.mark.parametrize(("seed", "message"), [(-1, "seed: got -1; seeds are 0, 1")])
def test_an_initial_member_that_is_none(seed, message):
    with pytest.raises(ens.StudyError, match=message):
        ens.initial(small(axes={}), seed)


def test_more_steps_than_a_clock_counts_are_refused():
    with pytest.raises(ens.StudyError, match=r"protocol: got 3,000,000,000 steps; a member's clock counts up to"):
        small(axes={}, records=[0, 1], protocol={"kind": "plain", "steps": 3_000_000_000})


def test_certificates_do_not_depend_on_the_users_generator():
    import jax

    student, teacher = ens.initial(small(axes={}))
    found = []
    for implementation in ("threefry2x32", "rbg"):
        with jax.default_prng_impl(implementation):
            found.append(float(ens.duality_gap(student, teacher, weight_decay=0.05).gap))
    assert found[0] == found[1]


def test_a_name_that_is_reserved_now_stays_an_axis_of_a_stored_study():
    text = small(axes={"weight_decay": [0.0, 0.05]}).text.replace('"axes": {"weight_decay"', '"axes": {"share"')
    assert list(ens.Study.from_json(text).axes) == ["share"]
    with pytest.raises(ens.StudyError, match=r"axes.share: an axis needs a name"):
        ens.Study.from_json(text).replace(seeds=2)


def test_two_axes_that_set_one_field_are_refused():
    again = {"field": "protocol.weight_decay", "values": [0.1, 0.2]}
    with pytest.raises(
        ens.StudyError, match=r"axes.again: sets protocol.weight_decay, which the axis 'weight_decay' sets"
    ):
        small(axes={"weight_decay": [0.0, 0.05], "again": again})
    with pytest.raises(ens.StudyError, match=r"fields: got an empty table"):
        small(axes={"nothing": {"values": [1, 2], "fields": {}}})


def test_a_stored_study_is_read_once_and_cells_share_their_protocols():
    study = ens.Study.from_toml("studies/recovery.toml")
    read = ens.Study.from_json(study.text)
    assert read == study and read is ens.Study.from_json(study.text) is not study
    by_decay = {}
    for point in study.points:
        by_decay.setdefault(point.labels["weight_decay"], set()).add(id(point.cell.stages))
    assert len(by_decay) > 1 and all(len(protocols) == 1 for protocols in by_decay.values())
    assert len(set.union(*by_decay.values())) == len(by_decay)


def test_a_stored_study_of_unknown_inputs_is_read_where_that_is_allowed():
    table = json.loads(small(data={"samples": 5}).text)
    table["data"]["inputs"] = {"kind": "of_another_version"}
    with pytest.raises(ens.StudyError, match=r"data.inputs.kind: got 'of_another_version'"):
        ens.Study.from_json(json.dumps(table))
    with lenient():
        assert ens.Study.from_json(json.dumps(table)).lacks_parts
