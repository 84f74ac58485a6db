"""`gd-atlas new`: files that are studies, for every part; and `show`, which says them back with what they cost."""

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ensemble as ens
from ensemble.__main__ import app
from ensemble.launch.timing import Timing
from ensemble.parts import REGISTRY, is_own
from ensemble.study.draft import axis_of, draft, inline, usual, write_new

OWN = {role: [name for name, part in REGISTRY[role].items() if is_own(part)] for role in ("teacher", "student")}


def studied(text: str, path: Path) -> ens.Study:
    path.write_text(text)
    return ens.Study.from_toml(path)


@pytest.mark.parametrize("kind", OWN["student"])
def test_every_student_has_a_draft(kind, tmp_path):
    study = studied(draft("x", {"student.kind": kind}), tmp_path / "x.toml")
    assert study.student.kind == kind and study.members == 20


@pytest.mark.parametrize(
    "kind", [kind for kind in OWN["teacher"] if kind not in ("given", "deep_linear", "conv", "attention", "biased")]
)
def test_every_teacher_has_a_draft(kind, tmp_path):
    study = studied(draft("x", {"teacher.kind": kind}), tmp_path / "x.toml")
    assert study.teacher.kind == kind


@pytest.mark.parametrize("kind", [kind for kind in ens.protocols.PROTOCOLS if kind != "stages"])
def test_every_protocol_has_a_draft(kind, tmp_path):
    study = studied(draft("x", {"protocol.kind": kind}), tmp_path / "x.toml")
    assert study.protocol["kind"] == kind


def test_what_is_commented_out_is_what_holds(tmp_path):
    """Without their marks, the fields that stand there as comments change nothing."""
    text = draft("x", {"axes.weight_decay": [0.0, 0.1]}, 'does "it"?')
    lines = [line.removeprefix("# ") if " = " in line and not line.startswith("# probes") else line
             for line in text.splitlines()]  # fmt: skip
    lines = [line for line in lines if not line.startswith("store_weights")]
    said = tomllib.loads("\n".join(lines))
    assert {"extra_neurons", "start", "kind"} <= set(said["student"]) and "update" in said["protocol"]
    whole, plain = studied("\n".join(lines), tmp_path / "x.toml"), studied(text, tmp_path / "y.toml")
    assert whole.replace(name="y").hash == plain.hash and plain.question == 'does "it"?'


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"teacher.kind": "orthonormla"}, "teacher.kind: got 'orthonormla'; .* did you mean 'orthonormal'"),
        ({"student.kind": "wide"}, "student.kind: got 'wide'"),
        ({"protocol.kind": "plane"}, "protocol.kind: got 'plane'; .* did you mean 'plain'"),
        ({"teacher.kind": "given"}, r"teacher\.a"),
        ({"axes.weigt_decay": [0.0]}, "axes.weigt_decay: .* did you mean 'weight_decay'"),
        ({"student": 3}, r"student: got 3; give its fields, as in student\.kind="),
        ({"student.start": "balance"}, "student.start"),
        ({"sead": 3}, "sead: unknown field; did you mean 'seeds'"),
    ],
)
def test_what_makes_no_study_is_refused_by_field(chosen, words):
    with pytest.raises(ens.StudyError, match=words):
        draft("x", chosen)


def test_values_are_toml():
    value = {"a": [1, 2.5, True, 'é"', [1e-8]], "b c": {"d": "x"}}
    assert tomllib.loads(f"v = {inline(value)}")["v"] == value
    assert axis_of("weight_decay=0,0.1") == ("weight_decay", [0, 0.1]) and axis_of("update=adam, sign") == (
        "update",
        ["adam", "sign"],
    )
    with pytest.raises(ens.StudyError, match="axis: got 'update'; write FIELD=v1,v2"):
        axis_of("update")


def test_the_command_writes_and_never_replaces(tmp_path):
    file = tmp_path / "mine.toml"
    asked = ["new", str(file), "--teacher", "orthonormal", "--axis", "weight_decay=0,0.1", "seeds=3"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0 and f"gd-atlas show {file}" in done.output, done.output
    study, text = ens.Study.from_toml(file), file.read_text()
    assert (study.name, study.seeds, study.members) == ("mine", 3, 6) and "# Asks:" in text and "# Expect:" in text
    again = CliRunner().invoke(app, asked)
    assert again.exit_code == 2 and "which exists; take another name" in again.stderr and file.read_text() == text
    with pytest.raises(ens.StudyError, match="which exists"):
        write_new(file, "other")
    nowhere = CliRunner().invoke(app, ["new", str(tmp_path / "no" / "x.toml"), "seeds=3"])
    assert nowhere.exit_code == 2 and "cannot be written" in nowhere.stderr
    shown = CliRunner().invoke(app, ["show", str(file)])
    assert shown.exit_code == 0 and "[axes.weight_decay]" in shown.output and "--time" in shown.output


def test_the_command_asks_for_the_rest(tmp_path):
    """Answers: the question, deep_linear for the student, a line each; what such a student has not is not asked."""
    file = tmp_path / "asked.toml"
    answers = ["how deep?", "deep_linear", "", "6", "", "plain", "4", "depth=2,3", ""]
    done = CliRunner().invoke(app, ["new", str(file), "--ask"], input="\n".join([*answers, ""]))
    assert done.exit_code == 0, done.output
    study = ens.Study.from_toml(file)
    assert study.question == "how deep?" and study.teacher.kind == "deep_linear" and study.teacher.inputs == 6
    assert study.seeds == 4 and study.axes["depth"].values == (2, 3) and "activation" not in done.output
    assert usual({}, "teacher.activation") == "abs_centred"
    assert usual({"student.kind": "deep_linear"}, "teacher.activation") is None


def test_show_times_a_few_members(tmp_path):
    """The order of magnitude of a run of the same study in the same process, which is what the range promises."""
    file = tmp_path / "timed.toml"
    file.write_text(draft("timed", {"seeds": 8, "protocol.epochs": 2, "protocol.epoch_steps": 400}))
    shown = CliRunner().invoke(app, ["show", str(file), "--time"])
    assert shown.exit_code == 0 and "were timed on this machine now (simd; compilation" in shown.output, shown.output
    said = json.loads(CliRunner().invoke(app, ["show", str(file), "--time", "--json"]).stdout)["seconds"]
    assert 0.0 <= said["low"] <= said["high"] < 120.0 and said["high"] > 0.0 and not said["is_bound"]
    bound = str(Timing(30.0, 7200.0, 3.0, "simd", True))
    assert bound.startswith("at most 2.0 h, less where rules end members earlier: ")
