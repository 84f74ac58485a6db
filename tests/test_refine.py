"""Adaptive refinement: the same members as an ordinary run, gathered where the boundary is, within the budget."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

import analysis
import ensemble as ens
from analysis.__main__ import app
from analysis.boundaries.question import kept
from analysis.boundaries.refine import run_batches as refine
from analysis.boundaries.refinement import Addition, _rounded, additions, first_additions
from analysis.plots.style import axis_positions
from analysis.selection import is_log_spaced
from tests.studies import small, written

GRID = [0.4, 0.8, 1.2]


def study(**changes) -> ens.Study:
    return small(records=0, store_weights=False, probes=["loss", "max_angle"], **changes)


def synthetic(x_values, y_values, seeds: int, place: float, width: float = 0.05):
    """A dataset of the small study's kind whose loss is below 1 with a probability that rises at `place`."""
    ds = ens.run(study(seeds=1, axes={"weight_decay": x_values, "separation": y_values}))
    ds = ds.isel(seed=np.zeros(seeds, int)).assign_coords(seed=np.arange(seeds)).load().copy(deep=True)
    probability = 1 / (1 + np.exp(-(np.array(y_values) - place) / width))
    chance = np.random.default_rng(0).random(ds["loss"].shape)
    ds["loss"].values[:] = np.where(chance < probability[None, :, None], 0.5, 2.0)
    return ds


def test_members_gather_at_the_boundary_and_take_new_seeds():
    ds = synthetic([0.0, 0.05], GRID, 6, 0.9)
    found = additions(ds, "weight_decay", "separation", "loss", 1.0, GRID, 40)
    assert sum(len(a.seeds) for a in found) <= 40
    places = np.concatenate([np.full(len(a.seeds), a.y) for a in found])
    assert np.median(np.abs(places - 0.9)) < 0.2 and places.min() >= 0.4 and places.max() <= 1.2
    for x in (0.0, 0.05):
        seeds = [s for a in found if a.x == x for s in a.seeds]
        assert len(seeds) == len(set(seeds)) and min(seeds) == 6
    again = additions(ds, "weight_decay", "separation", "loss", 1.0, GRID, 40)
    assert found == again


def test_known_columns_get_nothing():
    ds = synthetic([0.0, 0.05], GRID, 6, 0.9)
    ds["loss"].values[0] = 2.0  # no success at any y: the boundary is beyond the grid for sure
    found = additions(ds, "weight_decay", "separation", "loss", 1.0, GRID, 20)
    of_columns = [sum(len(a.seeds) for a in found if a.x == x) for x in (0.0, 0.05)]
    assert of_columns[0] < of_columns[1]
    assert additions(ds, "weight_decay", "separation", "loss", 1.0, GRID, 20, width=5.0) == []


def test_lattice_is_finer_than_half_the_band():
    lattice = np.array([0.0, 1.0, 2.0])
    assert set(_rounded(np.linspace(0, 2, 50), lattice, 2.0)) == {0.0, 1.0, 2.0}
    assert set(_rounded(np.linspace(0, 2, 50), lattice, 1.0)) == {0.0, 0.5, 1.0, 1.5, 2.0}


def test_grid_values_of_many_digits_are_not_doubled():
    grid = [0.4, 0.812345678901, 1.2]
    ds = synthetic([0.0, 0.05], grid, 6, 0.8, width=0.3)
    found = additions(ds, "weight_decay", "separation", "loss", 1.0, grid, 60)
    assert {a.y for a in found if abs(a.y - 0.8123) < 1e-3} == {0.812345678901}


def test_first_members_span_every_column():
    found = first_additions([1.0, 2.0], list(np.linspace(0, 1, 9)))
    assert [a.y for a in found if a.x == 1.0] == [0.0, 0.5, 1.0]
    assert [s for a in found if a.x == 2.0 for s in a.seeds] == list(range(6))


def test_refinement_is_an_ordinary_dataset_of_the_same_members(tmp_path):
    calls = []

    def propose(ds, members):
        calls.append(members)
        return [Addition(0.05, 0.6, range(2 * len(calls) + 2, 2 * len(calls) + 4))]

    first = first_additions([0.0, 0.05], GRID)
    ds = refine(study(), tmp_path / "run", "weight_decay", "separation", budget=16, first=first, propose=propose)
    assert ds["separation"].values.tolist() == [0.4, 0.6, 0.8, 1.2] and ds.attrs["complete"] == 0
    done = ds["status"] >= ens.STATUS["converged"]
    assert int(done.sum()) == 12 + 2 * len(calls) >= 16
    whole = ens.run(
        study(seeds=ds.sizes["seed"], axes={"weight_decay": [0.0, 0.05], "separation": [0.4, 0.6, 0.8, 1.2]})
    )
    for name in ("loss", "max_angle"):
        np.testing.assert_array_equal(ds[name].values[done], whole[name].values[done])
    assert np.isfinite(analysis.boundary(ds, "weight_decay", "separation", "loss", 0.02)["seeds"]).all()
    ens.collect(tmp_path / "run", tmp_path / "x.nc")
    with ens.open_dataset(tmp_path / "x.nc") as collected:
        np.testing.assert_array_equal(collected["status"], ds["status"])


def test_a_refined_axis_keeps_its_scale(tmp_path):
    """The values that a refinement adds look even on the other scale."""
    added = [0.05, 0.06, 0.07, 0.08, 0.09, 0.1]
    mine = study(axes={"separation": [0.4, 0.8], "weight_decay": [0.01, 0.03, 0.1]})
    assert mine.axes["weight_decay"].scale is None and mine.text.count('"scale"') == 1, "that of the start"
    places = iter([[Addition(0.4, y, range(2, 4)) for y in added], []])
    first = first_additions([0.4, 0.8], [0.01, 0.03, 0.1])

    def run(which, **changes):
        return refine(which, tmp_path / "run", "separation", "weight_decay", **changes)

    def scale(ds):
        return analysis.boundary(ds, "separation", "weight_decay", "loss", 0.02).attrs["scale"]

    ds = run(mine, budget=40, first=first, propose=lambda ds, members: next(places))
    assert ds["weight_decay"].values.tolist() == sorted({0.01, 0.03, 0.1, *added})
    assert not is_log_spaced(ds["weight_decay"].values) and scale(ds) == "log"
    assert ens.Study.from_json(ds.attrs["study"]).axes["weight_decay"].scale == "log"
    assert axis_positions(ds["weight_decay"])[2], "pictures have the same scale"
    # It goes on from the study file, which says no scale, and refuses another one.
    assert scale(run(mine, budget=40, first=first, propose=lambda ds, members: [])) == "log"
    linear = mine.replace(
        axes=mine.axes | {"weight_decay": mine.axes["weight_decay"].model_copy(update={"scale": "linear"})}
    )
    with pytest.raises(ens.StudyError, match=r"weight_decay\.scale: log there, linear here"):
        run(linear, budget=40, first=first, propose=lambda ds, members: [])


def test_a_run_of_before_takes_a_scale(tmp_path):
    mine = study(axes={"separation": [0.4, 0.8], "weight_decay": [0.01, 0.03, 0.1]}, seeds=1)
    whole = ens.run(mine, tmp_path / "run")
    axis = mine.axes["weight_decay"].model_copy(update={"scale": "linear"})
    said = []
    ds = ens.run(mine.replace(axes=mine.axes | {"weight_decay": axis}), tmp_path / "run", say=said.append)
    assert any("the scales of its axes are kept" in line for line in said)
    np.testing.assert_array_equal(ds["loss"], whole["loss"])
    assert ds["weight_decay"].attrs["scale"] == "linear"
    said.clear()
    ens.run(mine, tmp_path / "run", say=said.append)
    assert ens.open_dataset(tmp_path / "run")["weight_decay"].attrs["scale"] == "linear"
    assert not any("extends" in line or "kept" in line for line in said)


@pytest.mark.parametrize(
    ("values", "scale", "match"),
    [
        ([0.0, 0.1], "log", r"scale: got 'log' for \[0.0, 0.1\]; a logarithm needs values above 0"),
        (["a", "b"], "linear", "scale: got 'linear' for texts"),
        ([0.1, 0.2], "cubic", "scale: .*'linear' or 'log'"),
    ],
)
def test_scales_that_an_axis_cannot_have(values, scale, match):
    with pytest.raises(ens.StudyError, match=match):
        study(axes={"weight_decay": {"values": values, "scale": scale}})


def test_boxes_that_are_there_are_not_run_twice(tmp_path):
    ds = ens.run(study(), tmp_path / "run")
    with pytest.raises(ValueError, match="boxes: got members that the directory has"):
        refine(
            study(),
            tmp_path / "run",
            "weight_decay",
            "separation",
            budget=99,
            first=[],
            propose=lambda ds, members: [Addition(0.0, 0.4, range(2, 4))],
        )
    assert ens.open_dataset(tmp_path / "run").sizes == ds.sizes


def test_an_interrupted_batch_goes_on(tmp_path, monkeypatch):
    out = tmp_path / "run"
    first = first_additions([0.0, 0.05], GRID)

    def refined(propose):
        return refine(study(), out, "weight_decay", "separation", budget=20, first=first, propose=propose)

    def stop(ds, members):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refined(stop)
    for path in sorted((out / "shards").iterdir())[::2]:
        path.unlink()
    ds = refined(lambda ds, members: [])
    assert int((ds["status"] >= ens.STATUS["converged"]).sum()) == 12


def test_the_command_says_bands_and_budget(tmp_path):
    file = written(study(), tmp_path / "small.toml")
    at = ["--x", "weight_decay", "--y", "separation", "--measure", "loss", "--below", "0.02"]
    call = ["refine", str(file), "--out", str(tmp_path / "run"), *at, "--budget", "14"]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    assert "12 members: widest band" in done.output and "95% band" in done.output
    wrong = CliRunner().invoke(app, [*call[:-1], "3"])
    assert wrong.exit_code == 2 and "budget: got 3; this study begins with 12" in wrong.output
    # What it asked is kept beside the run, and a page opens with it.
    asked = {"x": "weight_decay", "y": "separation", "measure": "loss", "below": 0.02}
    found = kept(tmp_path / "run")
    assert found is not None and found.model_dump(exclude={"written_by"}) == asked
    said = CliRunner().invoke(app, ["report", str(tmp_path / "run")])
    assert said.exit_code == 0, said.output
    opening = re.search(r'"opening": ({.*?})', (tmp_path / "run" / "report.html").read_text())
    assert opening is not None and json.loads(opening[1]) == asked


def test_a_file_in_the_place_of_what_is_kept_is_refused_before_any_work(tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "refinement.json").write_text("my own words")
    with pytest.raises(ValueError, match=r"refinement.json, which is there and is no refinement of gd-atlas"):
        analysis.refine(study(), out, "weight_decay", "separation", "loss", 0.02, budget=14)
    assert [p.name for p in out.iterdir()] == ["refinement.json"] and kept(out) is None


@pytest.mark.parametrize(
    ("x", "y", "changes", "match"),
    [
        ("colour", "separation", {}, "x: got 'colour'; the study's axes are weight_decay, separation"),
        ("separation", "separation", {}, "for both axes"),
        ("weight_decay", "separation", {"axes": {"weight_decay": [0.0], "separation": [0.4]}}, "two or more"),
        (
            "weight_decay",
            "separation",
            {"axes": {"weight_decay": [0.0], "separation": GRID, "step_size": [0.1, 0.2]}},
            "at: the axis 'step_size' is open",
        ),
    ],
)
def test_bad_axes_are_refused_before_any_work(tmp_path, x, y, changes, match):
    with pytest.raises(ens.StudyError, match=match):
        refine(study(**changes), tmp_path / "run", x, y, budget=99, first=[], propose=lambda ds, n: [])
    assert not (tmp_path / "run").exists()
