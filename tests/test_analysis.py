"""Analysis: statistics against scipy, reductions against datasets whose answers are known."""

import matplotlib.image
import numpy as np
import pytest
import xarray as xr
from scipy.stats import binom, binomtest

import analysis
import ensemble as ens
from analysis.plots import save
from analysis.plots.style import axis_positions
from analysis.selection import is_log_spaced
from tests.studies import heavy_tailed, small


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return ens.run(small(seeds=6, records=20))


def test_wilson_against_scipy():
    for n in (1, 7, 50):
        for k in range(n + 1):
            low, high = analysis.wilson(np.array(k), np.array(n))
            exact = binomtest(k, n).proportion_ci(method="wilson")
            assert low == pytest.approx(exact.low, abs=1e-14) and high == pytest.approx(exact.high, abs=1e-14)
    assert [float(v) for v in analysis.wilson(np.array(0), np.array(0))] == [0.0, 1.0]


def test_wilson_covers():
    # Coverage of a discrete share jumps with p; its mean over p, summed exactly over the binomial, is near 95%.
    for n in (10, 30, 100):
        k, p = np.arange(n + 1)[:, None], np.linspace(0.02, 0.98, 97)[None, :]
        low, high = analysis.wilson(k, np.full_like(k, n))
        coverage = (binom.pmf(k, n, p) * ((low <= p) & (p <= high))).sum(axis=0)
        assert 0.945 < coverage.mean() < 0.962


def test_quantiles_are_order_statistics_whose_intervals_cover():
    draws = np.random.default_rng(2).exponential(size=(4000, 25))
    result = analysis.quantiles(xr.DataArray(draws, dims=("run", "seed")), (0.5, 0.9))
    np.testing.assert_array_equal(result["value"].sel(quantile=0.5), np.sort(draws, axis=1)[:, 12])
    for q in (0.5, 0.9):
        truth = -np.log(1 - q)
        at = result.sel(quantile=q)
        # Order-statistic intervals cover with at least the nominal level; the run's own error is 0.0035.
        assert np.mean((at["low"] <= truth) & (truth <= at["high"])) > 0.94
    assert bool((result["low"] < result["high"]).all())


def test_quantiles_with_infinite_times_and_excluded_members():
    times = xr.DataArray([[1.0, 2.0, 3.0, np.inf, np.inf]], dims=("cell", "seed"))
    result = analysis.quantiles(times, (0.5, 0.9))
    assert result["value"].values.tolist() == [[3.0, np.inf]]
    among = xr.DataArray([[True, True, True, False, False]], dims=("cell", "seed"))
    assert analysis.quantiles(times, (0.9,), among)["value"].item() == 3.0
    none = analysis.quantiles(times, (0.5,), xr.zeros_like(among))
    assert np.isnan(none["value"].item()) and int(none["seeds"].item()) == 0


def with_history(ds: xr.Dataset, values: np.ndarray, stop: int = 60) -> xr.Dataset:
    """The dataset's first seeds and cell with a history of `max_angle` as given (one row a seed)."""
    one = ds.isel(weight_decay=[0], separation=[0], seed=slice(len(values))).load().copy(deep=True)
    records = one.sizes["record"]
    assert values.shape[1] == records
    one["max_angle_history"].values[0, 0] = values
    one["max_angle"].values[0, 0] = values[:, -1]
    one["stop_step"].values[:] = stop
    return one


def test_time_below_is_the_first_record_from_which_it_stays(ds):
    steps = ds["step"].values
    records = len(steps)
    values = np.ones((4, records))
    values[0, 5:] = 0.01
    values[1, 5] = 0.01  # below once, but not for good
    values[2, :] = 0.01
    values[3, records - 1] = 0.02  # exactly at the tolerance, at the end
    result = analysis.time_below(with_history(ds, values), "max_angle", 0.02).isel(weight_decay=0, separation=0)
    assert result["by"].values.tolist() == [steps[5], np.inf, 0.0, 60.0]
    assert result["after"].values.tolist() == [steps[4], 60.0, 0.0, steps[-2]]
    assert result["below"].values.tolist() == [True, False, True, True]


def test_time_below_in_lazy_datasets(ds, tmp_path):
    ds.to_netcdf(tmp_path / "x.nc")
    with xr.open_dataset(tmp_path / "x.nc", chunks={}) as lazy:
        for measure, below in (("loss", 0.3), ("recovery_error", 0.8)):
            ours = analysis.time_below(lazy, measure, below)
            xr.testing.assert_identical(ours.load(), analysis.time_below(ds, measure, below))


def test_stopping_time_is_infinite_without_a_rule(ds):
    assert bool(np.isinf(analysis.stopping_time(ds)).all())
    ruled = ens.run(heavy_tailed(seeds=3))
    np.testing.assert_array_equal(analysis.stopping_time(ruled), ruled["stop_step"])


def test_phase_counts_members(ds):
    result = analysis.phase(ds, "weight_decay", "separation", "loss", 0.02)
    expected = (ds["loss"] < 0.02).mean("seed").transpose("separation", "weight_decay")
    np.testing.assert_array_equal(result["share"], expected)
    assert set(np.unique(result["seeds"])) == {6}
    low, high = analysis.wilson(6 * expected.values, np.full(expected.shape, 6))
    np.testing.assert_allclose(result["low"], low)
    np.testing.assert_allclose(result["half_width"], (high - low) / 2)


def test_diverged_members_are_not_below_and_unfinished_do_not_count(ds):
    changed = ds.copy(deep=True)
    changed["status"].values[0, 0, :2] = ens.STATUS["diverged"]
    changed["status"].values[0, 0, 2] = ens.STATUS["not_run"]
    result = analysis.phase(changed, "weight_decay", "separation", "loss", np.inf)
    assert float(result["share"][0, 0]) == pytest.approx(3 / 5)
    assert int(result["seeds"][0, 0]) == 5


def test_marginal_pools_the_other_axes(ds):
    result = analysis.marginal(ds, "weight_decay", "loss", 0.02)
    np.testing.assert_allclose(result["share"], (ds["loss"] < 0.02).mean(("separation", "seed")))
    assert result["seeds"].values.tolist() == [18, 18]


def test_minima_groups_losses(ds):
    changed = ds.isel(weight_decay=[0], separation=[0]).copy(deep=True)
    changed["status"].values[:] = ens.STATUS["converged"]
    changed["loss"].values[0, 0] = [1e-16, -2e-15, 0.25, 0.25 + 1e-9, 0.7, np.inf]
    changed["status"].values[0, 0, 5] = ens.STATUS["diverged"]
    result = analysis.minima(changed).isel(weight_decay=0, separation=0)
    assert result["count"].values.tolist() == [2, 2, 1]
    assert result["is_global"].values.tolist() == [True, False, False]
    assert result["loss"].values[1:].tolist() == pytest.approx([0.25, 0.7], rel=1e-8)
    assert result["share"].values.tolist() == pytest.approx([2 / 6, 2 / 6, 1 / 6])
    low, high = analysis.wilson(np.array(2), np.array(6))
    assert float(result["low"][0]) == pytest.approx(float(low)) and float(result["high"][0]) == pytest.approx(
        float(high)
    )
    # A tolerance too fine to be met by rounding splits what belongs together.
    assert analysis.minima(changed, relative=1e-12, absolute=1e-30).sizes["family"] == 5
    assert analysis.spurious(changed)["share"].item() == pytest.approx(3 / 5)


def test_summary_has_every_statistic_with_seeds_and_intervals(ds):
    result = analysis.summary(ds, "loss", 0.3)
    assert set(np.unique(result["seeds"])) == {6}
    np.testing.assert_array_equal(result["status_share"].sel(outcome="max_steps"), 1.0)
    np.testing.assert_allclose(result["status_share"].sum("outcome"), 1.0)
    np.testing.assert_array_equal(result["loss"].sel(quantile=0.5), np.sort(ds["loss"], axis=-1)[..., 2])
    for name in ("status_share", "loss", "max_angle", "time", "censored"):
        assert bool((result[f"{name}_low"] <= result[name]).all()) and bool(
            (result[name] <= result[f"{name}_high"]).all()
        )
    censored = np.isinf(analysis.time_below(ds, "loss", 0.3)["by"]).mean("seed")
    np.testing.assert_allclose(result["censored"], censored)


def test_alignment_over_records_and_stages(ds):
    over = analysis.trajectory(ds, "mean_angle", (0.5,))
    assert over["value"].dims == ("weight_decay", "separation", "record", "quantile")
    at_end = analysis.by_stage(ds, "mean_angle", (0.5,)).sel(stage="local")
    np.testing.assert_array_equal(at_end["value"], over["value"].isel(record=-1))
    share = analysis.recovered(ds, below=np.pi)["share"]
    np.testing.assert_array_equal(share, 1.0)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda d: analysis.phase(d, "weight_decay", "separation", "colour", 1), "got 'colour'.*it has loss"),
        (lambda d: analysis.phase(d, "width", "separation", "loss", 1), "x: got 'width'.*weight_decay, separation"),
        (lambda d: analysis.phase(d, "separation", "separation", "loss", 1), "take different ones"),
        (lambda d: analysis.phase(d.expand_dims(z=[1, 2]), "separation", "weight_decay", "loss", 1), "'z' is open"),
        (lambda d: analysis.phase(d, "separation", "weight_decay", "loss", 1, {"q": 1}), "at: got the axis 'q'"),
        (lambda d: analysis.time_below(d.drop_vars("loss_history"), "loss", 1), "no history was recorded"),
        (lambda d: analysis.time_below(d, "loss", 0.0), "tolerance must be positive"),
        (lambda d: analysis.minima(d, relative=0.0), "both must be positive"),
    ],
)
def test_errors_say_what_there_is(ds, call, match):
    with pytest.raises(ValueError, match=match):
        call(ds)


def test_log_axes_are_recognised_and_zero_has_a_place():
    assert is_log_spaced(np.array([0.0, 0.001, 0.003, 0.01, 0.03, 0.1]))
    assert not is_log_spaced(np.linspace(0.1, 1.2, 8))
    assert not is_log_spaced(np.arange(6, 21))
    centres, edges, logarithmic = axis_positions(xr.DataArray([0.0, 0.01, 0.1, 1.0], dims="x"))
    assert logarithmic
    np.testing.assert_allclose(centres, [-3.5, -2, -1, 0])
    assert len(edges) == 5 and np.all(np.diff(edges) > 0)


def test_phase_picture_is_a_picture(ds, tmp_path):
    result = analysis.phase(ds, "weight_decay", "separation", "loss", 0.02)
    for name in ("map.png", "map.pdf"):
        save(analysis.phase_picture(result), tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000
    image = matplotlib.image.imread(tmp_path / "map.png")
    # A paper's text width at 200 dpi, and not one colour.
    assert image.shape[1] > 1200 and image[..., :3].std() > 0.1
    figure = analysis.phase_picture(result)
    titles = [ax.get_title() for ax in figure.axes]
    assert any("share of seeds with loss < 0.02" in t for t in titles) and any("6 seeds a cell" in t for t in titles)
    with pytest.raises(ValueError, match=r"got 'map\.xyz'"):
        save(figure, tmp_path / "map.xyz")
