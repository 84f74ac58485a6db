"""Folders, links and files that are not what a run expects: refused or set aside, never followed and never deleted."""

import os
import shutil
from pathlib import Path

import h5py
import pytest
import xarray as xr

import ensemble as ens
from ensemble.launch import status
from ensemble.store import SchemaError, StoreError
from ensemble.store.files import digest, refuse_references
from ensemble.study import StudyError
from tests.helpers import assert_identical, shards
from tests.studies import tiny

pytestmark = pytest.mark.usefixtures("two_members_a_shard")


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


def test_a_file_called_as_that_of_the_earliest_layout_is_the_users(made, out, tmp_path):
    """Only a whole dataset of schema 1 is what `--overwrite` may replace, and only where no manifest is beside it."""
    for folder in (out, tmp_path / "folder"):
        folder.mkdir(exist_ok=True)
        ens.collect(made, folder / "dataset.nc")
    ens.run(tiny(root_seed=1), out=out, overwrite=True)
    assert (out / "dataset.nc").exists()
    with pytest.raises(StudyError, match="is no run directory and holds other files"):
        ens.run(tiny(), out=tmp_path / "folder", overwrite=True)
    with xr.open_dataset(tmp_path / "folder" / "dataset.nc") as ds:
        old = ds.load().assign_attrs(schema_version=1)
    old.to_netcdf(tmp_path / "folder" / "dataset.nc", encoding={"stage": {"dtype": "S1"}})
    with pytest.raises(StudyError, match="replace it with overwrite=True"):
        ens.run(tiny(), out=tmp_path / "folder")
    ens.run(tiny(), out=tmp_path / "folder", overwrite=True)
    assert not (tmp_path / "folder" / "dataset.nc").exists()


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
