"""The command lines, as a user calls them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ensemble as ens
from tests.helpers import called

SMALL = ["--at", "k=6,7", "--at", "extra_neurons=0", "--seeds", "3"]


def call(*arguments: str | Path) -> subprocess.CompletedProcess:
    """A process of its own, as a user's; what costs no more than its start is `called` in this one."""
    return subprocess.run([sys.executable, "-m", *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "minima"
    said = called("ensemble", "run", "studies/spurious_minima.toml", "--out", out, *SMALL)
    assert "6 members: 6 converged (stop rule met)" in said.stdout
    assert f"dataset: {out}" in said.stdout
    assert "[100%]" in said.stdout and "member-steps/s" in said.stdout, "no plain progress lines"
    return out


def test_run_writes_what_open_dataset_reads(run_directory):
    with ens.open_dataset(run_directory) as ds:
        assert dict(ds["status"].sizes) == {"k": 2, "extra_neurons": 1, "seed": 3}
        assert ds.attrs["complete"] == 1
        assert float(ds["grad_norm"].max()) <= 1e-9


def test_a_complete_dataset_is_not_run_again(run_directory):
    said = called("ensemble", "run", "studies/spurious_minima.toml", "--out", run_directory, *SMALL).stdout
    assert "holds this study's complete dataset already; nothing was run" in said


def test_minima(run_directory):
    table = called("analysis", "minima", run_directory).stdout
    assert "global" in table and "95% interval" in table
    data = json.loads(called("analysis", "minima", run_directory, "--json").stdout)
    assert [cell["at"] for cell in data["cells"]] == [{"k": 6, "extra_neurons": 0}, {"k": 7, "extra_neurons": 0}]
    for cell in data["cells"]:
        assert sum(f["count"] for f in cell["families"]) == cell["seeds"] == 3
        assert all(f["low"] <= f["share"] <= f["high"] for f in cell["families"])


def test_summary(run_directory):
    said = called("analysis", "summary", run_directory).stdout
    assert "median loss" in said and "6 converged" in said


def test_phase(run_directory, tmp_path):
    said = called("analysis", "phase", run_directory, "--x", "k", "--y", "extra_neurons", "--measure", "loss",
                "--below", "1e-10", "--out", tmp_path / "map.png").stdout  # fmt: skip
    assert "k = 6:" in said
    assert (tmp_path / "map.png").exists() and (tmp_path / "map.nc").exists()


def test_show():
    said = called("ensemble", "show", "studies/spurious_minima.toml", *SMALL).stdout
    assert "6 members (2 cells × 3 seeds)" in said
    assert "root_seed = 0" in said and "[axes.k]" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ensemble", "show", "studies/none.toml"], "no such study file"),
        (["ensemble", "show", "studies/recovery.toml", "--at", "separation=7"], "got '7'; its values are"),
        (
            ["ensemble", "show", "studies/recovery.toml", "--at", "separation"],
            "--at: got 'separation'; write AXIS=v1,v2",
        ),
        (["ensemble", "show", "studies/recovery.toml", "--at", "separaton=0.1"], "did you mean 'separation'?"),
        (["ensemble", "show", "studies/recovery.toml", "--at", "seed=3"], "say with --seeds how many"),
        (["ensemble", "refine", "studies/recovery.toml"], "No such command 'refine'"),
        (["analysis", "summary", "studies"], "holds no dataset"),
        (["analysis", "sumary", "studies"], "Did you mean 'summary'?"),
        (["analysis", "summary", "studies", "--meazure", "loss"], "--measure"),
    ],
)
def test_bad_input_ends_with_a_message_and_no_traceback(arguments, message):
    result = called(*arguments, check=False)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("module", ["ensemble", "analysis"])
def test_so_does_a_process_of_its_own(module):
    result = call(module, "show", "studies/recovery.toml", "--seeds", "0")
    assert result.returncode == 2 and result.stdout == ""
    assert "seeds: got 0" in result.stderr and "Traceback" not in result.stderr


def test_bad_measure_and_axis(run_directory, tmp_path):
    base = ["analysis", "phase", run_directory, "--x", "k", "--y", "extra_neurons", "--out", tmp_path / "map.png"]
    result = called(*base, "--measure", "colour", "--below", "1", check=False)
    assert result.returncode == 2 and "got 'colour'" in result.stderr and "Traceback" not in result.stderr


def test_a_damaged_shard_ends_the_analysis_with_a_message(run_directory, tmp_path):
    shutil.copytree(run_directory, tmp_path / "copy")
    (shard,) = (tmp_path / "copy" / "shards").iterdir()
    os.truncate(shard, shard.stat().st_size - 1)
    result = called("analysis", "summary", tmp_path / "copy", check=False)
    assert result.returncode == 2 and "is damaged: its checksum is wrong; run the study again" in result.stderr
    assert "Traceback" not in result.stderr


def test_ctrl_c_ends_the_command_with_a_partial_dataset(tmp_path):
    command = [sys.executable, "-m", "ensemble", "run", "studies/recovery.toml", "--out", str(tmp_path), "--seeds", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    # The first progress line says that the engine runs.
    for line in process.stdout:
        if line.startswith("["):
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in rest and "the same command goes on" in rest
    with ens.open_dataset(tmp_path) as ds:
        assert ds.attrs["complete"] == 0
