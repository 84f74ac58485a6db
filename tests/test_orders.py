"""Extensions: the order of axis values never matters, whatever was interrupted and extended before."""

import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest

import ensemble as ens
from analysis.boundaries.refine import run_batches as refine
from analysis.boundaries.refinement import Addition
from ensemble.launch import status
from ensemble.store import Box
from ensemble.store import directory as directory_module
from ensemble.store.boxes import regions_beyond
from tests.helpers import assert_identical, shards
from tests.studies import heavy_tailed, tiny

DECAYS = [0.0, 0.01, 0.05, 0.1, 0.2, 0.3]
PROTOCOL = {"kind": "fixed_decay", "steps": 400}


@pytest.fixture(autouse=True)
def few_members_a_shard(monkeypatch):
    monkeypatch.setattr(directory_module, "_MOST_MEMBERS", 3)


class Stop:
    """A progress callback that sends this process SIGINT once, as Ctrl-C does."""

    def __init__(self, after: int):
        self.after = after

    def __call__(self, report):
        self.after -= 1
        if self.after == 0:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_moved_box_has_increasing_indices_and_knows_its_order():
    old, new = tiny(axes={"weight_decay": [0.0, 0.05, 0.1]}), tiny(axes={"weight_decay": [0.1, 0.2, 0.0, 0.05]})
    box = Box.whole(old)
    moved = box.moved(old, new)
    assert [i.tolist() for i in moved.indices] == [[0, 2, 3], [0, 1]]
    order = box.order(old, new)
    assert order is not None and [o.tolist() for o in order] == [[2, 0, 1], [0, 1]]
    assert box.order(old, old) is None
    labels = np.array(new.axes["weight_decay"].values)[moved.indices[0]]
    np.testing.assert_array_equal(np.array(old.axes["weight_decay"].values)[order[0]], labels)
    members = np.concatenate([moved.members(new), *(Box(r).members(new) for r in regions_beyond(old, new))])
    np.testing.assert_array_equal(np.sort(members), np.arange(new.members))


@pytest.mark.parametrize("most", [2, 6])
def test_a_finished_run_in_another_order_is_the_same_run(most, tmp_path, monkeypatch):
    """It said: 12 members not started, 6 ran."""
    monkeypatch.setattr(directory_module, "_MOST_MEMBERS", most)
    ens.run(tiny(), out=tmp_path)
    kept = {path: path.stat().st_mtime_ns for path in shards(tmp_path)}
    for values in ([0.1, 0.05, 0.0], [0.05, 0.1, 0.0], [0.0, 0.05, 0.1]):
        other = tiny(axes={"weight_decay": values})
        ds = ens.run(other, out=tmp_path)
        assert {path: path.stat().st_mtime_ns for path in shards(tmp_path)} == kept
        assert ds.attrs["complete"] == 1 and status(tmp_path).counts[:, 3].tolist() == [2, 2, 2]
        assert_identical(ds, ens.run(other))
    ens.collect(tmp_path, tmp_path / "one.nc")
    with ens.open_dataset(tmp_path / "one.nc") as one:
        assert_identical(one, ds)


def test_an_interrupted_run_goes_on_in_another_order(tmp_path, monkeypatch):
    """Members that were finished in a box that is not full are taken over to their own labels."""
    monkeypatch.setattr(directory_module, "_MOST_MEMBERS", 24)
    axes = {"step_size": [0.05, 0.2, 0.1], "width": {"field": "student.neurons", "values": [4, 5]}}
    study = heavy_tailed(seeds=4, axes=axes)
    with pytest.raises(KeyboardInterrupt):
        ens.run(study, out=tmp_path, on_progress=Stop(25))
    with ens.open_dataset(tmp_path) as partial:
        assert 0 < int((partial["status"] == 2).sum()) < study.members, "interrupt at another moment"
    axes = {"step_size": [0.2, 0.1, 0.05], "width": {"field": "student.neurons", "values": [5, 4]}}
    other = heavy_tailed(seeds=4, axes=axes)
    with pytest.raises(KeyboardInterrupt):
        ens.run(other, out=tmp_path, on_progress=Stop(5))
    with ens.open_dataset(tmp_path) as again:  # before and after what is kept is written anew
        done = (partial["status"] == 2).sel(step_size=again["step_size"], width=again["width"]).values
        assert (again["status"].values[done] == 2).all()
    assert_identical(ens.run(other, out=tmp_path), ens.run(other))


def live(chance: random.Random, path: Path, rounds: int) -> int:
    """A directory's life, drawn at random: at its end every member is that of an undisturbed run.

    Returns how often it was interrupted.
    """
    interrupted, seeds = 0, 1
    values = {"weight_decay": chance.sample(DECAYS, 2), "separation": chance.sample([0.4, 0.8, 1.2], 1)}
    for _ in range(rounds):
        study = tiny(seeds=seeds, axes=values, protocol=PROTOCOL)
        try:
            ens.run(study, out=path, on_progress=Stop(chance.randint(1, 3)))
        except KeyboardInterrupt:
            interrupted += 1
            ds = ens.open_dataset(path)
            assert set(ds["weight_decay"].values) == set(values["weight_decay"])
            assert int((ds["status"] >= 2).sum()) == status(path).counts[:, 2:].sum()
        for name, known in values.items():
            new = [v for v in {"weight_decay": DECAYS, "separation": [0.4, 0.8, 1.2]}[name] if v not in known]
            known = known + chance.sample(new, min(len(new), chance.randint(0, 1)))
            values = values | {name: chance.sample(known, len(known))}
        if chance.random() < 0.3:
            values = dict(reversed(values.items()))
        seeds += chance.randint(0, 1)
    study = tiny(seeds=seeds, axes=values, protocol=PROTOCOL)
    found = ens.run(study, out=path)
    assert found.attrs["complete"] == 1
    whole = ens.run(study)
    assert_identical(found, whole.transpose(*found["loss_history"].dims, ...))
    assert sum(int(ens.open_dataset(p)["status"].size) for p in shards(path)) == study.members
    return interrupted


def test_random_orders_interruptions_and_extensions(tmp_path, monkeypatch):
    """tests/validation/test_kill.py lives many such lives."""
    chance = random.Random(1)
    monkeypatch.setattr(directory_module, "_MOST_MEMBERS", 3)
    assert sum(live(chance, tmp_path / str(i), 3) for i in range(2)) >= 3


def test_a_refinement_along_a_descending_axis(tmp_path):
    """Of a directory that was run along it: a refinement's own values increase, those that are there do not."""
    study = tiny(records=0, axes={"weight_decay": [0.05, 0.0], "separation": [1.2, 0.8, 0.4]})
    ens.run(study, out=tmp_path)
    first = [Addition(x, y, range(2)) for x in (0.05, 0.0) for y in (1.2, 0.8, 0.4)]
    more = [[Addition(0.0, 0.6, range(2))], [Addition(0.05, 1.0, range(1, 3))], []]
    ds = refine(study, tmp_path, "weight_decay", "separation", budget=100, first=first, propose=lambda *_: more.pop(0))
    assert int((ds["status"] >= 2).sum()) == 16
    whole = ens.run(study.replace(seeds=3, axes={"weight_decay": [0.05, 0.0], "separation": [0.4, 0.6, 0.8, 1.0, 1.2]}))
    done = (ds["status"] >= 2).values
    np.testing.assert_array_equal(ds["loss"].values[done], whole["loss"].values[done])


def test_members_in_flight_that_are_newer_than_their_box_begin_anew(tmp_path, monkeypatch):
    """As where an older copy of a box is brought back: going on would leave its records out."""
    monkeypatch.setattr(directory_module, "_MOST_MEMBERS", 48)
    study = heavy_tailed(axes={"step_size": [0.05, 0.2]}, records=40, probes=["loss", "active"])
    with pytest.raises(KeyboardInterrupt):
        ens.run(study, out=tmp_path, on_progress=Stop(8))
    (box,) = (tmp_path / "partial").glob("000000*")
    older = box.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        ens.run(study, out=tmp_path, on_progress=Stop(8))
    (newer,) = (tmp_path / "partial").glob("000000*")
    assert newer != box
    newer.unlink()
    box.write_bytes(older)
    assert_identical(ens.run(study, out=tmp_path), ens.run(study))
