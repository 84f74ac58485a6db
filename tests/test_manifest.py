"""The manifest and what it knows of every shard: damage is refused or mended, and never becomes a wrong value."""

import contextlib
import json
import os
import random
import shutil
from pathlib import Path

import pytest

import ensemble as ens
from ensemble.launch import status
from ensemble.store import RunDirectory, StoreError
from ensemble.store import directory as directory_module
from ensemble.store.manifest import COPY, MANIFEST, checksum
from tests.helpers import assert_identical, shards
from tests.studies import heavy_tailed, tiny
from tests.test_orders import Stop

pytestmark = pytest.mark.usefixtures("two_members_a_shard")


# -- the manifest ------------------------------------------------------------------------------------


def changed(path: Path, **entries) -> None:
    """A manifest that says something else under its old checksum."""
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


BROKEN = {
    "no JSON": lambda path: path.write_text("{"),
    "empty": lambda path: path.write_text(""),
    "a number": lambda path: path.write_text("3"),
    "binary": lambda path: path.write_bytes(bytes(range(256))),
    "deep": lambda path: path.write_text("[" * 100_000),
    "no generations": lambda path: changed(path, generations=[]),
    "generations of a wrong type": lambda path: changed(path, generations={"study": 1}),
    "a version of a wrong type": lambda path: changed(path, layout_version="two"),
    "sessions of a wrong type": lambda path: changed(path, sessions=[{"wall_time": "long"}]),
    "no checksum": lambda path: changed(path, checksum=None),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a link": lambda path: (path.rename(path.parent / "elsewhere"), path.symlink_to(path.parent / "elsewhere")),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_damaged_manifest_is_mended_from_its_copy(broken, out, whole):
    BROKEN[broken](out / MANIFEST)
    assert_identical(ens.open_dataset(out), whole)
    now = status(out)
    assert now.state == "complete"
    assert MANIFEST in now.found.bad[out / MANIFEST] and "its copy is taken" in now.found.bad[out / MANIFEST]
    said = []
    ens.run(tiny(), out=out, say=said.append)
    assert any("its copy is taken" in line for line in said)
    assert json.loads((out / MANIFEST).read_text()) == json.loads((out / COPY).read_text())
    assert (out / f"{MANIFEST}.damaged").exists() is (broken != "gone"), "set aside, not deleted"
    assert RunDirectory.open(out).damaged_manifest is None


@pytest.mark.parametrize("broken", [name for name in BROKEN if name != "gone"])
def test_without_a_copy_it_is_refused_with_the_way_out(broken, out):
    for name in (MANIFEST, COPY):
        BROKEN[broken](out / name)
    for act in (
        lambda: ens.open_dataset(out),
        lambda: status(out),
        lambda: ens.run(tiny(), out=out),
        lambda: ens.collect(out, out / "one.nc"),
        lambda: ens.run(tiny(), out=out, overwrite=True),  # nobody knows what may be deleted
    ):
        with pytest.raises(StoreError, match=r"manifest.json: cannot be read: .*bring back a copy"):
            act()
    assert len(shards(out)) == 3


@pytest.mark.parametrize("broken", BROKEN)
def test_a_damaged_copy_is_written_anew(broken, out, whole):
    BROKEN[broken](out / COPY)
    assert_identical(ens.open_dataset(out), whole)
    assert_identical(ens.run(tiny(), out=out), whole)
    assert (out / COPY).read_text() == (out / MANIFEST).read_text()


def test_every_bit_of_the_manifest_counts(out, whole):
    """300 flips with a fixed seed: the right labels, or a refusal; never another label, count or box."""
    (out / COPY).unlink()
    good = (out / MANIFEST).read_bytes()
    right = RunDirectory.open(out)
    expected = right.study.text, [box.runs() for box in right.boxes.values()], right.sessions
    chance = random.Random(0)
    refused = 0
    for _ in range(300):
        data = bytearray(good)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        (out / MANIFEST).write_bytes(data)
        try:
            found = RunDirectory.open(out)
        except StoreError:
            refused += 1
        else:
            assert (found.study.text, [b.runs() for b in found.boxes.values()], found.sessions) == expected
    assert refused > 250


def test_a_manifest_without_a_checksum_is_checked_as_far_as_it_goes(out):
    """Version 1 had none: what contradicts itself or the shards is found all the same."""
    manifest = json.loads((out / MANIFEST).read_text())
    (out / COPY).unlink()
    entry = {k: v for k, v in manifest["generations"][0].items() if k != "earlier_hashes"}
    sessions = manifest["sessions"]

    def write(**changes) -> None:
        old = {"layout_version": 1, "generations": [entry | changes], "sessions": sessions}
        (out / MANIFEST).write_text(json.dumps(old))

    write()
    assert RunDirectory.open(out).boxes.keys() == {0, 1, 2}
    first, second, third = entry["boxes"]
    for boxes in (
        [first, first, third],
        [first, second, [[[2, 3]]]],
        [first, second, [[[2, 9]], [[0, 2]]]],
        [first, second, [[[3, 2]], [[0, 2]]]],
        [first, second, [[[2, 3]], [[-1, 2]]]],
        [first, second, [[], [[0, 2]]]],
        [first, second, [[[2]], [[0, 2]]]],
        [first, second, "all"],
    ):
        write(boxes=boxes)
        with pytest.raises(StoreError, match=r"manifest.json: cannot be (read|used).*bring back a copy"):
            RunDirectory.open(out)
    write(study=entry["study"] | {"seeds": 7})
    with pytest.raises(StoreError, match="study_hash: does not belong to the stored study"):
        RunDirectory.open(out)
    # Two boxes exchanged, or one left out: the shards know better.
    for boxes in ([second, first, third], [first, third]):
        write(boxes=boxes)
        with pytest.raises(StoreError, match=r"its box is not that of shard .*run the study again"):
            ens.open_dataset(out)["loss"].load()
        assert any("its box is not that of shard" in reason for reason in status(out).found.bad.values())


def test_an_extension_that_was_cut_short_between_the_two_files_is_no_harm(out, whole):
    before = (out / MANIFEST).read_bytes()
    more = tiny(seeds=3)
    RunDirectory.open(out).extended(more)
    (out / MANIFEST).write_bytes(before)
    assert_identical(ens.open_dataset(out), whole)
    assert_identical(ens.run(more, out=out), ens.run(more))


def test_the_checksum_is_of_all_that_it_says(out):
    manifest = json.loads((out / MANIFEST).read_text())
    assert manifest["checksum"] == checksum(manifest)
    changed(out / MANIFEST, sessions=[])
    assert RunDirectory.open(out).sessions != []


# -- shards ------------------------------------------------------------------------------------------


def exchange_numbers(out: Path) -> None:
    first, second, _ = shards(out)
    names = first.name.replace("000000", "000001"), second.name.replace("000001", "000000")
    first.rename(out / "shards" / names[0])
    second.rename(out / "shards" / names[1])


def copy_under_another_number(out: Path) -> None:
    first, second, _ = shards(out)
    second.unlink()
    shutil.copy(first, first.with_name(first.name.replace("000000", "000001")))


def take_another_root_seed(out: Path) -> None:
    ens.run(tiny(root_seed=1), out=out.parent / "other")
    shards(out)[1].unlink()
    shutil.copy(shards(out.parent / "other")[1], out / "shards")


def take_another_grid(out: Path) -> None:
    """A shard of the right number and of a study with the same members elsewhere."""
    ens.run(tiny(axes={"weight_decay": [0.1, 0.0, 0.05]}), out=out.parent / "other")
    shards(out)[1].unlink()
    shutil.copy(shards(out.parent / "other")[1], out / "shards")


@pytest.mark.parametrize(
    "damage", [exchange_numbers, copy_under_another_number, take_another_root_seed, take_another_grid]
)
def test_values_of_other_members_are_never_read(damage, out, whole):
    damage(out)
    with pytest.raises(StoreError, match=r"is damaged: .*run the study again"):
        ens.open_dataset(out)["loss"].load()
    with pytest.raises(StoreError, match=r"is damaged"):
        ens.collect(out, out / "one.nc")
    assert not (out / "one.nc").exists()
    assert status(out).found.bad and status(out).state != "complete"
    assert_identical(ens.run(tiny(), out=out), whole)


@pytest.mark.parametrize("place", ["shards", "partial"])
def test_full_and_partial_files_are_not_exchanged(place, tmp_path, monkeypatch):
    """A partial file among the shards, or a shard among the partial files, is set aside and never deleted."""
    monkeypatch.setattr(directory_module, "_MOST_MEMBERS", 12)
    study = heavy_tailed(seeds=12, axes={"step_size": [0.05, 0.2]}, probes=["loss"], store_weights=False)
    with pytest.raises(KeyboardInterrupt):
        ens.run(study, out=tmp_path, on_progress=Stop(20))
    if place == "partial":
        ens.run(study, out=tmp_path)
        victim = shards(tmp_path)[0]
    else:
        (victim,) = [p for p in (tmp_path / "partial").iterdir() if p.name.startswith("000000")]
    moved = tmp_path / place / victim.name
    victim.rename(moved)
    with pytest.raises(StoreError, match="no shard") if place == "shards" else contextlib.nullcontext():
        assert ens.open_dataset(tmp_path)["loss"].load().isnull().any()
    assert status(tmp_path).state != "complete"
    said = []
    ds = ens.run(study, out=tmp_path, say=said.append)
    assert any("its box is" in line and "set aside" in line for line in said)
    assert moved.with_name(f"{moved.name}.damaged").exists()
    assert_identical(ds, ens.run(study))
