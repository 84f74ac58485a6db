"""More steps for the members of a finished run: the bits of a run at once, and only the steps that are new."""

import os
import signal

import numpy as np
import pytest

import ensemble as ens
from ensemble.store import RunDirectory
from ensemble.store import directory as directory_module
from ensemble.study import longer
from tests.helpers import assert_identical, called
from tests.studies import heavy_tailed, tiny


def halves(**changes) -> ens.Study:
    """Deep students on batches of samples, whose second stage halves λ."""
    common = {
        "weight_decay": 0.02,
        "step_size": 0.1,
    }
    local = {"name": "local", "steps": 24, "weight_decay_schedule": {"kind": "halving", "every": 20}}
    fields = {
        "teacher": tiny().teacher,
        "student": {
            "kind": "deep",
            "depth": 3,
            "width": 4,
            "activation": "relu",
            "start": {"kind": "gaussian", "gain": 1.0},
        },
        "data": {"samples": 24, "test_samples": 24, "batch": 8},
        "protocol": {"kind": "stages", "stages": [{"name": "first", "steps": 9, **common}, {**local, **common}]},
    }
    fields = {name: value for name, value in (fields | changes).items() if value is not None}
    return ens.Study(name="halves", seeds=3, records=5, store_weights=True, probes=("loss",), **fields)


def run_at_once(ds) -> ens.Study:
    """The dataset's study, run from the start."""
    return ens.run(ens.Study.from_json(ds.attrs["study"]))


def test_members_go_on_where_they_ended(tmp_path, monkeypatch):
    """Some converged before, some do now, some never; in boxes, with an interruption, and once more after that."""
    monkeypatch.setattr(directory_module, "_MOST_MEMBERS", 3)
    study = heavy_tailed(
        seeds=8, probes=["loss"], axes={"step_size": [0.05, 0.2]}, protocol=heavy_tailed().protocol | {"steps": 760}
    )
    before = ens.run(study, tmp_path / "one")
    assert set(np.unique(before["status"])) == {ens.STATUS["converged"], ens.STATUS["max_steps"]}

    calls = 0

    def stop(_):
        nonlocal calls
        calls += 1
        if calls == 4:
            os.kill(os.getpid(), signal.SIGINT)

    said = []
    with pytest.raises(KeyboardInterrupt):
        ens.lengthen(tmp_path / "one", 350, tmp_path / "two", say=said.append, on_progress=stop)
    capped = int((before["status"] == ens.STATUS["max_steps"]).sum())
    assert f"{tmp_path / 'two'}: {capped} members of {tmp_path / 'one'} go on from where they ended" in said
    assert ens.status(tmp_path / "two").counts[:, ens.STATUS["running"]].sum() > 0
    ds = ens.lengthen(tmp_path / "one", 350, tmp_path / "two")
    assert_identical(ds, run_at_once(ds))
    assert set(np.unique(ds["status"])) == set(np.unique(before["status"]))
    with ens.lengthen(tmp_path / "two", 90, tmp_path / "three") as last:
        assert_identical(last, run_at_once(last))


def test_no_step_is_taken_twice(tmp_path):
    """Boxes that are not begun yet keep their members' ends, whatever is kept of others meanwhile."""
    protocol = heavy_tailed().protocol | {"steps": 100}
    before = ens.run(heavy_tailed(seeds=6, probes=["loss"], protocol=protocol), tmp_path / "one")
    ds = ens.lengthen(tmp_path / "one", 50, tmp_path / "two", keep_every=0.0)
    own = ds.attrs["member_steps"] - before.attrs["member_steps"]
    assert own == int((ds["stop_step"] - before["stop_step"]).sum()) > 0
    assert ds.attrs["engine"] == before.attrs["engine"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"student": heavy_tailed().student, "data": None}, id="two layers, population"),
        pytest.param({}, id="deep, batches", marks=pytest.mark.long),
    ],
)
def test_members_of_several_stages_go_on_in_the_last_one(changes, tmp_path):
    ens.run(halves(**changes), tmp_path / "one").close()
    ds = ens.lengthen(tmp_path / "one", 30, tmp_path / "two")
    assert ds["stage_end_step"].values.tolist() == [[9, 63]] * 3
    assert ds.attrs["member_steps"] == 3 * 63
    assert_identical(ds, run_at_once(ds))


def test_the_command(tmp_path):
    called("ensemble", "run", _file(tmp_path), "--out", tmp_path / "one")
    done = called("ensemble", "run", tmp_path / "one", "--more-steps", 20, "--out", tmp_path / "two")
    assert "6 members of" in done.stdout and "6 ran all their steps" in done.stdout
    again = called("ensemble", "run", tmp_path / "one", "--more-steps", 20, "--out", tmp_path / "two")
    assert "nothing was run" in again.stdout
    for wrong, words in (
        (["--more-steps", 15], "halving_decay is of whole epochs; give a multiple of epoch_steps = 10"),
        (["--more-steps", 20, "--seeds", 3], "--seeds: got 3 beside more steps"),
        (["--more-steps", 40], "differs in"),
    ):
        refused = called("ensemble", "run", tmp_path / "one", "--out", tmp_path / "two", *wrong, check=False)
        assert refused.returncode == 2 and words in " ".join(refused.stderr.split())


def _file(folder):
    path = folder / "study.toml"
    path.write_text(tiny(store_weights=True).to_toml())
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"store_weights": False}, "weights were not stored"),
        ({"protocol": {"kind": "plain", "steps": 20, "update": "adam"}}, "the update 'adam' goes by a memory"),
    ],
)
def test_members_whose_weights_are_not_all_are_refused(changes, words, tmp_path):
    study = tiny(axes={}, seeds=1, store_weights=True).replace(**changes)
    (tmp_path / "one").mkdir()
    RunDirectory.make(tmp_path / "one", study)
    with pytest.raises(ens.StudyError, match=f"{words}.*run the study with 40 steps into another directory"):
        ens.lengthen(tmp_path / "one", 20, tmp_path / "two")
    assert not (tmp_path / "two").exists()


def test_a_directory_that_cannot_go_on_is_refused(made, tmp_path):
    with pytest.raises(ens.StudyError, match=r"study: .* is no run directory"):
        ens.lengthen(tmp_path / "none", 20, tmp_path / "two")
    with pytest.raises(ens.StudyError, match="which stays as it is"):
        ens.lengthen(made, 20, made)
    (tmp_path / "part").mkdir()
    RunDirectory.make(tmp_path / "part", tiny(store_weights=True))
    with pytest.raises(ens.StudyError, match="is not finished: 1 of its 1 shards are missing"):
        ens.lengthen(tmp_path / "part", 20, tmp_path / "two")


@pytest.mark.parametrize(
    ("study", "words"),
    [
        (tiny(axes={"epochs": [2, 3]}), "the axis 'epochs' sets protocol.epochs"),
        (tiny(axes={}, protocol={"kind": "plain", "update": "flow", "time": 2.0}), "ends at a time, protocol.time = 2"),
        (
            tiny(protocol={"kind": "stages", "stages": [{"name": "a", "steps": 3}, {"name": "b", "update": "balance"}]},
                 axes={}),
            "the last stage of the protocol takes no step",
        ),
        (tiny(max_steps=15, axes={"epochs": [1, 2]}), "sets protocol.epochs"),
    ],
)  # fmt: skip
def test_steps_that_are_no_number_to_raise_are_refused(study, words):
    with pytest.raises(ens.StudyError, match=words):
        longer(study, 20)
    with pytest.raises(ens.StudyError, match="more_steps: got 0; give a whole number of steps, at least 1"):
        longer(study, 0)


def test_what_is_raised_and_which_records_go_on():
    study = longer(tiny(max_steps=15), 5)
    assert study.max_steps == 20 and study.protocol["epochs"] == 2  # within the protocol's own steps
    study = longer(tiny(max_steps=15), 30)
    assert study.max_steps == 45 and study.protocol["epochs"] == 5
    plain = tiny(axes={}, protocol={"kind": "plain", "steps": 1000}, records=7)
    assert plain.record_steps == (0, 1, 3, 10, 32, 100, 316, 1000)
    assert longer(plain, 15_000).record_steps == (*plain.record_steps, 4000, 16_000)  # 3.16 twice
    assert longer(plain.replace(records=0), 50).record_steps == ()
    assert longer(plain.replace(records=(0, 10, 2000)), 5000).record_steps == (0, 10, 2000)  # as they were asked for
    assert longer(longer(plain, 3000), 12_000).record_steps[-2:] == (4000, 16_000)
