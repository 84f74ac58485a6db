"""Run directories: shards, extensions, reading, faults. Every fault is real: real files, and processes that die."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import ensemble as ens
import ensemble.launch.local as local
from ensemble.launch import reproduce, status
from ensemble.store import Box, RunDirectory, StoreError, reading
from ensemble.store import directory as directory_module
from ensemble.store.boxes import cut, regions_beyond
from ensemble.store.files import write_checked, write_netcdf
from ensemble.study import StudyError
from tests.helpers import assert_identical, called, shards, wait_for
from tests.studies import heavy_tailed, long_study, small, written


@pytest.fixture(autouse=True)
def few_members_a_shard(monkeypatch):
    monkeypatch.setattr(directory_module, "_MOST_MEMBERS", 4)


@pytest.fixture(scope="module")
def whole() -> xr.Dataset:
    return ens.run(small())


@pytest.fixture(scope="module")
def stored_once(tmp_path_factory) -> Path:
    """A run directory of `small()`, of six shards, which no test changes."""
    path = tmp_path_factory.mktemp("stored") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory_module, "_MOST_MEMBERS", 4)
        ens.run(small(), out=path)
    return path


@pytest.fixture
def stored(stored_once, tmp_path) -> Path:
    """A copy of it, which a test may change."""
    return Path(shutil.copytree(stored_once, tmp_path / "stored"))


@pytest.fixture(scope="module")
def heavy() -> tuple[ens.Study, xr.Dataset]:
    """Members that end at very different times, and what they end at."""
    study = heavy_tailed(axes={"step_size": [0.05, 0.2]})
    return study, ens.run(study)


# -- boxes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 2, 4, 5, 9, 17, 18, 1000])
def test_boxes_are_consecutive_members_and_cover_the_grid_once(most):
    study = small()
    boxes = list(cut(Box.whole(study).indices, most))
    members = np.concatenate([box.members(study) for box in boxes])
    np.testing.assert_array_equal(members, np.arange(study.members))
    assert max(box.size for box in boxes) <= most
    assert all(np.array_equal(Box.from_runs(box.runs()).members(study), box.members(study)) for box in boxes)


def test_an_extension_adds_exactly_the_new_members():
    old = small()
    new = small(seeds=5, axes={"weight_decay": [0.0, 0.01, 0.05], "separation": [0.4, 0.6, 0.8, 1.2, 1.3]})
    before = Box.whole(old).moved(old, new).members(new)
    added = np.concatenate([Box(region).members(new) for region in regions_beyond(old, new)])
    assert len(np.intersect1d(before, added)) == 0
    np.testing.assert_array_equal(np.sort(np.concatenate([before, added])), np.arange(new.members))


# -- writing and reading -----------------------------------------------------------------------------


@pytest.mark.parametrize(("small_bytes", "chunks"), [(2**24, ((2,), (3,), (3,))), (0, ((1, 1), (1, 1, 1), (3,)))])
def test_shards_are_read_as_one_dataset(whole, tmp_path, monkeypatch, small_bytes, chunks):
    """Small variables are one chunk, which is read once; those of large ones are the shards."""
    monkeypatch.setattr(reading, "_SMALL_BYTES", small_bytes)
    ds = ens.run(small(), out=tmp_path)
    assert len(shards(tmp_path)) == 6
    assert_identical(ds, whole)
    assert ds["loss"].chunks == chunks
    # Any selection: integers, slices, lists, outer products, along every dimension.
    for choice in ({"separation": 1}, {"seed": [2, 0], "weight_decay": slice(1, 2)}, {"seed": -1, "record": [3, 1]}):
        got, expected = ds["loss_history"].isel(choice), whole["loss_history"].isel(choice)
        np.testing.assert_array_equal(got.values, expected.values)
    got, expected = ds["W"].isel(neuron=[2, 0], input=[1, 3]), whole["W"].isel(neuron=[2, 0], input=[1, 3])
    np.testing.assert_array_equal(got.values, expected.values)
    # A shard is an ordinary dataset of its own.
    with ens.open_dataset(shards(tmp_path)[0]) as shard:
        assert shard.sizes["seed"] == 3 and shard.sizes["separation"] == 1
        assert shard.attrs["engine"] == "simd"


def test_values_that_a_reader_changes_are_its_own(stored):
    """What is read once and kept must not be what is handed out."""
    ds = ens.open_dataset(stored)
    before = ds["loss"].values.copy()
    loaded = ds["loss"].compute()
    loaded.values[:] = -1.0
    np.testing.assert_array_equal(ds["loss"].values, before)


def test_extending_computes_only_what_is_new(stored):
    before = {p: p.stat().st_mtime_ns for p in shards(stored)}
    more = small(seeds=5, axes={"weight_decay": [0.0, 0.01, 0.05], "separation": [0.4, 0.8, 1.0, 1.2]})
    said = []
    ds = ens.run(more, out=stored, say=said.append)
    assert any("extends a run of 18 members to 60" in line for line in said)
    assert {p: p.stat().st_mtime_ns for p in shards(stored) if p in before} == before
    assert sum(int(ens.open_dataset(p)["status"].size) for p in shards(stored)) == 60
    assert_identical(ds, ens.run(more))


def test_extending_by_wider_students_pads_the_older_shards(tmp_path):
    probes = ["loss", "mass"]  # one of members, one of neurons
    narrow = small(probes=probes, axes={"width": {"field": "student.neurons", "values": [4]}})
    wide = small(probes=probes, axes={"width": {"field": "student.neurons", "values": [3, 4, 6]}})
    ens.run(narrow, out=tmp_path)
    assert_identical(ens.run(wide, out=tmp_path), ens.run(wide))


def test_an_extension_that_moves_the_records_is_refused(tmp_path):
    axes = {"epoch_steps": [10]}
    ens.run(small(axes=axes), out=tmp_path)
    with pytest.raises(StudyError, match=r"records and stages, which follow from the values: .* up to step 30 there"):
        ens.run(small(axes={"epoch_steps": [10, 20]}), out=tmp_path)


def test_collect_makes_one_file(whole, stored, tmp_path):
    ens.collect(stored, tmp_path / "one.nc")
    with ens.open_dataset(tmp_path / "one.nc") as one:
        assert_identical(one, whole)
    with pytest.raises(StoreError, match="is no directory; make it first"):
        ens.collect(stored, tmp_path / "none" / "one.nc")


def test_files_of_the_schema_before_shards_open(whole, tmp_path):
    old = whole.assign_attrs(schema_version=1)
    del old.attrs["box"]
    old.to_netcdf(tmp_path / "dataset.nc", encoding={"stage": {"dtype": "S1"}})
    with ens.open_dataset(tmp_path) as ds:
        assert_identical(ds, whole)
    with pytest.raises(StudyError, match=r"dataset.nc of an earlier gd-atlas"):
        ens.run(small(), out=tmp_path)


def test_a_newer_layout_is_refused(stored):
    manifest = json.loads((stored / "manifest.json").read_text())
    (stored / "manifest.json").write_text(json.dumps(manifest | {"layout_version": 99}))
    for act in (lambda: ens.open_dataset(stored), lambda: ens.run(small(), out=stored)):
        with pytest.raises(StoreError, match=r"got layout_version 99.*update gd-atlas"):
            act()
    for name in ("manifest.json", "manifest.copy.json"):  # one of the two is enough: tests/test_manifest.py
        (stored / name).write_text("{")
    with pytest.raises(StoreError, match=r"manifest.json: cannot be read.*bring back a copy"):
        ens.open_dataset(stored)


def test_every_member_can_be_made_again_from_a_file(stored, tmp_path):
    labels = {"weight_decay": "0.05", "separation": "0.8", "seed": "2"}
    found = reproduce(stored, labels)
    assert found.different == {} and found.variables > 30 and found.engine == "simd"
    (shard,) = [p for p in shards(stored) if p.name.startswith("000003")]
    assert reproduce(shard, {"seed": "1"}).different == {}
    with xr.open_dataset(shard) as ds:
        ds = ds.load()
    ds["W"][..., 1, 2] += 1e-15
    ds.to_netcdf(tmp_path / "changed.nc", encoding={"stage": {"dtype": "S1"}})
    assert set(reproduce(tmp_path / "changed.nc", {"seed": "1"}).different) == {"W"}
    with pytest.raises(
        StudyError, match="at: got no separation; a member has a value of each of weight_decay, separation, seed"
    ):
        reproduce(stored, {"weight_decay": "0.05", "seed": "1"})
    with pytest.raises(StudyError, match="got seed = '7'; its values are"):
        reproduce(stored, labels | {"seed": "7"})


# -- damage ------------------------------------------------------------------------------------------


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 4
    path.write_bytes(data)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [truncated, flipped, emptied, removed])
def test_damaged_shards_are_never_read_and_are_computed_again(damage, whole, stored):
    victim = shards(stored)[2]
    damage(victim)
    if damage is not removed:
        assert victim in status(stored).found.bad
        with ens.open_dataset(stored) as ds:
            with pytest.raises(StoreError, match=r"000002.*is damaged.*run the study again"):
                ds["loss"].load()
    else:
        with ens.open_dataset(stored) as ds:
            assert ds.attrs["complete"] == 0
            assert int((ds["status"] == 0).sum()) == 3
    said = []
    assert_identical(ens.run(small(), out=stored, say=said.append), whole)
    if damage is not removed:
        assert any("checksum is wrong; set aside as" in line for line in said)
        assert (stored / "shards" / f"{victim.name}.damaged").exists()
    assert any("5 of 6 shards verified (15 members)" in line for line in said)


def test_foreign_shards_are_found(whole, stored, tmp_path):
    ens.run(small(root_seed=7), out=tmp_path / "other")
    stranger = shards(tmp_path / "other")[1]
    shards(stored)[1].unlink()
    os.rename(stranger, stored / "shards" / stranger.name)
    twin = shards(stored)[0]
    os.link(twin, twin.with_name(twin.name.replace("000000", "000004")))
    shards(stored)[-2].unlink()  # the right number 4 sorts after the twin or before it
    (stored / "shards" / "notes.txt").write_text("mine")
    said = []
    assert_identical(ens.run(small(), out=stored, say=said.append), whole)
    assert any("it belongs to another study" in line for line in said)
    assert (stored / "shards" / "notes.txt").read_text() == "mine"


def test_a_shard_under_another_number_is_found(whole, stored):
    first, second, *_ = shards(stored)
    second.unlink()
    os.link(first, first.with_name(first.name.replace("000000", "000001")))
    said = []
    assert_identical(ens.run(small(), out=stored, say=said.append), whole)
    assert any("it is number 0 under another name" in line for line in said)


# -- interruption ------------------------------------------------------------------------------------


class Interrupt:
    """A progress callback that sends this process SIGINT after some calls, as Ctrl-C does."""

    def __init__(self, calls: int):
        self.calls = calls

    def __call__(self, report):
        self.calls -= 1
        if self.calls == 0:
            os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_run_goes_on_with_the_same_bits(heavy, tmp_path):
    study, expected = heavy
    pauses = 0
    while True:
        said = []
        try:
            ds = ens.run(study, out=tmp_path, on_progress=Interrupt(18), say=said.append)
            break
        except KeyboardInterrupt:
            pauses += 1
            now = status(tmp_path)
            assert now.state.startswith("stopped")
            assert now.counts.sum() == study.members
    assert pauses >= 3
    assert any("members go on from where they were" in line for line in said)
    assert_identical(ds, expected)
    # Members in flight went on, so no step was taken twice.
    assert ds.attrs["member_steps"] == int(expected["stop_step"].sum())
    assert not any(p.suffix == ".nc" for p in (tmp_path / "partial").iterdir())
    assert status(tmp_path).state == "complete"


def test_what_was_kept_while_running_is_enough(heavy, tmp_path, monkeypatch):
    """A run that dies without a word: only what was kept on the way is there."""
    study, expected = heavy
    kept = 0
    keep = RunDirectory.write_partial

    def die_after_third(self, *arguments):
        nonlocal kept
        keep(self, *arguments)
        kept += 1
        if kept == 3:
            raise MemoryError("as if killed")

    monkeypatch.setattr(RunDirectory, "write_partial", die_after_third)
    with pytest.raises(MemoryError):
        ens.run(study, out=tmp_path, keep_every=1e-9)
    monkeypatch.setattr(RunDirectory, "write_partial", keep)
    # The flights without one of their boxes, and the boxes without the flights, are no harm either.
    partial = sorted(p for p in (tmp_path / "partial").iterdir() if p.name[0] == "0")
    partial[0].unlink()
    flipped(partial[1])
    assert_identical(ens.run(study, out=tmp_path), expected)


@pytest.fixture
def start():
    """Starts `python -m ensemble run` as a process of its own; what still runs at the end of a test is killed."""
    begun = []

    def start_one(study_file: Path, out: Path, *more: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "ensemble", "run", str(study_file), "--out", str(out), *more]
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        begun.append(process)
        return process

    yield start_one
    for process in begun:
        process.kill()
        process.communicate()


def test_sigterm_stops_cleanly_and_status_watches(tmp_path, start):
    """The second run is refused meanwhile; another process's `status` sees the first."""
    study = long_study(seeds=18_000).replace(axes={"step_size": [0.05, 0.06]})
    file = written(study, tmp_path / "long.toml")
    out = tmp_path / "out"
    process = start(file, out)
    wait_for(lambda: (out / "progress.json").exists() and status(out).counts[:, 1:].sum() > 0)
    second = called("ensemble", "run", file, "--out", out, check=False)
    assert second.returncode == 2
    assert f"another run is at work here (host {os.uname().nodename}, process {process.pid}, since" in second.stderr
    now = status(out)
    assert now.state.startswith(f"running (host {os.uname().nodename}, process {process.pid})")
    assert now.counts.sum() == study.members
    # A study file that is edited meanwhile changes nothing: the run knows the study it began with.
    file.write_text("seeds = 'none'")
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert process.returncode == 130, said
    assert "interrupted" in said and "the same command goes on" in said
    assert json.loads((out / "manifest.json").read_text())["generations"][0]["study_hash"] == study.hash
    assert status(out).state.startswith("stopped")


def test_a_full_disk_ends_with_a_message_and_loses_nothing(tmp_path, monkeypatch):
    """Files may not grow beyond a few KiB, so that no shard can be written; then they may."""
    monkeypatch.setattr(directory_module, "_MOST_MEMBERS", 40)
    study = heavy_tailed(seeds=40, store_weights=True)
    expected = ens.run(study)  # what XLA's cache keeps is written before there is a limit
    file, out = written(study, tmp_path / "study.toml"), tmp_path / "out"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60 * 1024, limits[1]))
    try:
        done = called("ensemble", "run", file, "--out", out, check=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert "cannot be written" in said and "make space and run the same command again" in said
    assert "Traceback" not in said
    called("ensemble", "run", file, "--out", out)
    with ens.open_dataset(out) as ds:
        assert_identical(ds, expected)


def test_a_disk_that_fills_later_keeps_what_is_stored(tmp_path, whole, monkeypatch):
    stored = RunDirectory.write_shard
    calls = 0

    def full_disk(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:

        def fills(self, number, results, provenance):
            nonlocal calls
            calls += 1
            if calls == 4:
                patch.setattr(os, "fsync", full_disk)
            return stored(self, number, results, provenance)

        patch.setattr(RunDirectory, "write_shard", fills)
        with pytest.raises(StoreError, match=r"No space left on device; the disk has .* MiB left: make space"):
            ens.run(small(), out=tmp_path)
    assert len(shards(tmp_path)) == 3 and not list((tmp_path / "shards").glob(".*"))
    before = {p: p.stat().st_mtime_ns for p in shards(tmp_path)}
    assert_identical(ens.run(small(), out=tmp_path), whole)
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_directories_that_cannot_be_written_are_refused_before_any_work(tmp_path):
    with pytest.raises(StudyError, match="out: got /proc/gd-atlas, which cannot be written"):
        ens.run(small(), out="/proc/gd-atlas")
    with pytest.raises(FileNotFoundError, match="holds no dataset"):
        ens.open_dataset(tmp_path / "none")


def test_a_directory_that_vanishes_is_a_clear_error(tmp_path, monkeypatch):
    import shutil

    stored = RunDirectory.write_shard

    def vanish(self, number, results, provenance):
        shutil.rmtree(tmp_path / "out")
        return stored(self, number, results, provenance)

    monkeypatch.setattr(RunDirectory, "write_shard", vanish)
    with pytest.raises(StoreError, match=r"cannot be written.*the directory is not there"):
        ens.run(small(), out=tmp_path / "out")


@pytest.mark.long
def test_a_clock_that_goes_backwards_is_no_harm(heavy, tmp_path, monkeypatch):
    """Files of the future, and a wall clock that jumps back a day while the run goes on."""
    study, expected = heavy
    real = time.time
    with pytest.raises(KeyboardInterrupt):
        ens.run(study, out=tmp_path, on_progress=Interrupt(8))
    for path in (tmp_path / "partial").iterdir():
        os.utime(path, (real() + 86_400, real() + 86_400))
    monkeypatch.setattr(time, "time", lambda: real() - 86_400)
    assert_identical(ens.run(study, out=tmp_path, keep_every=0.5), expected)


def test_a_lock_left_by_a_dead_process_is_taken_over(stored, whole):
    (stored / "lock").write_text(json.dumps({"host": "elsewhere", "pid": 1, "since": "2020-01-01T00:00:00+00:00"}))
    assert_identical(ens.run(small(), out=stored), whole)


@pytest.mark.long
def test_a_killed_run_goes_on_with_the_same_bits(tmp_path, start):
    """SIGKILL, once; tests/validation/test_kill.py does it at many random moments."""
    study = long_study(seeds=100)
    file, out = written(study, tmp_path / "long.toml"), tmp_path / "out"
    process = start(file, out, "--keep-every", "0.2")
    wait_for(lambda: set(out.glob("partial/flights*")) or process.poll() is not None)
    process.kill()
    process.wait()
    now = status(out)
    assert now.counts.sum() == study.members
    assert now.state.startswith("ended without a word") and now.counts[:, 1].sum() > 0
    said = called("ensemble", "status", out).stdout
    assert "0.05" in said and "missing" in said and "partly filled" in said
    with ens.open_dataset(out) as ds:
        assert ds.attrs["complete"] == 0
    process = start(file, out)
    said, _ = process.communicate(timeout=120)
    assert "go on from where they were" in said and process.returncode == 0, said
    with ens.open_dataset(out) as ds:
        assert_identical(ds, ens.run(study))
    last = json.loads((out / "manifest.json").read_text())["sessions"][-1]
    assert last["member_steps"] < 30_000 * study.members, "nothing was kept"
    assert status(out).state == "complete"
    assert "dataset:" in called("ensemble", "collect", out, tmp_path / "one.nc").stdout
    of = "step_size=0.06,width=5,seed=99"
    said = called("ensemble", "reproduce", tmp_path / "one.nc", "--member", of).stdout
    assert "variables are bit for bit the same" in said


def test_results_that_are_open_are_bounded(tmp_path, monkeypatch):
    """Boxes begin as many at a time as fit into memory, and each is handed over when it is full."""
    monkeypatch.setattr(local, "_OPEN_BYTES", 1)
    most = 0

    class Watched(local.Collection):
        def parts(self, members):
            nonlocal most
            yield from super().parts(members)
            most = max(most, len(self.open))

    monkeypatch.setattr(local, "Collection", Watched)
    study = heavy_tailed(seeds=400, records=0, store_weights=False)
    ens.run(study, out=tmp_path)
    assert len(shards(tmp_path)) == 100 and most <= 60


def test_a_shard_that_is_stored_twice_is_kept_once(whole, stored):
    """As when a worker is lost after it wrote a shard and before it said so."""
    first = shards(stored)[2]
    with xr.open_dataset(first) as ds:
        again = ds.load().assign_attrs(created="later")
    second = write_checked(stored / "shards", "000002", lambda path: write_netcdf(again, path))
    assert second.name != first.name
    assert_identical(ens.open_dataset(stored), whole)
    assert_identical(ens.run(small(), out=stored), whole)
    assert len(shards(stored)) == 6
