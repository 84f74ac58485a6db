"""Files beside the shards: what a run says of itself, what changes while it is read, and what is collected of it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

import ensemble as ens
from ensemble.engine import run_workloads
from ensemble.launch import local, status
from ensemble.store import RunDirectory, SchemaError, StoreError, check, reading, sharded, survey
from ensemble.store.files import digest
from tests.helpers import assert_identical, shards
from tests.studies import tiny
from tests.test_attacks import renamed_to_its_checksum

pytestmark = pytest.mark.usefixtures("two_members_a_shard")


# -- progress ----------------------------------------------------------------------------------------

ONE = [0, 1, 0, 0, 0]
SAID = {
    "state": "running",
    "host": os.uname().nodename,
    "pid": os.getpid(),
    "written": "2026-01-01T00:00:00+00:00",
    "seconds": 1.0,
    "member_steps": 1,
    "share": 0.5,
    "open": {},
}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", '{"state": "running"}', '{"open": {}}']
    + [
        json.dumps(SAID | changes)
        for changes in (
            {"pid": "me"}, {"pid": 2**70}, {"pid": -1}, {"seconds": None}, {"written": [3]}, {"written": "yesterday"},
            {"written": "2026-01-01T00:00:00"}, {"share": "half"}, {"state": "flying"}, {"open": []},
            {"open": {"0": {"77": ONE}}}, {"open": {"77": {"0": ONE}}}, {"open": {"1": {"0": [1]}}},
            {"open": {"1": {"0": [0, 9, 9, 9, 9]}}}, {"open": {"1": {"0": "many"}}}, {"open": {"one": {}}},
        )
    ],
)  # fmt: skip
def test_status_works_without_a_usable_progress_file(text, out):
    shards(out)[1].unlink()
    (out / "progress.json").write_text(text)
    now = status(out)
    assert now.state == "begun; the run has said nothing yet"
    assert now.counts.sum(axis=0).tolist() == [2, 0, 0, 4, 0]


# -- many files, and files that change ----------------------------------------------------------------


def test_a_folder_without_a_run_is_said(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        for look in (ens.status, ens.open_dataset):
            with pytest.raises(FileNotFoundError, match=rf"{path}: holds no dataset \(manifest.json\); make one with"):
                look(path)


def test_status_computes_no_checksum_of_a_file_that_did_not_change(out, monkeypatch):
    """As from another terminal: only what the directory remembers is known, and what changed is found."""
    ens.run(tiny(), out=out)
    monkeypatch.setattr(survey, "_verified", {})
    computed = []
    monkeypatch.setattr(survey, "digest", lambda path: (computed.append(path), digest(path))[1])
    assert status(out).state == "complete" and computed == []
    victim = shards(out)[1]
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    assert status(out).found.bad == {victim: "its checksum is wrong"} and computed == [victim]
    for text in ("{", "[]", '{"x": 1}'):
        (out / "verified.json").write_text(text)
        assert list(status(out).found.bad) == [victim]
    computed.clear()
    ens.run(tiny(), out=out)  # a run computes all of them
    assert len(computed) >= 3


@pytest.mark.parametrize(
    ("module", "name"),
    [(survey, "digest"), (survey, "attributes"), (reading, "read_variable"), (sharded, "read_variable")],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_files_that_are_renamed_meanwhile_are_neither_damaged_nor_gone(module, name, out, whole, monkeypatch):
    """What a run does at every keep, just before a file is looked at: a newer one has taken its place."""
    victim = shards(out)[1]
    with h5py.File(victim, "r+") as file:
        file.attrs["complete"] = 0
        file["status"][0, 0] = 1
    newer = []
    for i in range(8):
        with h5py.File(victim, "r+") as file:
            file.attrs["created"] = f"version {i}"
        newer.append(Path(shutil.copy(victim, out / f"000001-{digest(victim)}.nc")))
    victim.unlink()
    newer.pop().rename(out / "partial" / "000001-first.nc")
    first = renamed_to_its_checksum(out / "partial" / "000001-first.nc")
    looks = getattr(module, name)
    moved = []

    def goes_on(path, *arguments):
        if path.parent == first.parent and newer and len(moved) % 2 == 0:
            path.unlink()
            newer[-1].rename(path.parent / newer.pop().name)
        moved.extend([path] if path.parent == first.parent else [])
        return looks(path, *arguments)

    monkeypatch.setattr(survey, "_verified", {})
    monkeypatch.setattr(module, name, goes_on)
    now = status(out)
    assert now.found.bad == {} and now.counts.sum(axis=0).tolist() == [0, 1, 0, 5, 0]
    with ens.open_dataset(out) as ds:
        assert int((ds["status"].values == 1).sum()) == 1
        np.testing.assert_array_equal(ds["loss"].values, whole["loss"].values)
    assert len(newer) < 7, "nothing was renamed"


def test_a_status_is_never_newer_than_the_values_beside_it(out, whole):
    """A box goes on after the dataset was opened: members that are finished in it then do not become so here."""
    victim = shards(out)[1]
    kept = victim.read_bytes()
    with h5py.File(victim, "r+") as file:
        file.attrs["complete"] = 0
        file["status"][0, 0], file["loss"][0, 0] = 1, np.nan
    partial = out / "partial" / f"000001-{digest(victim)}.nc"
    victim.rename(partial)
    ds, other = ens.open_dataset(out), ens.open_dataset(out)
    victim.write_bytes(kept)
    partial.unlink()
    assert ds["status"].values[1].tolist() == [1, 3]
    np.testing.assert_array_equal(ds["loss"].values[:, 1], whole["loss"].values[:, 1])
    # Where members that were finished are not any more, the dataset does not go on.
    with h5py.File(victim, "r+") as file:
        file.attrs["complete"] = 0
        file["status"][0, :] = 1
    victim.rename(out / "partial" / f"000001-{digest(victim)}.nc")
    with pytest.raises(StoreError, match="members that it had are computed again; open it again"):
        other["loss"].load()


# -- collected files ---------------------------------------------------------------------------------


def test_collect_replaces_only_what_it_wrote(out, whole, tmp_path):
    target = tmp_path / "one.nc"
    ens.collect(out, target)
    ens.collect(out, target)
    shutil.copy(shards(out)[0], tmp_path / "shard.nc")
    (tmp_path / "text.nc").write_text("mine")
    for name in ("shard.nc", "text.nc"):
        with pytest.raises(StoreError, match="`collect` did not write it; take another name, or overwrite it"):
            ens.collect(out, tmp_path / name)
    assert (tmp_path / "text.nc").read_text() == "mine"
    ens.collect(out, tmp_path / "text.nc", overwrite=True)
    with ens.open_dataset(tmp_path / "text.nc") as one:
        assert_identical(one, whole)
    (tmp_path / "link.nc").symlink_to(target)
    os.mkfifo(tmp_path / "pipe.nc")
    for name in ("link.nc", "pipe.nc", "."):
        with pytest.raises(StoreError, match="is a link, a folder, a pipe or a device"):
            ens.collect(out, tmp_path / name, overwrite=True)
    (tmp_path / "around").symlink_to(out / "shards")
    own = [*shards(out), out / "shards" / "new.nc", out / "partial" / "new.nc", out / "manifest.json", out / "lock"]
    for path in (*own, tmp_path / "around" / "new.nc"):
        with pytest.raises(StoreError, match="is a run directory's own place"):
            ens.collect(out, path, overwrite=True)
    assert_identical(ens.open_dataset(out), whole)
    ens.collect(out, out / "tiny.nc")  # beside the manifest is a good place


def test_temporaries_of_a_killed_collect_are_removed_and_those_of_others_stay(out, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = os.uname().nodename
    left = tmp_path / f".one.nc.{host}.{dead.pid}.tmp"
    others = [
        tmp_path / f".one.nc.{host}.{os.getppid()}.tmp",  # lives
        tmp_path / f".one.nc.elsewhere.{dead.pid}.tmp",
        tmp_path / f".two.nc.{host}.{dead.pid}.tmp",
        tmp_path / ".one.nc.mine.tmp",
    ]
    for path in (left, *others):
        path.write_text("half")
    ens.collect(out, tmp_path / "one.nc")
    assert not left.exists() and all(path.exists() for path in others)


def test_what_killed_workers_left_is_removed_by_the_next_run(out):
    shards(out)[0].unlink()
    left = [out / ".shared.0123456789abcdef0123456789abcdef", out / "shards" / ".000000.worker.7.tmp"]
    mine = out / "shards" / ".mine.tmp"
    for path in (*left, mine):
        path.write_text("half")
    ens.run(tiny(), out=out)
    assert not any(path.exists() for path in left) and mine.exists()


def test_a_collected_file_is_read_by_others_and_guards_itself(out, whole, tmp_path):
    good = ens.collect(out, tmp_path / "one.nc").read_bytes()
    for engine in ("netcdf4", "h5netcdf"):
        with xr.open_dataset(tmp_path / "one.nc", engine=engine) as one:
            np.testing.assert_array_equal(one["loss"].values, whole["loss"].values)
    damaged = tmp_path / "damaged.nc"
    chance = np.random.default_rng(0)
    for place in chance.integers(0, len(good), 60):
        data = bytearray(good)
        data[place] ^= 1 << int(chance.integers(8))
        damaged.write_bytes(data)
        with pytest.raises(SchemaError, match=r"damaged\.nc: cannot be read as netCDF4"):
            ens.open_dataset(damaged)
    for cut in (1, 60, 82, 83, len(good) // 2):
        damaged.write_bytes(good[:-cut])
        with pytest.raises(SchemaError, match=r"damaged\.nc: cannot be read as netCDF4"):
            ens.open_dataset(damaged)
    # What another program writes anew says so by itself: it has no seal to keep.
    with xr.open_dataset(tmp_path / "one.nc") as one:
        rewritten = one.load()
    del rewritten.attrs["seal"]
    rewritten.to_netcdf(damaged, encoding={"stage": {"dtype": "S1"}})
    with ens.open_dataset(damaged) as ds:
        assert_identical(ds, whole)


# -- what is computed and written --------------------------------------------------------------------


def test_diverged_members_are_stored_beside_the_others(tmp_path):
    """Their probes may be no numbers, and the dataset says so; those of other members may not."""
    study = tiny(axes={"step_size": [0.2, 1e160]}, protocol={"kind": "plain", "step_size": 0.2, "steps": 20})
    ds = ens.run(study, out=tmp_path)
    assert ds["status"].values.tolist() == [[3, 3], [4, 4]]
    assert np.isnan(ds["loss"].values[1]).all() or np.isinf(ds["loss"].values[1]).any()
    assert np.isfinite(ds["loss"].values[0]).all()
    assert ds["status"].attrs["comment"] == "probes of diverged members may be infinite or NaN"
    assert_identical(ds, ens.run(study))
    ens.collect(tmp_path, tmp_path / "one.nc")
    with ens.open_dataset(tmp_path / "one.nc") as one:
        check(one)
        good = one.load()
    good["loss"][0, 0] = np.nan
    with pytest.raises(SchemaError, match="loss: is NaN for 1 values of finished members"):
        check(good)


def test_a_write_that_failed_is_said_when_the_engine_fails_too(tmp_path, monkeypatch):
    def full(self, number, results, provenance):
        raise StoreError(f"shard {number}: the disk is full")

    def fails(works, watch):
        for work in works:
            run_workloads([work], watch)
        raise RuntimeError("the engine stopped")

    monkeypatch.setattr(RunDirectory, "write_shard", full)
    monkeypatch.setattr(local, "run_workloads", fails)
    monkeypatch.setattr(local, "_WRITES_BEHIND", 100)
    with pytest.raises(StoreError, match=r"shard 0: the disk is full \(and the computation failed: the engine stopped"):
        ens.run(tiny(), out=tmp_path)
    assert status(tmp_path).state.startswith("failed")
