"""Dask clusters: a real scheduler and workers, each a process of its own, on the loopback address."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import analysis
import ensemble as ens
from ensemble.launch import cluster, status
from ensemble.launch.cluster import connected, run_on_cluster
from ensemble.store import StoreError
from ensemble.store import directory as directory_module
from tests.helpers import assert_identical, shards, wait_for
from tests.studies import long_study, tiny, written

PYTHON = [sys.executable, "-m"]


@pytest.fixture
def processes():
    """Starts processes that are killed at the end of the test."""
    begun = []

    def start(*command: str, **environment: str) -> subprocess.Popen:
        begun.append(
            subprocess.Popen(
                [*PYTHON, *command],
                env=os.environ | {"GD_ATLAS_CORES": "1", "PYTHONUNBUFFERED": "1"} | environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )
        return begun[-1]

    yield start
    for process in begun:
        with pytest.MonkeyPatch.context():
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        process.wait()


def scheduler(processes, folder: Path, *more: str) -> tuple[subprocess.Popen, str]:
    file = folder / "scheduler.json"
    protocol = "tls" if more else "tcp"
    place = ("--host", "127.0.0.1", "--port", "0", "--protocol", protocol, "--scheduler-file", str(file))
    process = processes("distributed.cli.dask_scheduler", "--no-dashboard", *place, *more)
    wait_for(file.exists)
    return process, json.loads(file.read_text())["address"]


def worker(processes, address: str, folder: Path, *more: str) -> subprocess.Popen:
    place = ("--nthreads", "1", "--no-nanny", "--local-directory", str(folder))
    return processes("distributed.cli.dask_worker", address, "--no-dashboard", *place, *more)


def kill_after_two_shards(process: subprocess.Popen, out: Path) -> threading.Thread:
    def kill():
        wait_for(lambda: out.is_dir() and len(list(out.glob("shards/*.nc"))) >= 2)
        process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    return killer


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(directory_module, "_MOST_MEMBERS", 50)


@pytest.fixture(scope="module")
def study() -> ens.Study:
    return long_study(seeds=100)


@pytest.fixture(scope="module")
def expected(study) -> xr.Dataset:
    return ens.run(study)


def test_a_worker_killed_in_mid_shard_changes_nothing(study, expected, processes, tmp_path, small_shards):
    _, address = scheduler(processes, tmp_path)
    victim, _ = worker(processes, address, tmp_path), worker(processes, address, tmp_path)
    out = tmp_path / "out"

    killer = kill_after_two_shards(victim, out)
    with connected(address) as client:
        reports = []
        ds = run_on_cluster(study, out, client, on_progress=reports.append)
        killer.join()
        assert victim.poll() is not None
        assert_identical(ds, expected)
        assert reports[-1].finished == study.members and ds.attrs["engine"] == "simd"
        assert len(shards(out)) == 12
        # What analysis reduces is computed where the shards are: the dataset travels as a recipe.
        (table,) = [analysis.summary(ds, "loss", 1e-3)]
        np.testing.assert_array_equal(table["loss"].values, analysis.summary(expected, "loss", 1e-3)["loss"].values)


@pytest.mark.long
def test_the_command_on_a_local_cluster_and_ctrl_c(tmp_path, study, expected):
    file, out = written(study, tmp_path / "long.toml"), tmp_path / "out"
    command = [*PYTHON, "ensemble", "run", str(file), "--out", str(out), "--dask", "local", "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("["):
            break
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on" in said, said
    assert status(out).state.startswith("stopped")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    with ens.open_dataset(out) as ds:
        assert_identical(ds, expected)


def test_clusters_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(StoreError, match="dask: got 'nonsense', which cannot be reached"), connected("nonsense"):
        pass
    pytest.importorskip("distributed")
    if not _has("dask_jobqueue"):
        with pytest.raises(StoreError, match=r"needs dask-jobqueue; install it: pip install 'gd-atlas\[slurm\]'"):
            with connected("slurm"):
                pass


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def test_slurm_jobs_are_asked_for_as_configured():
    """The job script that dask-jobqueue makes of the configuration in docs/running.md; no job is submitted."""
    jobqueue = pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    jobs = jobqueue.SLURMCluster(cores=1, processes=1, memory="8GB", job_extra_directives=["--gres=gpu:1"])
    try:
        assert "#SBATCH --gres=gpu:1" in jobs.job_script() and "--nthreads 1" in jobs.job_script()
    finally:
        jobs.close()


class Task:
    """A future of a task that is done."""

    def __init__(self, error: Exception | None, value=None):
        self.status, self.error, self.value = "finished" if error is None else "error", error, value

    def exception(self):
        return self.error

    def result(self):
        return self.value


class Cluster:
    """Stands for a client whose tasks run at once, here, and fail as they are told to."""

    status = "running"

    def __init__(self, errors: dict[int, list[Exception]]):
        self.errors, self.asked = errors, []

    def scheduler_info(self, n_workers):
        return {"workers": {"one": {}}}

    def submit(self, function, study, box, number, token, key):
        self.asked.append(number)
        if self.errors.get(number):
            return Task(self.errors[number].pop())
        return Task(None, function(study, box, number, token))

    def cancel(self, futures, force):
        pass


@pytest.fixture
def at_once(monkeypatch):
    class Ended:
        def __init__(self, done):
            self.done = done

    monkeypatch.setattr(cluster, "wait", lambda futures, timeout, return_when: Ended(futures))
    monkeypatch.setattr(directory_module, "_MOST_MEMBERS", 2)


@pytest.mark.parametrize("error", [TimeoutError("of the task"), OSError(28, "No space left on device")])
def test_what_a_task_cannot_do_is_said_and_its_shard_is_not_lost(error, tmp_path, at_once):
    """A task's TimeoutError was taken for an idle second, and its OSError for a scheduler that is gone."""
    client = Cluster({1: [error]})
    with pytest.raises(StoreError, match=r"shard 1: failed on a worker: .*(of the task|No space left).*is safe: mend"):
        run_on_cluster(tiny(), tmp_path, client)
    now = status(tmp_path)
    assert now.state.startswith("failed") and now.found.stored.keys() == {0}
    assert_identical(run_on_cluster(tiny(), tmp_path, client), ens.run(tiny()))
    assert client.asked[-2:] == [1, 2]


def test_a_run_without_all_of_its_shards_is_not_complete(tmp_path, at_once, monkeypatch):
    """As where a file system loses what a worker wrote."""
    client = Cluster({})
    real = cluster.compute_shard

    def loses(study, box, number, token):
        done = real(study, box, number, token)
        if number == 2:
            next((tmp_path / "shards").glob("000002*")).unlink()
        return done

    monkeypatch.setattr(cluster, "compute_shard", loses)
    with pytest.raises(StoreError, match="shard 2 is not stored"):
        run_on_cluster(tiny(), tmp_path, client)
    assert not status(tmp_path).state.startswith("complete")


def test_a_client_that_cannot_speak_to_its_scheduler_says_so(tmp_path, at_once, monkeypatch):
    client = Cluster({})
    monkeypatch.setattr(Cluster, "status", "closed")
    with pytest.raises(StoreError, match="the Dask scheduler is gone"):
        run_on_cluster(tiny(), tmp_path, client)
