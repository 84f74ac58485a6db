"""Datasets: the schema, files, interruption and going on."""

import os
import signal
import subprocess

import netCDF4
import numpy as np
import pytest
import xarray as xr

import ensemble as ens
from ensemble.store import check
from ensemble.study import StudyError
from tests.studies import PROBES, heavy_tailed, small


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return ens.run(small(probes=PROBES))


def test_schema_of_a_run(ds):
    check(ds)
    assert ds["loss"].dims == ("weight_decay", "separation", "seed")
    assert ds["loss_history"].dims == ("weight_decay", "separation", "seed", "record")
    assert ds["recovery_error_stage"].dims == ("weight_decay", "separation", "seed", "stage", "teacher_neuron")
    assert ds["W"].dims == ("weight_decay", "separation", "seed", "neuron", "input")
    assert ds["step"].dims == ("record",)
    assert ds["separation"].attrs["units"] == "rad"
    assert dict(zip(ds["status"].attrs["flag_meanings"].split(), ds["status"].attrs["flag_values"], strict=True)) == (
        ens.STATUS
    )
    for name in ("study", "study_hash", "git_commit", "jax_version", "device", "precision", "wall_time"):
        assert name in ds.attrs


def test_file_round_trip_is_exact_lazy_and_readable_by_others(ds, tmp_path):
    on_disk = ens.run(small(probes=PROBES), out=tmp_path / "run")
    assert on_disk["loss"].chunks is not None
    for name in ds.variables:
        np.testing.assert_array_equal(on_disk[name].values, ds[name].values, err_msg=str(name))
    (shard,) = (tmp_path / "run" / "shards").iterdir()
    with netCDF4.Dataset(shard) as plain:
        assert plain["max_angle"].units == "rad"
        assert plain["status"].flag_meanings == "not_run running converged max_steps diverged"
    for engine in ("netcdf4", "h5netcdf"):
        with xr.open_dataset(shard, engine=engine) as plain:
            np.testing.assert_array_equal(plain["loss"].values, ds["loss"].values)
            assert plain["stage"].values.tolist() == ds["stage"].values.tolist()
    # A complete dataset of the same study is returned as it is.
    before = shard.stat().st_mtime_ns
    ens.run(small(probes=PROBES), out=tmp_path / "run")
    assert shard.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("breaks", "match"),
    [
        (lambda d: d.drop_vars("loss"), "variable 'loss' is missing"),
        (lambda d: d.assign(loss=d["loss"].transpose()), "loss: got dimensions"),
        (lambda d: d.assign(loss=d["loss"].where(d["seed"] > 0).assign_attrs(d["loss"].attrs)), "loss: is NaN for 6"),
        (lambda d: d.assign(status=(d["status"] * 0 + 9).assign_attrs(d["status"].attrs)), "no status"),
        (lambda d: d.assign(stop_step=(d["stop_step"] * 0 - 1).assign_attrs(d["stop_step"].attrs)), "stop_step"),
        (lambda d: d.assign_attrs(schema_version=99), "schema_version: got 99.*update gd-atlas"),
        (lambda d: d.assign_attrs(study_hash="0"), "study_hash"),
        (
            lambda d: d.assign_attrs(schema_version="three"),
            "attribute 'schema_version': got 'three', which is no whole",
        ),
        (lambda d: d.assign_attrs(schema_version=np.array([3, 3])), "attribute 'schema_version': got array"),
        (lambda d: d.assign_attrs(study=3), "attribute 'study': got 3, which is no text; it was changed"),
        (lambda d: d.assign_attrs(box=[1, 2]), r"attribute 'box': got \[1, 2\], which is no text"),
        (lambda d: d.assign_attrs(complete="yes"), "attribute 'complete': got 'yes', which is no whole number"),
        (lambda d: d.assign(loss=d["loss"].assign_attrs(units=3)), "attribute 'loss.units': got 3, which is no text"),
        (lambda d: d.assign(loss=d["loss"].drop_attrs()), "loss: attribute 'units' is missing"),
        (lambda d: d.assign_coords(separation=("separation", [1.0, 2.0, 3.0], d["separation"].attrs)), "separation"),
        (lambda d: d.drop_attrs(), "no dataset of gd-atlas"),
    ],
)
def test_checker_finds_what_is_broken(ds, breaks, match):
    with pytest.raises(ens.SchemaError, match=match):
        check(breaks(ds))


def test_a_broken_file_is_refused(ds, tmp_path):
    path = tmp_path / "dataset.nc"
    with pytest.raises(FileNotFoundError, match="holds no dataset"):
        ens.open_dataset(tmp_path)
    path.write_bytes(b"not a dataset")
    with pytest.raises(ens.SchemaError, match=r"dataset.nc: cannot be read as netCDF4"):
        ens.open_dataset(tmp_path)
    ds.drop_vars("loss").to_netcdf(path)
    with pytest.raises(ens.SchemaError, match=r"dataset.nc: variable 'loss' is missing"):
        ens.open_dataset(tmp_path)


def test_a_directory_of_another_study_is_refused_with_the_difference(tmp_path):
    ens.run(small(), out=tmp_path)
    with pytest.raises(StudyError, match=r"another study.*\n  seeds: 3 there, 2 here\n.*overwrite=True"):
        ens.run(small(seeds=2), out=tmp_path)
    with pytest.raises(StudyError, match=r"\n  root_seed: 0 there, 1 here\n"):
        ens.run(small(root_seed=1), out=tmp_path)
    assert ens.run(small(seeds=2), out=tmp_path, overwrite=True).sizes["seed"] == 2


def test_an_unwritable_directory_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="cannot be written"):
        ens.run(small(), out=tmp_path / "file" / "below")


def interrupt_after(calls: int):
    """A progress callback that sends this process SIGINT, as Ctrl-C does."""
    count = 0

    def on_progress(report):
        nonlocal count
        count += 1
        if count == calls:
            os.kill(os.getpid(), signal.SIGINT)

    return on_progress


def test_ctrl_c_leaves_a_readable_partial_dataset_and_the_same_command_goes_on(tmp_path):
    study = heavy_tailed(axes={"step_size": [0.05, 0.2]})
    whole = ens.run(study)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        # The members end after some 600 steps at the earliest, at 0.03 × mean steps a call: some are finished.
        ens.run(study, out=tmp_path, on_progress=interrupt_after(25))
    assert signal.getsignal(signal.SIGINT) is handler
    with ens.open_dataset(tmp_path) as partial:
        assert partial.attrs["complete"] == 0
        counts = {name: int((partial["status"] == code).sum()) for name, code in ens.STATUS.items()}
        assert counts["converged"] > 0 and counts["running"] > 0
        done = (partial["status"] == ens.STATUS["converged"]).values
        np.testing.assert_array_equal(partial["W"].values[done], whole["W"].values[done])
        never = (partial["status"] == ens.STATUS["not_run"]).values
        assert np.isnan(partial["loss"].values[never]).all()
    resumed = ens.run(study, out=tmp_path)
    assert resumed.attrs["complete"] == 1
    for name in whole.data_vars:
        np.testing.assert_array_equal(resumed[name].values, whole[name].values, err_msg=str(name))


def test_ctrl_c_in_memory_returns_what_there_is():
    study = small(protocol={"kind": "fixed_decay", "steps": 5000})
    with pytest.warns(ens.PartialResult, match="0 of 18 members are finished"):
        partial = ens.run(study, on_progress=interrupt_after(1))
    assert partial.attrs["complete"] == 0
    assert set(np.unique(partial["status"])) == {ens.STATUS["running"]}


@pytest.mark.skipif(
    subprocess.run(["sh", "-c", "command -v ncdump"], capture_output=True).returncode != 0,
    reason="ncdump is not installed",
)
def test_ncdump_reads_it(tmp_path):
    ens.run(small(), out=tmp_path)
    ens.collect(tmp_path, tmp_path / "one.nc")
    out = subprocess.run(["ncdump", "-h", tmp_path / "one.nc"], capture_output=True, text=True, check=True).stdout
    assert 'max_angle:long_name = "largest angle of an active neuron' in out
