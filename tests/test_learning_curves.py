"""Learning curves against exact formulas of least squares, and double descent with its intervals."""

import numpy as np
import pytest

import analysis
import ensemble as ens
from analysis import commands
from tests.helpers import called

d, NOISE, SEEDS = 8, 1.0, 400
SIZES = [4, 20]
"""Samples: fewer than d and more; nearer to it the error has no variance (n within 3 of d).
More sizes are in tests/validation/test_least_squares.py."""


def least_squares(**changes) -> ens.Study:
    """y = w*·x + noise, w* a unit vector, fitted by the output layer over W = I with the minimal norm."""
    eye = np.eye(d).tolist()
    rest = {"name": "rest", "step_size": 1e-300, "steps": 1}
    fields = {
        "name": "least_squares",
        "seeds": SEEDS,
        "records": 0,
        "probes": ["loss", "train_loss", "label_noise_fit"],
        "teacher": {"kind": "orthonormal", "activation": "linear", "neurons": 1, "inputs": d, "rotation": "random"},
        "student": {"neurons": d, "start": {"kind": "given", "a": [0.0] * d, "W": eye}},
        "data": {"samples": 20, "noise": NOISE},
        "protocol": {"kind": "stages", "stages": [{"name": "fit", "update": "ridge", "layers": "output"}, rest]},
        "axes": {"samples": SIZES},
    }
    return ens.Study(**(fields | changes))


@pytest.fixture(scope="module")
def fitted():
    return ens.run(least_squares())


def excess(n: int) -> float:
    """E ‖w − w*‖² of Gaussian least squares at finite n, ‖w*‖ = 1 (theory.md §10)."""
    if n > d + 1:
        return NOISE**2 * d / (n - d - 1)
    return 1.0 - n / d + NOISE**2 * n / (d - n - 1)


@pytest.mark.parametrize("n", SIZES)
def test_excess_risk_is_that_of_the_exact_formula(fitted, n):
    found = 2.0 * fitted["loss"].sel(samples=n).values
    error = found.std(ddof=1) / np.sqrt(SEEDS)
    assert abs(found.mean() - excess(n)) < 3 * error, (found.mean(), excess(n), error)
    others = [excess(k) for k in SIZES if k != n]
    assert min(abs(found.mean() - value) for value in others) > 3 * error, "a companion: it is not that of another n"


def test_fewer_samples_than_weights_are_interpolated_with_their_noise(fitted):
    few, many = fitted.sel(samples=4), fitted.sel(samples=20)
    assert float(few["train_loss"].max()) < 1e-20
    # E ½ mean residual² = σ²(1 − d/n)/2.
    train = many["train_loss"].values
    assert abs(train.mean() - 0.5 * NOISE**2 * (1 - d / 20)) < 3 * train.std() / np.sqrt(SEEDS)
    # The hat matrix takes a share d/n of the noise.
    fit = many["label_noise_fit"].values
    assert abs(fit.mean() - d / 20) < 4 * fit.std() / np.sqrt(SEEDS)


def test_the_curve_is_the_mean_of_logarithms_and_its_slope_is_paired(fitted):
    curve = analysis.learning_curve(fitted, "samples")
    logs = np.log(fitted["loss"].values)
    np.testing.assert_allclose(curve["mean"], np.exp(logs.mean(axis=-1)), rtol=1e-12)
    assert np.all((curve["low"] < curve["mean"]) & (curve["mean"] < curve["high"]))
    steps = (logs[1] - logs[0]) / np.log(20 / 4)
    assert float(curve["slope"][-1]) == pytest.approx(steps.mean(), rel=1e-12)
    half = 1.9659 * steps.std(ddof=1) / np.sqrt(SEEDS)  # the t-quantile of 399 degrees of freedom
    assert float(curve["slope_high"][-1] - curve["slope"][-1]) == pytest.approx(half, rel=1e-4)
    assert np.isnan(curve["slope"][0]) and curve["seeds"].values.tolist() == [SEEDS] * len(SIZES)


def replaced(ds, loss: np.ndarray):
    """Five sizes with these losses (size, seed)."""
    wide = ds.isel(samples=[0, 1, 0, 1, 0]).assign_coords(samples=[1, 2, 4, 8, 16])
    return wide.assign(loss=(("samples", "seed"), loss, ds["loss"].attrs))


def test_a_peak_is_found_where_there_is_one(fitted, rng):
    noise = np.exp(rng.normal(size=(5, SEEDS)))
    found = analysis.double_descent(replaced(fitted, noise * np.array([2.0, 1.0, 4.0, 3.0, 0.5])[:, None]), "samples")
    assert bool(found["is_double"]) and int(found["peak"]) == 4
    for name, ratio in (("rise", 4.0), ("fall", 8.0)):
        assert float(found[f"{name}_low"]) < np.log(ratio) < float(found[f"{name}_high"])
        assert float(found[name]) == pytest.approx(np.log(ratio), abs=0.3)
    falling = analysis.double_descent(replaced(fitted, noise * np.array([5.0, 4.0, 3.0, 2.0, 1.0])[:, None]), "samples")
    assert not bool(falling["is_double"])


def test_intervals_of_chosen_pairs_cover_where_there_is_no_peak(fitted, rng):
    """Five points of one mean, 60 times: Bonferroni finds a peak in at most 5% of them (here: less)."""
    some, wrong = fitted.isel(seed=slice(12)), 0
    for _ in range(60):
        flat = replaced(some, np.exp(rng.normal(size=(5, 12))))
        wrong += bool(analysis.double_descent(flat, "samples")["is_double"])
    assert wrong <= 3 + 3 * np.sqrt(3)


@pytest.mark.parametrize(
    ("along", "words"),
    [("width", r"along: got 'width', which is no axis; the axes are samples")],
)
def test_what_is_no_axis_is_refused(fitted, along, words):
    with pytest.raises(ValueError, match=words):
        analysis.learning_curve(fitted, along)
    with pytest.raises(ValueError, match="needs three or more"):
        analysis.double_descent(fitted, "samples")


def test_what_is_known_of_the_population_alone_is_refused_of_samples(fitted):
    ds = ens.run(least_squares(seeds=2, axes={}, store_weights=True, records=2, probes=["loss", "risk"]))
    with pytest.raises(ValueError, match="data: got members trained on samples; certificates are known of the"):
        analysis.certificates(ds, weight_decay=0.1)
    with pytest.raises(ValueError, match="data: got members trained on samples; optimality gaps are known of the"):
        analysis.optimality_gap(ds)
    assert not analysis.predictions(fitted).data_vars


def test_a_measure_that_is_not_positive_is_refused(fitted):
    none = fitted.assign(loss=fitted["loss"].where(fitted["seed"] > 2, 0.0).assign_attrs(fitted["loss"].attrs))
    for curve in (analysis.learning_curve, analysis.double_descent):
        with pytest.raises(
            ValueError, match=r"measure: got 'loss', which is 0 or less for 6 of 800 members; a geometric"
        ):
            curve(none, "samples")


def test_the_command_says_the_curve_and_its_peak(fitted, monkeypatch):
    rng = np.random.default_rng(3)
    rise = replaced(fitted, np.array([2.0, 1.0, 4.0, 3.0, 0.5])[:, None] * rng.lognormal(0.0, 0.1, (5, SEEDS)))
    monkeypatch.setattr(commands.curves, "opened", lambda *_: rise)
    said = called("analysis", "curve", "tests", "--along", "samples").stdout
    found, peak = analysis.learning_curve(rise, "samples"), analysis.double_descent(rise, "samples")
    assert f"{float(found['mean'][2]):.3g} [{float(found['low'][2]):.3g}, {float(found['high'][2]):.3g}]" in said
    last = said.splitlines()[-1]
    assert last.startswith(f"double descent: a peak at samples = {float(peak['peak']):g}, by a logarithm of ")
    assert f"{float(peak['rise']):.2f} [{float(peak['rise_low']):.2f}, {float(peak['rise_high']):.2f}] above" in last
    flat = replaced(fitted, np.array([5.0, 4.0, 3.0, 2.0, 1.0])[:, None] * rng.lognormal(0.0, 0.1, (5, SEEDS)))
    monkeypatch.setattr(commands.curves, "opened", lambda *_: flat)
    said = called("analysis", "curve", "tests", "--along", "samples").stdout
    assert said.splitlines()[-1] == "no peak along samples beyond doubt (simultaneous 95%)"
