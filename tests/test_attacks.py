"""Folders, links and files that are not what a run expects: refused or set aside, never followed and never deleted."""

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
from ensemble.store import directory as directory_module
from ensemble.store.files import digest, refuse_references
from ensemble.study import StudyError
from tests.helpers import assert_identical, shards
from tests.studies import tiny


@pytest.fixture(autouse=True)
def few_members_a_shard(monkeypatch):
    monkeypatch.setattr(directory_module, "_MOST_MEMBERS", 2)


@pytest.fixture(scope="module")
def whole() -> xr.Dataset:
    return ens.run(tiny())


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory_module, "_MOST_MEMBERS", 2)
        ens.run(tiny(), out=path)
    return path


@pytest.fixture
def out(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "out"))


# -- folders -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["notes.txt", "shards/mine.nc", "dataset.nc", ".hidden"])
def test_a_folder_that_is_no_run_is_refused_and_left_as_it_is(name, overwrite, tmp_path):
    mine = tmp_path / "folder" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(StudyError, match="which is no run directory and holds other files"):
        ens.run(tiny(), out=tmp_path / "folder", overwrite=overwrite)
    assert [p for p in (tmp_path / "folder").rglob("*") if p.is_file()] == [mine]


def test_overwriting_deletes_what_the_manifest_knows_and_nothing_else(out, whole):
    others = [out / "phase.png", out / "shards" / "mine.nc", out / "partial" / "notes.txt", out / "data" / "x"]
    stranger = out / "shards" / f"000077-{64 * '0'}.nc"
    for path in (*others, stranger):
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    before = [path for path in shards(out) if path.name.startswith("00000")]
    ds = ens.run(tiny(root_seed=1), out=out, overwrite=True)
    assert ds.attrs["study_hash"] == tiny(root_seed=1).hash
    assert all(path.read_text() == "mine" for path in others)
    assert len(before) == 3 and not any(path.exists() for path in before)
    # What a run of it cannot own is set aside by its name, not deleted.
    assert stranger.with_name(f"{stranger.name}.damaged").read_text() == "mine"


def test_what_a_killed_beginning_left_is_no_foreign_folder(tmp_path, whole):
    (tmp_path / "shards").mkdir()
    (tmp_path / "lock").write_text("")
    (tmp_path / ".manifest.json.somewhere.12.tmp").write_text("{")
    assert_identical(ens.run(tiny(), out=tmp_path), whole)
    assert not list(tmp_path.glob(".*")), "temporaries of killed programs are removed"


def test_a_directory_whose_manifest_was_deleted_is_found_again(out, whole):
    """Nothing but what a run writes is there, and every shard knows its box and its study."""
    kept = {path: path.stat().st_mtime_ns for path in shards(out)}
    for path in out.glob("manifest*"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="holds no dataset"):
        ens.open_dataset(out)
    assert_identical(ens.run(tiny(), out=out), whole)
    assert {path: path.stat().st_mtime_ns for path in shards(out)} == kept


@pytest.mark.parametrize("field", [{"overwrite": True}, {"boxes": []}])
def test_what_is_of_a_directory_is_refused_without_one(field):
    with pytest.raises(StudyError, match=f"{next(iter(field))}: got a value without `out`"):
        ens.run(tiny(), **field)


# -- links, pipes, values elsewhere -------------------------------------------------------------------


def test_a_lock_that_is_a_link_is_not_followed(out, tmp_path):
    (tmp_path / "precious").write_text("precious")
    (out / "lock").unlink()
    (out / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(StoreError, match=r"lock: cannot be opened: .*remove it"):
        ens.run(tiny(), out=out)
    (out / "lock").unlink()
    os.mkfifo(out / "lock")
    with pytest.raises(StoreError, match=r"lock: is a link.*remove it"):
        ens.run(tiny(), out=out)
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("folder", ["shards", "partial"])
def test_folders_that_are_links_are_refused(folder, out, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (out / folder).rename(elsewhere)
    (elsewhere / f"flights-{64 * '0'}.nc").write_text("mine")
    (out / folder).symlink_to(elsewhere)
    for act in (
        lambda: ens.open_dataset(out),
        lambda: status(out),
        lambda: ens.run(tiny(), out=out),
        lambda: ens.run(tiny(), out=out, overwrite=True),
    ):
        with pytest.raises(StoreError, match=f"{folder}: is no folder of its own"):
            act()
    assert (elsewhere / f"flights-{64 * '0'}.nc").read_text() == "mine"


def test_shards_that_are_links_pipes_or_folders_are_set_aside(out, whole, tmp_path):
    """None of them is opened: a pipe would wait for ever."""
    link, pipe, folder = shards(out)
    copied = shutil.copy(link, tmp_path)
    for path in (link, pipe, folder):
        path.unlink()
    link.symlink_to(copied)
    os.mkfifo(pipe)
    folder.mkdir()
    os.mkfifo(out / "partial" / f"flights-{64 * '0'}.nc")
    (out / "progress.json").unlink()
    os.mkfifo(out / "progress.json")
    now = status(out)
    assert len(now.found.bad) == 4 and not now.found.stored
    with pytest.raises(StoreError, match="is a link, a folder, a pipe or a device"):
        ens.open_dataset(out)["loss"].load()
    with pytest.raises(SchemaError, match="is a link, a folder, a pipe or a device"):
        ens.open_dataset(pipe)
    said = []
    assert_identical(ens.run(tiny(), out=out, say=said.append), whole)
    assert sum("set aside" in line for line in said) == 4
    assert Path(copied).exists() and (out / "shards" / f"{link.name}.damaged").is_symlink()


def renamed_to_its_checksum(path: Path) -> Path:
    return path.rename(path.with_name(f"{path.name.split('-')[0]}-{digest(path)}.nc"))


def external_storage(file: h5py.File, folder: Path) -> None:
    values = file["loss"][...]
    (folder / "elsewhere").write_bytes(values.tobytes())
    attributes = dict(file["loss"].attrs)
    del file["loss"]
    where = [(str(folder / "elsewhere").encode(), 0, values.nbytes)]
    new = file.create_dataset("loss", values.shape, values.dtype, external=where)
    new.attrs.update({k: v for k, v in attributes.items() if k in ("units", "long_name")})


def external_link(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "elsewhere.nc", "w") as other:
        other["loss"] = file["loss"][...]
    del file["loss"]
    file["loss"] = h5py.ExternalLink(str(folder / "elsewhere.nc"), "loss")


def soft_link(file: h5py.File, folder: Path) -> None:
    del file["loss"]
    file["loss"] = h5py.SoftLink("/max_angle")


def virtual(file: h5py.File, folder: Path) -> None:
    values = file["loss"][...]
    with h5py.File(folder / "elsewhere.nc", "w") as other:
        other["loss"] = values
    del file["loss"]
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    layout[...] = h5py.VirtualSource(folder / "elsewhere.nc", "loss", values.shape)
    file.create_virtual_dataset("loss", layout)


@pytest.mark.parametrize("attack", [external_storage, external_link, soft_link, virtual])
def test_values_that_lie_elsewhere_are_refused(attack, out, whole, tmp_path):
    """The checksum in its name is right, and says nothing of another file."""
    victim = shards(out)[1]
    refuse_references(victim)
    with h5py.File(victim, "r+") as file:
        attack(file, tmp_path)
    victim = renamed_to_its_checksum(victim)
    with pytest.raises(StoreError, match="the values of loss are not in this file"):
        ens.open_dataset(out)["loss"].load()
    with pytest.raises(SchemaError, match="the values of loss are not in this file"):
        ens.open_dataset(victim)
    assert "are not in this file" in status(out).found.bad[victim]
    assert_identical(ens.run(tiny(), out=out), whole)


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
