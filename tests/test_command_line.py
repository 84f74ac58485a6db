"""The command line: one of both sides, one way to choose cells, messages in its own words, one word for each thing."""

import importlib.metadata
import io
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import analysis.__main__
import ensemble as ens
import ensemble.__main__
import gd_atlas
from ensemble.console import in_options, texts_at, values_of
from ensemble.launch import Report
from ensemble.progress import ProgressShow
from ensemble.store.schema import status_line
from tests.helpers import assert_identical
from tests.studies import small

LOSS = ["--measure", "loss", "--below", "1"]


def commands_of(app) -> set[str]:
    """The names that the help of a command lists."""
    said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    return {line.split()[1] for line in said.splitlines() if line.startswith("│ ") and line[2:3].isalpha()}


def test_one_console_script_has_the_commands_of_both_sides():
    scripts = tomllib.loads(Path("pyproject.toml").read_text())["project"]["scripts"]
    (name, target), *others = scripts.items()
    assert name == "gd-atlas" and not others
    main = importlib.metadata.EntryPoint(name, target, "console_scripts").load()
    assert main is gd_atlas.main
    simulator, both = commands_of(ensemble.__main__.app), commands_of(analysis.__main__.app)
    assert simulator == {"run", "status", "collect", "reproduce", "show", "new"}
    assert simulator < both and {"refine", "phase", "summary", "report", "serve"} <= both


def test_the_script_names_itself(monkeypatch, capsys):
    for command in ("summary", "run"):  # one of each side
        monkeypatch.setattr("sys.argv", ["anything", command])
        with pytest.raises(SystemExit) as ended:
            gd_atlas.main()
        assert ended.value.code == 2 and f"Usage: gd-atlas {command}" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["anything", "sumary"])
    with pytest.raises(SystemExit):
        gd_atlas.main()
    assert "Did you mean 'summary'?" in capsys.readouterr().err


def test_a_run_does_not_wait_for_libraries_of_pictures():
    said = "import sys, gd_atlas; print(sorted({'matplotlib', 'plotly', 'analysis'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("commands") / "run"
    ens.run(small(seeds=3), out)
    return out


def invoke(*arguments: str | Path):
    return CliRunner().invoke(analysis.__main__.app, [*map(str, arguments)])


def test_at_chooses_cells_in_every_command(directory, tmp_path):
    rows = json.loads(invoke("summary", directory, "--at", "separation=0.4,1.2", "--json").stdout)["rows"]
    assert [(r["weight_decay"], r["separation"]) for r in rows] == [(0.0, 0.4), (0.0, 1.2), (0.05, 0.4), (0.05, 1.2)]
    cell = ["--at", "separation=0.8", "--at", "weight_decay=0"]
    (row,) = json.loads(invoke("summary", directory, *cell, "--json").stdout)["rows"]
    own = ens.open_dataset(directory).sel(separation=0.8, weight_decay=0.0)
    assert row["loss[0.5]"] == sorted(own["loss"].values.tolist())[1] and "separation" not in row
    one = json.loads(invoke("summary", directory, "--at", "seed=2", "--at", "separation=0.4", "--json").stdout)["rows"]
    assert [r["seeds"] for r in one] == [1, 1]
    member = ["--at", "weight_decay=0.05", "--at", "separation=0.4", "--at", "seed=1"]
    drawn = invoke("picture", "neurons", directory, *member, "--out", tmp_path / "n.png")
    assert drawn.exit_code == 0 and (tmp_path / "n.png").stat().st_size > 1000
    again = invoke("reproduce", directory, *member)
    assert again.exit_code == 0 and "variables are bit for bit the same" in again.output


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["summary", "DIR", "--only", "separation=0.4"], "--at separation=0.4"),
        (
            ["reproduce", "DIR", "--member", "weight_decay=0.05,separation=0.4,seed=1"],
            "--at weight_decay=0.05 --at separation=0.4 --at seed=1",
        ),
        (["summary", "DIR", "--seed=2"], "--at seed=2"),
    ],
)
def test_old_words_still_work_and_say_the_new_ones(directory, old, new):
    done = invoke(*(str(directory) if part == "DIR" else part for part in old))
    assert done.exit_code == 0, done.output
    assert f"is --at now: {new}" in done.stderr
    options = invoke(old[0], "--help").output
    assert "--at" in options and not any(word in options for word in ("--only", "--member", "--seed "))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["summary", "DIR", "--at", "separaton=1"], ("--at: got the axis 'separaton'; the axes are weight_decay, "
         "separation, seed; did you mean 'separation'?")),
        (["summary", "DIR", "--at", "separation=7"], "--at: got separation = '7'; its values are [0.4, 0.8, 1.2]"),
        (["summary", "DIR", "--at", "seed=9"], "--at: got seed = '9'; its values are 0 to 2"),
        (["summary", "DIR", "--below", "-1"], "--below: got -1.0; measures are sizes, give a positive threshold"),
        (["summary", "DIR", "--below", "nan"], "--below: got nan"),
        (["survival", "DIR", "--measure", "mean_angel", "--below", "1"], "did you mean 'mean_angle'?"),
        (["survival", "DIR", "--measure", "loss", "--below", "0"], "--below: got 0.0"),
        (["escape", "DIR", "--fraction", "1"], "--fraction: got 1.0; a plateau within 10% is left below 0.91"),
        (["escape", "DIR", "--plateau", "0"], "--plateau: got [0.0]; give positive numbers"),
        (["phase", "DIR", "--x", "weight_decay", "--y", "seperation", *LOSS, "--out", "OUT.png"], ("--y: got "
         "'seperation', which is no axis; the axes are weight_decay, separation; did you mean 'separation'?")),
        (["picture", "neurons", "DIR", "--out", "OUT.png"], ("--at: the axis 'weight_decay' is open; choose one of its "
         "values [0.0, 0.05]: --at weight_decay=VALUE")),
        (["picture", "angels", "DIR", "--out", "OUT.png"], "did you mean 'angles'?"),
        (["reproduce", "DIR", "--at", "seed=1"], "--at: got no weight_decay"),
    ],
)  # fmt: skip
def test_messages_are_in_the_words_of_the_command(directory, tmp_path, arguments, message):
    places = {"DIR": str(directory), "OUT.png": str(tmp_path / "x.png")}
    done = invoke(*(places.get(part, part) for part in arguments))
    said = " ".join(done.stderr.replace("│", " ").split())  # typer puts its own messages into a box
    assert done.exit_code == 2 and message in said, done.stderr
    assert not list(tmp_path.iterdir())


def test_the_library_names_arguments_and_no_flags(directory):
    """Every message about an open axis, and every `--word` in what is raised."""
    ds = ens.open_dataset(directory)
    with pytest.raises(ValueError, match=r"^at: the axis 'separation' is open; choose one of its values \[.*\]$"):
        analysis.trajectory_picture(ds, "loss", along="weight_decay")
    with pytest.raises(ens.StudyError, match=r"replace it with overwrite=True$"):
        ens.run(small(seeds=2), directory)
    with pytest.raises(ens.StudyError, match=r"^at: got no separation"):
        ens.reproduce(directory, {"weight_decay": 0.05, "seed": 1})
    for path in [*Path("ensemble").rglob("*.py"), *Path("analysis").rglob("*.py")]:
        if path.name not in ("__main__.py", "console.py", "tables.py") and "commands" not in path.parts:
            flags = [line for line in path.read_text().splitlines() if re.search(r"--[a-z]", line)]
            assert not [line for line in flags if not re.search(r"git\(|python -m", line)], path


def test_library_words_become_options():
    options = {"at": "--at", "overwrite": "--overwrite", "x": "--x"}
    assert in_options("x: got 'a'; is no axis", options) == "--x: got 'a'; is no axis"
    assert in_options("out: take another, or overwrite=True", options) == "out: take another, or --overwrite"
    assert in_options("out: take another, or overwrite=True", {}) == "out: take another, or overwrite=True"
    assert in_options("at: the axis 'k' is open", options) == "--at: the axis 'k' is open: --at k=VALUE"
    assert in_options("studies/x.toml: x: got 1", options) == "studies/x.toml: x: got 1"


def test_values_are_those_that_their_texts_write():
    assert texts_at(["k=6,7", "width = 3", "k=8"]) == {"k": ["6,7", "8"], "width": ["3"]}
    assert values_of(["1e-1,0.50"], [0.1, 0.5]) == [0.1, 0.5]
    assert values_of(["a,b", "a"], ["a,b", "a", "b"]) == ["a,b", "a"], "a label may have commas"
    assert values_of(["true"], [True, False]) == [True] and values_of(["1"], [True, False]) == ["1"]
    assert values_of(["6", "6", "x"], [6, 7]) == [6, "x"]


def test_what_is_no_study_is_refused():
    with pytest.raises(ens.StudyError, match="no such study file"):
        ens.run("studies/none.toml")
    with pytest.raises(ens.StudyError, match=r"study: got \{'seeds': 3\}; give a Study, or the path of a study file"):
        ens.run({"seeds": 3})  # pyright: ignore[reportArgumentType]


def test_a_path_of_a_study_runs_as_the_study_does(tmp_path):
    study = small(seeds=1, axes={}, records=0, max_steps=5)
    (tmp_path / "small.toml").write_text(study.to_toml())
    for path in (tmp_path / "small.toml", str(tmp_path / "small.toml")):
        assert_identical(ens.run(path), ens.run(study))


def test_the_bar_says_which_time_is_which():
    file = io.StringIO()
    with ProgressShow(Console(file=file, force_terminal=True, width=160)) as show:
        show.update(Report(members=4, finished=1, converged=None, member_steps=10, share=0.25, seconds=2.0))
    said = file.getvalue()
    assert "elapsed" in said and "0:06 left" in said and "0:06 left 0:" not in said


def test_a_notebook_has_one_line_that_is_kept_up_to_date(monkeypatch):
    """In IPython's kernel (a shell with a `kernel`); a shell on a terminal has its bar."""
    import IPython
    import IPython.display

    said, handle = [], type("Handle", (), {"update": lambda self, data, raw: said.append(data["text/plain"])})()
    shell = type("Shell", (), {"kernel": object()})()
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    monkeypatch.setattr(IPython.display, "display", lambda data, raw, display_id: handle)
    with ens.ProgressShow(Console(file=io.StringIO())) as show:
        show.update(Report(members=4, finished=1, converged=None, member_steps=10, share=0.25, seconds=2.0))
        show.update(Report(members=4, finished=4, converged=None, member_steps=40, share=1.0, seconds=8.0))
    assert said == [
        "[ 25%] 0:02 elapsed, 1/4 members, 5 member-steps/s, 0:06 left",
        "[100%] 0:08 elapsed, 4/4 members, 5 member-steps/s",
    ]
    shell.kernel = None
    file = io.StringIO()
    with ens.ProgressShow(Console(file=file, force_terminal=True, width=160)) as show:
        show.update(Report(members=4, finished=1, converged=None, member_steps=10, share=0.25, seconds=2.0))
    assert len(said) == 2 and "1/4 members" in file.getvalue()


def test_members_of_a_run_that_goes_on_are_in_flight(directory):
    ds = ens.open_dataset(directory).load()
    ds["status"].values[0, 0, 0] = ens.STATUS["running"]
    assert "1 in flight, " in status_line(ds) and "interrupted" not in status_line(ds)


def test_converged_is_said_of_the_stop_rule_alone(directory):
    """The study has no stop rule: with a threshold the columns say below, without one converged."""
    ds = ens.open_dataset(directory)
    summary = invoke("summary", directory, "--measure", "loss", "--below", "0.02")
    assert "never below" in summary.output and "median time until below" in summary.output
    assert "never converged" not in summary.output
    timed = invoke("survival", directory, "--measure", "loss", "--below", "0.02").output
    assert "below: loss ≤ 0.02 for good" in timed and "converged" not in timed
    ruled = invoke("survival", directory).output
    assert "never converged" in ruled and "converged: the stop rule is met" in ruled
    assert set(analysis.time_below(ds, "loss", 0.02)) == {"by", "after", "below", "observed"}
    assert analysis.survival(ds, "loss", below=0.02).attrs["reached"] == "below"
    for result in (analysis.survival(ds, "loss", below=0.02), analysis.time_below(ds, "loss", 0.02)):
        assert not [name for name, v in result.variables.items() if "converge" in f"{name}{v.attrs.get('long_name')}"]
