"""Families of minima: symmetries leave a student where it is, spurious minima are named, saddles are told."""

import numpy as np
import pytest
import xarray as xr

import analysis
import ensemble as ens
from analysis.two_layer.families import pattern
from tests.studies import heavy_tailed


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    """k = 8 and one extra neuron: global minima split in many ways, four of 24 runs end in a spurious minimum."""
    teacher = {"kind": "orthonormal", "activation": "relu", "neurons": 8, "inputs": 8}
    axes = {"extra": {"field": "student.neurons", "values": [8, 9]}}
    protocol = {"kind": "plain", "layers": "first", "step_size": 0.2, "steps": 20_000, "grad_norm": 1e-8}
    return ens.run(heavy_tailed(seeds=24, teacher=teacher, axes=axes, protocol=protocol))


def relabelled(ds: xr.Dataset, key: int) -> xr.Dataset:
    """The same students up to symmetry: neurons and coordinates (so teacher neurons) permuted, member by member."""
    generator = np.random.default_rng(key)
    other = ds.copy(deep=True)
    for extra, width in enumerate((8, 9)):
        for seed in range(ds.sizes["seed"]):
            neurons, inputs = generator.permutation(width), generator.permutation(8)
            W, a = other["W"].values[extra, seed], other["a"].values[extra, seed]
            W[:width] = W[:width][neurons][:, inputs]
            a[:width] = a[:width][neurons]
    return other


def test_families_are_those_of_losses_and_split_neurons_belong_together(ds):
    found = analysis.families(ds)
    by_loss = analysis.minima(ds, absolute=1e-8)
    for extra in (8, 9):
        cell, losses = found.sel(extra=extra), by_loss.sel(extra=extra)
        counts = np.sort(cell["count"].values[cell["count"].values > 0])
        np.testing.assert_array_equal(counts, np.sort(losses["count"].values[losses["count"].values > 0]))
    assert int(found["count"].sum()) == 48 and int(found["others"].sum()) == 0
    best = found.sel(extra=8).isel(family=0)
    assert abs(float(best["loss"])) < 1e-12 and int(best["anti_aligned"]) == 0 and best["kind"].item() == "minimum"
    # The teacher's own pattern: one neuron on each teacher neuron.
    np.testing.assert_allclose(best["overlap"].values[:8], np.eye(8), atol=1e-6)
    # A teacher neuron may be shared by two student neurons in any proportion: a flat direction.
    assert found.sel(extra=9).isel(family=0)["kind"].item() == "flat"


def test_symmetries_leave_families_alone(ds):
    found, again = (analysis.families(one, eigenvalues=False) for one in (ds, relabelled(ds, 0)))
    for name in ("count", "loss", "anti_aligned", "families", "seed"):
        np.testing.assert_array_equal(found[name], again[name])
    moved = relabelled(ds, 0)
    moved["W"].values[0, 0, 0] *= 1.01  # another function: a family of its own
    assert int(analysis.families(moved, eigenvalues=False).sel(extra=8)["families"]) == int(
        found.sel(extra=8)["families"] + 1
    )


def test_spurious_minima_are_named_by_anti_aligned_neurons(ds):
    # The known spurious minimum of k orthonormal neurons: one student neuron points against its teacher neuron.
    spurious = np.flatnonzero(ds.sel(extra=8)["loss"].values > 1e-6)
    assert len(spurious) == 4
    found = analysis.families(ds).sel(extra=8).isel(family=1)
    assert int(found["anti_aligned"]) == 1 and found["kind"].item() == "minimum"
    assert float(found["lowest"]) > 1e-3 and float(found["loss"]) == pytest.approx(0.0215080, abs=1e-6)
    assert int(found["seed"]) in spurious
    low, high = analysis.wilson(np.array(4), np.array(24))
    assert (float(found["low"]), float(found["high"])) == pytest.approx((float(low), float(high)))


def test_saddles_are_told_from_minima():
    # Two neurons that start equal stay equal: descent ends at the best such point, a saddle.
    start = {"kind": "given", "a": [1.0, 1.0], "W": [[0.5, 0.6], [0.5, 0.6]]}
    teacher = {"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 2}
    protocol = {"kind": "plain", "layers": "first", "step_size": 0.2, "steps": 20_000, "grad_norm": 1e-7}
    found = analysis.families(
        ens.run(heavy_tailed(seeds=1, teacher=teacher, student={"neurons": 2, "start": start}, protocol=protocol))
    ).isel(family=0)
    assert found["kind"].item() == "saddle" and float(found["lowest"]) < -1e-3 and float(found["loss"]) > 1e-3


def test_points_that_still_move_are_no_minimum(ds):
    moving = ens.run(heavy_tailed(seeds=2, max_steps=50))
    found = analysis.families(moving)
    assert set(found["kind"].values[found["count"].values > 0]) == {"moving"}
    np.testing.assert_array_equal(found["unconverged"], found["count"])


def test_lines_have_no_opposite_end():
    arrays = {
        "a": np.ones((1, 1)),
        "W": -np.eye(1, 2)[None],
        "teacher_a": np.ones((1, 1)),
        "teacher_W": np.eye(1, 2)[None],
    }
    ray, line = (pattern(arrays, ens.ACTIVATIONS[name]) for name in ("relu", "abs_centred"))
    assert bool(ray.anti_aligned[0, 0]) and ray.overlap[0, 0, 0] == -1.0
    assert not bool(line.anti_aligned[0, 0]) and line.overlap[0, 0, 0] == 1.0


def test_teachers_may_be_turned_but_not_differ(ds):
    one = ds.isel(extra=[0]).load().copy(deep=True)
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 8)))[0]
    for name in ("W", "teacher_W"):
        one[name].values[0, ::2] = one[name].values[0, ::2] @ turned
    before, after = (analysis.families(d, eigenvalues=False) for d in (ds.isel(extra=[0]), one))
    for name in ("count", "loss", "anti_aligned", "seed"):
        np.testing.assert_array_equal(before[name], after[name])
    one["teacher_W"].values[0, 3, 0] *= 1.01
    with pytest.raises(ValueError, match=r"teachers differ in masses or angles at extra = 8.*analysis\.minima"):
        analysis.families(one, eigenvalues=False)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda d: analysis.families(d.drop_vars("W")), "store_weights = true"),
        (lambda d: analysis.families(d, tolerance=0.0), "tolerance: got 0.0"),
    ],
)
def test_errors_say_what_there_is(ds, call, match):
    with pytest.raises(ValueError, match=match):
        call(ds)
