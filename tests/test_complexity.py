"""Sample complexity: planted powers of d are found, others are outside the interval; no power law is said to be one."""

import json

import numpy as np
import pytest
import xarray as xr

import analysis
import ensemble as ens
from analysis.commands import tables
from tests.helpers import called

SIZES, SAMPLES = np.array([8, 16, 32, 64]), np.unique(np.round(np.geomspace(8, 4096, 12)).astype(int))
STUDY = ens.Study.model_validate(
    {
        "name": "complexity",
        "seeds": 2,
        "teacher": {"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 8},
        "student": {"neurons": 2},
        "data": {"samples": 8},
        "protocol": {"kind": "plain", "step_size": 0.1, "steps": 1},
        "axes": {"inputs": {"field": "teacher.inputs", "values": SIZES.tolist()}, "samples": SAMPLES.tolist()},
    }
)


def planted(half: np.ndarray, seeds: int = 40, common: bool = False) -> xr.Dataset:
    """Members that recover with the probability 1/(1 + (n_½/n)⁴), independently or with one uniform number a seed."""
    generator = np.random.default_rng(3)
    uniform = generator.random((1, 1, seeds) if common else (len(SIZES), len(SAMPLES), seeds))
    chance = 1.0 / (1.0 + (half[:, None] / SAMPLES[None, :]) ** 4)
    angle = np.where(uniform < chance[..., None], 0.01, 1.0)
    dims = ("inputs", "samples", "seed")
    return xr.Dataset(
        {
            "max_angle": (dims, angle, {"units": "rad", "long_name": "angle"}),
            "status": (dims, np.full(angle.shape, ens.STATUS["converged"])),
        },
        coords={"inputs": SIZES, "samples": SAMPLES, "seed": np.arange(seeds)},
        attrs={"study": STUDY.model_dump_json(), "study_hash": "planted", "title": "planted", "complete": 1},
    )


@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize("power", [1.0, 1.5])
def test_a_planted_power_is_found(power, common):
    """n_½ = 3 d^p; the interval holds p, and neither p − ½ nor p + ½."""
    found = analysis.sample_complexity(planted(3.0 * SIZES**power, common=common), "inputs", "max_angle", 0.1)
    low, high = float(found["exponent_low"]), float(found["exponent_high"])
    assert low <= power <= high and power - 0.5 < low and high < power + 0.5
    assert low <= float(found["exponent"]) <= high and bool(found["is_power_law"])
    np.testing.assert_allclose(
        found["fitted"], float(found["constant"]) * SIZES ** float(found["exponent"]), rtol=1e-12
    )
    assert np.all((found["low"] <= 3.0 * SIZES**power) & (3.0 * SIZES**power <= found["high"]))


def test_what_is_no_power_of_d_is_refuted():
    found = analysis.sample_complexity(planted(np.array([30.0, 900.0, 900.0, 900.0])), "inputs", "max_angle", 0.1)
    assert not bool(found["is_power_law"]) and np.isnan(found["exponent_low"]) and np.isfinite(found["exponent"])


def test_places_beyond_the_grid_bound_the_power_from_one_side():
    """The largest d needs more samples than there are: how many more is not known, and p has no upper end."""
    found = analysis.sample_complexity(planted(np.array([60.0, 1e5, 1e5, 1e5])), "inputs", "max_angle", 0.1)
    assert float(found["exponent_high"]) == np.inf and np.isnan(found["exponent"])
    assert 3.0 < float(found["exponent_low"]) < np.log(4096 / 30.0) / np.log(2.0)


def test_what_has_no_exponent_is_refused():
    ds = planted(3.0 * SIZES)
    with pytest.raises(ValueError, match=r"along: got 'inputs' with the values \[8\]; an exponent needs two"):
        analysis.sample_complexity(ds.isel(inputs=[0]), "inputs", "max_angle", 0.1)
    with pytest.raises(ValueError, match=r"samples: got 'n', which is no axis; the axes are inputs, samples"):
        analysis.sample_complexity(ds, "inputs", "max_angle", 0.1, samples="n")
    with pytest.raises(ValueError, match=r"along: got 'samples', which is the axis of samples"):
        analysis.sample_complexity(ds, "samples", "max_angle", 0.1)
    with pytest.raises(ValueError, match=r"samples: got 'samples' with values that are not positive"):
        moved = ds.assign_coords(samples=SAMPLES - 8)
        analysis.sample_complexity(moved, "inputs", "max_angle", 0.1)


def test_the_command_says_the_power_and_draws_it(monkeypatch, tmp_path):
    ds = planted(3.0 * SIZES)
    monkeypatch.setattr(tables, "opened", lambda *_: ds)
    words = ("analysis", "complexity", "run", "--along", "inputs", "--below", "0.1")
    said = called(*words, "--out", tmp_path / "n.png").stdout
    found = analysis.sample_complexity(ds, "inputs", "max_angle", 0.1)
    p, low, high = (float(found[name]) for name in ("exponent", "exponent_low", "exponent_high"))
    assert f"power of inputs: p = {p:.2f} [{low:.2f}, {high:.2f}], 95% interval" in said
    assert (tmp_path / "n.png").exists() and f"{float(found['boundary'][0]):.4g}" in said
    facts = json.loads(called(*words, "--json").stdout)
    assert facts["exponent"] == p and facts["rows"][0]["boundary_low"] == float(found["low"][0])
    # Sets beyond the grid are drawn to its end, and a law that is refuted is said to be none.
    for half, expected in ((np.array([60.0, 1e5, 1e5, 1e5]), "∞], 95%"), (np.array([30, 900, 900, 900.0]), "no power")):
        monkeypatch.setattr(tables, "opened", lambda *_, half=half: planted(half))
        assert expected in called(*words, "--out", tmp_path / "n.png").stdout
    done = called(*words[:-4], "--along", "inputz", check=False)
    assert done.returncode == 2 and "--along: got 'inputz', which is no axis" in done.stderr
