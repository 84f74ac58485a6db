"""Identity: a study is the text that was stored, without its words; directories of earlier versions go on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import ensemble as ens
from ensemble.study.identity import identity, identity_before, is_identity
from ensemble.launch import status
from ensemble.store import RunDirectory, StoreError
from ensemble.store import directory as directory_module
from ensemble.study import StudyError
from tests.helpers import assert_identical, shards
from tests.studies import small, tiny

EARLIER = Path("tests/data/earlier")
"""A directory that version 0.1.0 with layout 1 wrote, whose second shard of three was removed."""


@pytest.fixture(autouse=True)
def few_members_a_shard(monkeypatch):
    monkeypatch.setattr(directory_module, "_MOST_MEMBERS", 2)


def test_words_are_no_part_of_a_study_and_all_else_is():
    study = tiny()
    assert study.hash == tiny(name="other", question="why?").hash == identity(study.text)
    assert study.hash != tiny(root_seed=1).hash
    # Members are numbered by the order of axes and of their values.
    two = {"weight_decay": [0.0, 0.05], "separation": [0.4, 0.8]}
    assert tiny(axes=two).hash != tiny(axes=dict(reversed(two.items()))).hash
    assert tiny(axes=two).hash != tiny(axes=two | {"separation": [0.8, 0.4]}).hash
    # The order of other fields is nobody's concern.
    shuffled = json.dumps(dict(reversed(json.loads(study.text).items())))
    assert ens.Study.from_json(shuffled).hash == study.hash
    assert is_identity(study.text, identity_before(study.text))


def test_a_stored_text_stays_what_it_is_though_fields_with_defaults_are_added():
    """As read by a version that added `active_threshold`: the text does not say it, and is not made to."""
    table = tiny().resolved()
    del table["active_threshold"]
    text = json.dumps(table)
    stored = ens.Study.from_json(text)
    assert stored.text == text and stored.hash == identity(text) != tiny().hash
    assert stored.active_threshold == tiny().active_threshold
    assert stored.replace(seeds=3).seeds == 3 and "active_threshold" in stored.replace(seeds=3).text


@pytest.mark.parametrize("text", ["{", "[]", "3", "[" * 100_000], ids=lambda text: text[:2])
def test_a_text_that_is_no_study_is_refused(text):
    with pytest.raises(StudyError, match="study: "):
        ens.Study.from_json(text)


def earlier(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EARLIER, tmp_path / "run"))


def test_a_directory_of_an_earlier_version_opens_and_goes_on(tmp_path):
    out = earlier(tmp_path)
    study = ens.Study.from_toml(EARLIER.with_suffix(".toml"))
    before = {path: path.read_bytes() for path in shards(out)}
    assert status(out).counts.sum(axis=0).tolist() == [2, 0, 0, 4, 0]
    with ens.open_dataset(out) as ds:
        assert ds["loss"].isnull().sum() == 2 and ds.attrs["complete"] == 0
    for path in before:
        assert ens.open_dataset(path)["loss"].notnull().all()
    said = []
    ds = ens.run(study, out=out, say=said.append)
    assert any("2 of 3 shards verified (4 members)" in line for line in said)
    assert {path: path.read_bytes() for path in before} == before, "what was stored is not computed again"
    whole = ens.run(study)
    for name in ("loss", "max_angle", "loss_history"):  # another processor may round draws in another way
        np.testing.assert_allclose(ds[name].values, whole[name].values, rtol=1e-9, atol=1e-12, err_msg=name)
    # It has become a directory of this version, which is extended like any other, in any order.
    more = study.replace(axes={"weight_decay": [0.2, 0.1, 0.0, 0.05]}, seeds=3, question="and more?")
    assert_identical(ens.run(more, out=out).sel(weight_decay=[0.0, 0.1], seed=[0, 1]), ds.sel(weight_decay=[0.0, 0.1]))
    assert {path: path.read_bytes() for path in before} == before


def test_a_directory_whose_text_lacks_a_later_field_goes_on(tmp_path, monkeypatch):
    """Its shards and manifest have a study without `active_threshold`, which the study file of today has by default."""
    table = tiny().resolved()
    del table["active_threshold"]
    old = ens.Study.from_json(json.dumps(table))
    whole = ens.run(old, out=tmp_path)
    shards(tmp_path)[1].unlink()
    kept = {path: path.stat().st_mtime_ns for path in shards(tmp_path)}
    said = []
    again = ens.run(tiny(), out=tmp_path, say=said.append)
    assert any("2 of 3 shards verified" in line for line in said)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert_identical(again, whole)
    assert again.attrs["study_hash"] == old.hash and "active_threshold" not in again.attrs["study"]
    assert_identical(ens.run(tiny(seeds=3), out=tmp_path), ens.run(tiny(seeds=3)))


def test_other_words_go_on_with_the_same_run(tmp_path):
    ds = ens.run(tiny(), out=tmp_path)
    kept = {path: path.stat().st_mtime_ns for path in shards(tmp_path)}
    said = []
    again = ens.run(tiny(name="better", question="which?"), out=tmp_path, say=said.append)
    assert not any("extends" in line for line in said)
    assert {path: path.stat().st_mtime_ns for path in shards(tmp_path)} == kept
    assert_identical(again, ds)
    assert again.attrs["question"] == "which?" and "better" in again.attrs["title"]
    assert RunDirectory.open(tmp_path).study.name == "better"
    with pytest.raises(StudyError, match=r"\n  root_seed: 0 there, 1 here\ntake") as error:
        ens.run(tiny(root_seed=1), out=tmp_path)
    assert "name" not in str(error.value)


def test_axes_in_another_order_are_the_same_run(tmp_path):
    axes = {"weight_decay": [0.0, 0.05], "separation": [0.4, 0.8]}
    whole = ens.run(tiny(axes=axes), out=tmp_path)
    kept = shards(tmp_path)
    again = ens.run(tiny(axes=dict(reversed(axes.items()))), out=tmp_path)
    assert shards(tmp_path) == kept
    assert_identical(again, whole)


def test_a_shard_of_the_axes_in_another_order_is_not_taken(tmp_path):
    """Version 0.1.0 gave both studies one hash, and their boxes have the same text."""
    axes = {"weight_decay": [0.0, 0.05], "separation": [0.4, 0.8]}
    ens.run(tiny(axes=axes), out=tmp_path / "one")
    ens.run(tiny(axes=dict(reversed(axes.items()))), out=tmp_path / "two")
    victim, stranger = shards(tmp_path / "one")[1], shards(tmp_path / "two")[1]
    victim.unlink()
    shutil.copy(stranger, victim.parent)
    with pytest.raises(StoreError, match=r"000001.*belongs to another study.*run the study again"):
        ens.open_dataset(tmp_path / "one")["loss"].load()


def test_the_schema_takes_both_identities(tmp_path):
    ds = ens.run(small(axes={}, seeds=1, records=0))
    for version in (ds.attrs["study_hash"], identity_before(ds.attrs["study"])):
        ds.assign_attrs(study_hash=version).to_netcdf(tmp_path / "one.nc", encoding={"stage": {"dtype": "S1"}})
        ens.open_dataset(tmp_path / "one.nc").close()
