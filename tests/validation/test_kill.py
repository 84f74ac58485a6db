"""SIGKILL at many random moments, and directories that are extended in any order: the bits of an undisturbed run."""

import random
import subprocess
import sys
import time

import pytest

import ensemble as ens
from ensemble.store import directory as directory_module
from tests.helpers import assert_identical
from tests.studies import long_study, written
from tests.test_orders import live


def test_a_run_that_is_killed_at_many_random_moments(tmp_path):
    study = long_study(seeds=1500)
    file, out = written(study, tmp_path / "long.toml"), tmp_path / "out"
    command = [sys.executable, "-m", "ensemble", "run", str(file), "--out", str(out), "--keep-every", "1"]
    chance, kills = random.Random(0), 0
    while True:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if kills < 25:
            # Importing takes about two seconds: some kills hit it, some the drawing, the steps or the writing.
            time.sleep(chance.uniform(0.2, 6.0))
            kills += process.poll() is None
            process.kill()
            process.communicate()
        else:
            said, _ = process.communicate()
            assert process.returncode == 0, said
            break
    assert kills == 25
    assert not list(out.glob("**/.*.tmp")), "a half-written file was left behind"
    with ens.open_dataset(out) as ds:
        assert_identical(ds, ens.run(study))


@pytest.mark.parametrize("seed", range(20))
def test_random_orders_interruptions_and_extensions(seed, tmp_path, monkeypatch):
    chance = random.Random(seed)
    monkeypatch.setattr(directory_module, "_MOST_MEMBERS", chance.choice([1, 2, 3, 5, 8]))
    live(chance, tmp_path / "run", 6)
