"""Survival curves and rates: scipy's estimators as an independent path, intervals that cover, brackets that hold."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import analysis
import ensemble as ens
from analysis.times.kaplan_meier import Curve
from analysis.times.laws import laws
from analysis.times.survival import _log_rank
from tests.studies import heavy_tailed, small


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return ens.run(small(seeds=6))


def draw(runs: int, n: int, censored_by: float, key: int):
    """Exponential times of mean 1, censored at uniform times: (time, event, counted) of shape (run, n)."""
    generator = np.random.default_rng(key)
    time = generator.exponential(size=(runs, n))
    censoring = generator.uniform(0, censored_by, size=(runs, n)) if np.isfinite(censored_by) else np.inf
    return np.minimum(time, censoring), time <= censoring, np.ones((runs, n), bool)


def test_curve_and_test_equal_scipy():
    time, event, counted = draw(1, 60, 2.0, 0)
    time = np.ceil(time * 5)  # ties, between events and between both kinds
    curve = stats.ecdf(stats.CensoredData.right_censored(time[0], ~event[0])).sf
    ours, _, _ = Curve(time, event, counted).at(curve.quantiles, 0.95)
    np.testing.assert_allclose(ours[0], curve.probabilities, atol=1e-14)
    groups = np.arange(60) < 25
    by, happened, in_group = (np.zeros((2, 60), d) for d in (float, bool, bool))
    for g, mine in enumerate((groups, ~groups)):
        by[g, : mine.sum()], happened[g, : mine.sum()], in_group[g, : mine.sum()] = time[0][mine], event[0][mine], True
    theirs = stats.logrank(*(stats.CensoredData.right_censored(time[0][m], ~event[0][m]) for m in (groups, ~groups)))
    statistic, degrees, p_value = _log_rank(by, happened, in_group)
    assert statistic == pytest.approx(theirs.statistic**2, rel=1e-12)
    assert p_value == pytest.approx(theirs.pvalue, rel=1e-10) and degrees == 1


def test_restricted_mean_by_hand():
    # S = 1 to 1, 3/4 to 2, then the member at 3 is censored and S = 3/4·2/3 = 1/2 from 2 on; τ = 4.
    time = np.array([[1.0, 2.0, 3.0, 5.0]])
    curve = Curve(time, np.array([[True, True, False, True]]), np.ones((1, 4), bool))
    mean, low, high = curve.restricted_mean(4.0, 0.95)
    assert mean[0] == pytest.approx(1 + 0.75 + 2 * 0.5)
    # Of the time up to 4, events save 3 and 2 with probability 1/4 each: 5/4 in the mean, 13/4 in the mean square. An
    # event saves (13/4)/(5/4) weighted with itself, and 4 as one more beside the two: (2·13/5 + 4)/3.
    unit = (2 * 13 / 5 + 4) / 3
    # Greenwood: (area beyond 1)²/(4·3) + (area beyond 2)²/(3·2); one member's variance is 13/4 − (5/4)².
    size = (13 / 4 - (5 / 4) ** 2) / (1.75**2 / 12 + 1.0**2 / 6)
    expected = analysis.wilson(np.array(1.25 / unit * size), np.array(size))
    assert (float(4 - low[0]), float(4 - high[0])) == pytest.approx((unit * expected[1], unit * expected[0]))


@pytest.mark.parametrize(("n", "censored_by"), [(20, np.inf), (40, 1.6), (100, np.inf), (100, 1.6)])
def test_intervals_cover(n, censored_by):
    # 2 000 repetitions: the coverage's own standard error is 0.5%.
    time, event, counted = draw(2000, n, censored_by, n)
    curve = Curve(time, event, counted)
    _, low, high = curve.quantile(0.5, 0.95)
    assert 0.93 <= np.mean((low <= np.log(2)) & (np.log(2) <= high)) <= 0.97
    _, low, high = curve.at(np.array([0.3, 0.69]), 0.95)
    truth = np.exp(-np.array([0.3, 0.69]))
    assert np.all(np.abs(np.mean((low <= truth) & (truth <= high), axis=0) - 0.95) <= 0.02)
    mean, low, high = curve.restricted_mean(0.8, 0.95)
    truth = 1 - np.exp(-0.8)
    assert 0.93 <= np.mean((low <= truth) & (truth <= high)) <= 0.97
    # A fifth narrower would be seen: the test can fail.
    assert np.mean((mean - 0.8 * (mean - low) <= truth) & (truth <= mean + 0.8 * (high - mean))) < 0.93


@pytest.mark.parametrize(("n", "events"), [(12, 2), (12, 5), (12, 10), (20, 2), (20, 10), (40, 2), (40, 5), (40, 10)])
def test_restricted_means_cover_with_few_events(n, events):
    # So many events are expected up to the horizon 1; 4 000 repetitions, standard error 0.35%.
    rate = -np.log(1 - events / n)
    time = np.random.default_rng(n + events).exponential(1 / rate, size=(4000, n))
    mean, low, high = Curve(np.minimum(time, 1.0), time <= 1.0, np.ones(time.shape, bool)).restricted_mean(1.0, 0.95)
    truth = (1 - np.exp(-rate)) / rate
    assert 0.935 <= np.mean((low <= truth) & (truth <= high)) <= 0.975
    assert np.all((low <= mean) & (mean <= high) & (low >= 0.0) & (high <= 1.0))


def test_two_events_of_twelve_do_not_make_an_interval_of_everything():
    # The two events come late: ten members and the most of two others' time are known.
    time = np.array([[3000.0, 4000.0, *[6000.0] * 10]])
    mean, low, high = Curve(time, time < 6000, np.ones((1, 12), bool)).restricted_mean(6000.0, 0.95)
    assert mean[0] == pytest.approx(6000 - 5000 / 12)
    assert 3500 < low[0] < mean[0] < high[0] < 6000


@pytest.mark.parametrize("n", [20, 40, 100])
@pytest.mark.parametrize(("first", "last"), [(0.0, 1.6), (0.0, 1.0), (0.3, 1.1), (0.5, 0.9), (0.0, 0.8), (0.2, 0.75)])
def test_medians_cover_under_staggered_censoring(n, first, last):
    """Follow-up that ends at different times about the median, ln 2: the last members at risk are few there."""
    generator = np.random.default_rng([n, int(100 * first), int(100 * last)])
    time, end = generator.exponential(size=(2000, n)), generator.uniform(first, last, (2000, n))
    _, low, high = Curve(np.minimum(time, end), time <= end, np.ones((2000, n), bool)).quantile(0.5, 0.95)
    # Where hardly anybody is followed to the median, an interval may be wider than it need be.
    assert 0.935 <= np.mean((low <= np.log(2)) & (np.log(2) <= high))


def test_medians_cover_where_the_curve_reaches_zero():
    """The last member at risk has an event: of the others nothing is known beyond the time that they were followed."""
    generator = np.random.default_rng(8)
    time, end = generator.exponential(size=(60_000, 20)), generator.uniform(0.2, 0.75, (60_000, 20))
    event = time <= end
    last = np.take_along_axis(event, np.minimum(time, end).argmax(axis=1)[:, None], 1)[:, 0]
    curve = Curve(np.minimum(time, end)[last], event[last], np.ones((int(last.sum()), 20), bool))
    assert last.sum() > 200 and np.all(curve.survival[:, -1] == 0.0)
    _, low, high = curve.quantile(0.5, 0.95)
    assert 0.93 <= np.mean((low <= np.log(2)) & (np.log(2) <= high))


def test_log_rank_keeps_its_level():
    time, event, counted = draw(1000, 60, 2.0, 7)
    p = [_log_rank(*(x.reshape(3, 20) for x in row))[2] for row in zip(time, event, counted, strict=True)]
    assert 0.035 <= np.mean(np.array(p) < 0.05) <= 0.068


def test_survival_of_a_dataset(ds):
    result = analysis.survival(ds, "loss", below=0.3)
    times = analysis.time_below(ds, "loss", 0.3)["by"]
    steps = xr.DataArray(ds["step"].values.astype(float), dims="step")
    at_records = (times > steps).mean("seed")
    np.testing.assert_allclose(result["survival"].transpose(*at_records.dims), at_records)
    np.testing.assert_array_equal(result["never"], np.isinf(times).mean("seed"))
    low, high = analysis.wilson(6 * result["survival"].values, np.full(result["survival"].shape, 6.0))
    # Nobody is censored before the end, where the interval is Wilson's.
    np.testing.assert_allclose(result["survival_low"], low, atol=1e-12)
    np.testing.assert_allclose(result["survival_high"], high, atol=1e-12)
    median = result["median"]
    np.testing.assert_array_equal(median, analysis.quantiles(times, (0.5,))["value"].isel(quantile=0))
    for name in ("median", "mean", "never"):
        assert bool((result[f"{name}_low"] <= result[name]).all() and (result[name] <= result[f"{name}_high"]).all())
    assert bool((result["median_after"] <= median).all() and (result["mean_after"] <= result["mean"]).all())
    assert result.attrs["event"] == "loss ≤ 0.3 for good" and result.attrs["horizon"] == 60


def test_never_reached_is_said_not_hidden(ds):
    result = analysis.survival(ds, "loss", below=1e-9)
    assert bool(np.isinf(result["median"]).all() and np.isinf(result["median_high"]).all())
    np.testing.assert_array_equal(result["never"], 1.0)
    np.testing.assert_array_equal(result["events"], 0)
    # All six were followed to the end: Wilson's interval of 6 of 6.
    low, _ = analysis.wilson(np.array(6), np.array(6))
    np.testing.assert_allclose(result["never_low"], low)
    np.testing.assert_array_equal(result["median_low"], np.inf)
    assert np.isnan(analysis.log_rank(ds, "separation", "loss", below=1e-9)["p_value"]).all()


def test_diverged_and_stopped_members_never_converge(ds):
    changed = ds.copy(deep=True)
    changed["status"].values[0, 0] = [ens.STATUS[s] for s in ("diverged", "converged", "not_run", *["max_steps"] * 3)]
    changed["loss_history"].values[0, 0] = 1.0
    changed["loss_history"].values[0, 0, 3, 4:] = 0.1
    cell = analysis.survival(changed, "loss", below=0.3).isel(weight_decay=0, separation=0)
    assert (int(cell["seeds"]), int(cell["events"]), int(cell["censored"])) == (5, 1, 2)
    # Three are followed beyond the censoring at step 60: diverged and stopped elsewhere count as 1 there.
    assert float(cell["never"]) == pytest.approx(4 / 5)


def test_lazy_datasets_stay_lazy(ds, tmp_path):
    ds.to_netcdf(tmp_path / "x.nc")
    with xr.open_dataset(tmp_path / "x.nc", chunks={"seed": 2}) as lazy:
        found = analysis.survival(lazy, "loss", below=0.3)
        assert found["survival"].chunks
        xr.testing.assert_allclose(found.load(), analysis.survival(ds, "loss", below=0.3))
        xr.testing.assert_allclose(analysis.rates(lazy, "loss").load(), analysis.rates(ds, "loss"))


def test_stop_rules_have_survival_curves():
    ruled = ens.run(heavy_tailed(seeds=12))
    result = analysis.survival(ruled)
    assert float(result["median"]) == np.sort(ruled["stop_step"].values)[5]
    assert float(result["never"]) == float((ruled["status"] != ens.STATUS["converged"]).mean())


def test_rates_find_the_law(ds):
    steps = ds["step"].values.astype(float)
    changed = ds.copy(deep=True)
    noise = np.exp(0.01 * np.random.default_rng(0).standard_normal(changed["loss_history"].shape))
    changed["loss_history"].values[:] = np.exp(-0.07 * steps) * noise
    changed["loss_history"].values[1] = (np.maximum(steps, 1.0) ** -1.5) * noise[1]
    result = analysis.rates(changed, "loss")
    np.testing.assert_array_equal(result["exponential"].values, [[1.0] * 3, [0.0] * 3])
    told = result["law_share"].sel(verdict=["exponential", "power law"]).transpose("verdict", ...).values
    np.testing.assert_array_equal(told, [[[1.0] * 3, [0.0] * 3], [[0.0] * 3, [1.0] * 3]])
    assert set(np.unique(result["law"])) == {"exponential", "power law"}
    assert (result["begin"] == 1).all() and float(result["law_share_low"].sel(verdict="neither").max()) == 0.0
    np.testing.assert_allclose(result["rate"].values[0], 0.07, rtol=0.02)
    np.testing.assert_allclose(result["exponent"].values[1], 1.5, rtol=0.02)
    assert np.all(np.abs(result["evidence"]) > 5)
    # A window with too few records gives no fit.
    assert int(analysis.rates(changed, "loss", after=50)["seeds"].max()) == 0


def test_exponents_cover():
    # Independent noise on the logarithm, 25 seeds a run: the order-statistic interval of the median exponent.
    generator = np.random.default_rng(3)
    steps = np.unique(np.geomspace(1, 1e4, 20).round())
    own = 0.8 + 0.05 * generator.standard_normal(2000 * 25)
    y = -own[:, None] * np.log(steps) + 0.1 * generator.standard_normal((2000 * 25, len(steps)))
    found = laws(np.broadcast_to(steps, y.shape), y, np.ones(y.shape, bool)).exponent.reshape(2000, 25)
    found = analysis.quantiles(xr.DataArray(found, dims=("run", "seed")), (0.5,)).isel(quantile=0)
    # With 25 seeds the order statistics 8 and 18 cover with 95.7%.
    assert 0.945 <= float(((found["low"] <= 0.8) & (0.8 <= found["high"])).mean()) <= 0.97


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda d: analysis.survival(d, "loss"), "give both, or none"),
        (lambda d: analysis.survival(d, "colour", below=1.0), "got 'colour'.*it has loss"),
        (lambda d: analysis.survival(d.drop_vars("loss_history"), "loss", below=1.0), "no history was recorded"),
        (lambda d: analysis.log_rank(d, "width", "loss", below=1.0), "along: got 'width'.*weight_decay, separation"),
        (lambda d: analysis.log_rank(d.isel(separation=[0]), "separation"), "has one value"),
        (lambda d: analysis.rates(d, "recovery_error"), "a value for every teacher_neuron"),
    ],
)
def test_errors_say_what_there_is(ds, call, match):
    with pytest.raises(ValueError, match=match):
        call(ds)
