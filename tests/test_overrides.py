"""Fields of a study file set from outside: `run study.toml protocol.weight_decay=0.1`."""

import json
from pathlib import Path

import pytest

import ensemble as ens
from ensemble.study.files import parsed
from tests.helpers import called

FILE = Path("studies/recovery.toml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("protocol.step_size=0.1", ("protocol.step_size", 0.1)),
        ("seeds = 3", ("seeds", 3)),
        ("student.start=xavier", ("student.start", "xavier")),
        ('student.start = {kind = "balanced", scale = 2.0}', ("student.start", {"kind": "balanced", "scale": 2.0})),
        ("axes.weight_decay=[0.0, 0.1]", ("axes.weight_decay", [0.0, 0.1])),
        ("question=a = b", ("question", "a = b")),
    ],
)
def test_values_are_toml_or_else_texts(text, expected):
    assert parsed(text) == expected


def test_fields_take_the_place_of_the_files():
    study = ens.Study.from_toml(
        FILE, {"protocol.step_size": 0.1, "seeds": 3, "student.start.scale": 0.5, "axes.weight_decay": [0.0, 0.1]}
    )
    assert study.seeds == 3 and study.axes["weight_decay"].values == (0.0, 0.1)
    cell = study.points[0].cell
    assert cell.stages.stages[0].step_size == 0.1 and cell.student.start.scale == 0.5
    assert cell.student.start.kind == ens.Study.from_toml(FILE).points[0].cell.student.start.kind
    assert study.hash != ens.Study.from_toml(FILE).hash
    assert ens.Study.from_toml(FILE, {}) == ens.Study.from_toml(FILE)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("protocol.weight_decay=0.1", "protocol.weight_decay: is set by the axis 'weight_decay'; choose its values"),
        ("protocl.step_size=0.1", "protocl.step_size: is no field; a path begins with .* did you mean 'protocol'"),
        ("protocol.step_sizes=0.1", "protocol.step_sizes: unknown field"),
        ("teacher.neurons.more=1", "teacher.neurons.more: leads through teacher.neurons, which is 4"),
        ("seed=3", "seed: unknown field; did you mean 'seeds'"),
        ("protocol.step_size=fast", "protocol.step_size"),
        ("protocol.step_size", r"got 'protocol.step_size'; write FIELD=VALUE"),
        ("=3", "write FIELD=VALUE"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(field, words):
    with pytest.raises(ens.StudyError, match=words):
        ens.Study.from_toml(FILE, dict([parsed(field)]))


def test_the_command_takes_them():
    told = ["ensemble", "show", FILE]
    shown = json.loads(called(*told, "seeds=2", "protocol.step_size=0.125", "--json").stdout)
    assert shown["study"]["seeds"] == 2 and shown["study"]["protocol"]["step_size"] == 0.125
    refused = called(*told, "--seed", "3", check=False)
    assert refused.returncode == 2
    nowhere = called(*told, "protocol.step_sise=1", check=False)
    assert nowhere.returncode != 0 and "Traceback" not in nowhere.stderr + nowhere.stdout
    assert "did you mean 'step_size'" in " ".join((nowhere.stderr + nowhere.stdout).split())
