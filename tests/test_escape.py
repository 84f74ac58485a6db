"""Escape times: planted plateaus are found and nothing else is; those of erf committees are what the equations say."""

import numpy as np
import pytest
import xarray as xr

import analysis
import ensemble as ens
from tests.test_order_parameters import committee

STEPS = np.unique(np.concatenate([[0.0], np.geomspace(1, 10_000, 120).round()]))


def logistic(at: float, width: float) -> np.ndarray:
    """From 1 to 0 about a step."""
    return 1.0 / (1.0 + np.exp(np.clip((STEPS - at) / width, -50, 50)))


# To the plateau 0.02 within the first ten steps, and from it at step 3 000 to nothing, to a noise floor, or nowhere.
PLANTED = {
    "escapes": np.exp(-STEPS) + 0.02 * logistic(3000, 100) + 1e-9,
    "to a floor": np.exp(-STEPS) + 0.02 * logistic(3000, 100) + 2e-4,
    "stuck": np.exp(-STEPS) + 0.02,
    "late to it": logistic(4000, 50) + 0.02,
    "passes": np.exp(-STEPS) + 0.02 * np.exp(-STEPS / 800) + 1e-9,
    "exponential": np.exp(-STEPS / 1000),
    "power": 1.0 / (1.0 + STEPS / 10.0),
}


def planted(histories: dict[str, np.ndarray], status: str = "max_steps") -> xr.Dataset:
    """A cell with a seed for each history."""
    values = np.stack(list(histories.values()))
    count = len(values)
    return xr.Dataset(
        {
            "loss": ("seed", values[:, -1], {"units": "1", "long_name": "loss"}),
            "loss_history": (("seed", "record"), values, {"units": "1", "long_name": "loss"}),
            "status": ("seed", np.full(count, ens.STATUS[status])),
            "stop_step": ("seed", np.full(count, int(STEPS[-1]))),
        },
        coords={"seed": np.arange(count), "step": ("record", STEPS)},
        attrs={"study": "", "study_hash": "planted"},
    )


def test_planted_plateaus_are_left_when_they_are():
    found = analysis.escape_times(planted(PLANTED))
    of = {name: found.isel(seed=i) for i, name in enumerate(PLANTED)}
    for name in ("escapes", "to a floor", "stuck"):
        assert abs(float(of[name]["height"]) / 0.02 - 1) < 0.05 and 2 <= float(of[name]["plateau_begin"]) <= 10
    for name in ("escapes", "to a floor"):
        # Half of the height is left at step 3 000 exactly, up to what is below the plateau.
        assert float(of[name]["after"]) < 3010 and float(of[name]["by"]) >= 3000 and bool(of[name]["below"])
        assert float(of[name]["by"]) < 1.1 * float(of[name]["after"])
        assert 2300 < float(of[name]["plateau_end"]) < 3000
    for name in ("stuck", "late to it"):
        assert np.isinf(of[name]["by"]) and not of[name]["below"] and float(of[name]["after"]) == 10_000
        assert abs(float(of[name]["height"]) / 0.02 - 1) < 0.05
    # No plateau of their own: they are measured by the middle height of the others.
    for name, passed in {"passes": 800 * np.log(2), "exponential": 1000 * np.log(100), "power": 990.0}.items():
        assert np.isnan(of[name]["plateau_begin"]) and abs(float(of[name]["height"]) / 0.02 - 1) < 0.05
        assert 0.9 * passed < float(of[name]["by"]) < 1.1 * passed


def test_without_a_plateau_in_the_cell_there_is_no_escape():
    ds = planted({name: PLANTED[name] for name in ("exponential", "power")})
    found = analysis.escape_times(ds)
    assert np.isnan(found["by"]).all() and not found["below"].any() and np.isnan(found["height"]).all()
    curve = analysis.survival(ds, times=found)
    assert int(curve["seeds"]) == 0 and np.isnan(curve["median"])
    # A height that is known asks for no plateau: 0.02 = exp(−t/1000) and 1/(1 + t/10).
    given = analysis.escape_times(ds, plateau=0.04)
    np.testing.assert_array_less(given["after"], [1000 * np.log(50), 490.1])
    np.testing.assert_array_less([1000 * np.log(50), 489.9], given["by"])


def test_a_floor_is_said_where_it_is_high():
    """A floor above a thousandth of the first loss, longer than the plateau, is taken for it unless it is said."""
    ds = planted({"high floor": np.exp(-STEPS) + 0.02 * logistic(3000, 100) + 2e-3})
    assert np.isinf(analysis.escape_times(ds)["by"][0])
    found = analysis.escape_times(ds, floor=4e-3).isel(seed=0)
    assert abs(float(found["height"]) / 0.022 - 1) < 0.05 and 2900 < float(found["by"]) < 3400


def test_escape_times_are_censored_data():
    ds = planted({"escapes": PLANTED["escapes"], "stuck": PLANTED["stuck"], "more": PLANTED["stuck"]})
    ds["status"].values[2] = ens.STATUS["diverged"]
    times = analysis.escape_times(ds)
    curve = analysis.survival(ds, times=times)
    assert (int(curve["seeds"]), int(curve["events"]), int(curve["censored"])) == (3, 1, 1)
    assert curve.attrs["reached"] == "escaped" and "height of its plateau for good" in curve.attrs["event"]
    np.testing.assert_array_equal(curve["step"], STEPS)
    assert float(curve["survival"].sel(step=STEPS[STEPS > 3200][0])) == pytest.approx(2 / 3)
    # The same members as time_below finds them, in two ways.
    direct = analysis.survival(ds, "loss", below=0.01)
    xr.testing.assert_equal(direct, analysis.survival(ds, times=analysis.time_below(ds, "loss", 0.01)))


@pytest.mark.long
def test_committees_leave_the_symmetric_plateau_when_the_equations_do():
    """Two erf neurons for two orthonormal teachers under population descent.

    The plateau's height is K/π (π/6 − K arcsin(1/2K)) at K = 2. From equal rows but for ±δ along the teacher's
    difference the deviation grows as exp(λt) on it, so that a hundredth of δ leaves it ln 100/λ later, −λ being the
    least eigenvalue of the Hessian there.
    """
    step_size, inputs = 0.1, 400
    rows = [np.pad(0.2 + d * np.array([[1, -1], [-1, 1]]), ((0, 0), (0, inputs - 2))) for d in (1e-3, 1e-5)]
    starts = [{"kind": "given", "a": [1.0, 1.0], "W": W.tolist()} for W in rows]
    axis = {"values": ["xavier", "first", "later"], "fields": {"student.start": ["xavier", *starts]}}
    study = committee(inputs=inputs, step_size=inputs * step_size, steps=2400, records=[*range(0, 2401, 10)], seeds=3)
    study = study.replace(axes={"start": axis})
    ds = ens.run(study)
    of_starts = analysis.escape_times(ds).sel(start=["first", "later"])
    assert bool(of_starts["below"].all()) and np.isfinite(of_starts["plateau_begin"]).all()
    np.testing.assert_allclose(of_starts["height"], 0.0116108, rtol=0.05)
    history = ds["loss_history"]
    solved = analysis.order_parameters(study)["loss"].transpose(*history.dims).assign_attrs(history.attrs)
    ours, theirs = (analysis.escape_times(x, plateau=0.0116108) for x in (ds, ds.assign(loss_history=solved)))
    # Steps of 0.1 are no flow: a record of 10 steps at most.
    np.testing.assert_allclose(ours["by"], theirs["by"], atol=10.0)
    assert len(set(ours["by"].sel(start="xavier").values)) > 1 and bool(ours["below"].all())
    # The saddle: Q_ij = 1/(2K − 1) and R_ij = 1/√(K(2K − 1)).
    saddle, teacher = (ens.TwoLayer(np.ones(2), W, "erf") for W in (np.full((2, 2), 6**-0.5), np.eye(2)))
    np.testing.assert_allclose(ens.population_gradient(saddle, teacher).W, 0.0, atol=1e-15)
    lowest, _ = analysis.hessian_eigenvalues(saddle, teacher, layers="first")
    times = of_starts["by"].isel(seed=0).values
    np.testing.assert_allclose(times[1] - times[0], np.log(100.0) / np.log1p(-step_size * lowest), atol=10.0)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda d: analysis.escape_times(d, "colour"), "got 'colour'"),
        (lambda d: analysis.escape_times(d.drop_vars("loss_history")), "no history was recorded"),
        (lambda d: analysis.escape_times(d, tolerance=0.0), r"tolerance: got 0.0; give a number above 0"),
        (lambda d: analysis.escape_times(d, fraction=0.95), r"fraction: got 0.95; .* is left below 0.91 of its height"),
        (lambda d: analysis.escape_times(d, floor=-1.0), "floor: got -1.0; give a value of the measure"),
        (lambda d: analysis.escape_times(d, plateau=0.02, floor=0.1), "floor: got 0.1 with a plateau"),
        (lambda d: analysis.escape_times(d, plateau=0.0), r"plateau: got \[0.0\]; give positive numbers"),
        (lambda d: analysis.survival(d, "loss", times=d), "times: got times with measure = 'loss'"),
        (lambda d: analysis.survival(d, times=d), "times: got a dataset without arrival times"),
        (lambda d: analysis.survival(d, times=analysis.escape_times(d.isel(seed=[0]))), r"got those of \{'seed': 1\}"),
    ],
)
def test_what_has_no_escape_times_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call(planted(PLANTED))
