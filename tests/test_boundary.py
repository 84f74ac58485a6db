"""Boundaries: Firth's fit against its own equations, bands that cover, columns without a boundary."""

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import minimize

import analysis
import ensemble as ens
from analysis.boundaries.boundary import fit_columns
from analysis.boundaries.firth import logistic
from analysis.statistics import expanded_tail, paired_difference
from tests.studies import small

LEVELS = np.linspace(0.0, 1.0, 8)


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return ens.run(small(seeds=6))


def flags(probability: np.ndarray, seeds: int, generator: np.random.Generator, common: bool) -> np.ndarray:
    """Successes (column, y, seed): independent, or one uniform number a seed, which all its cells share."""
    shape = (1, 1, seeds) if common else (1, len(probability), seeds)
    return generator.random(shape) < probability[None, :, None]


def test_firth_maximises_the_penalised_likelihood():
    at = np.array([-1.0, -0.2, 0.5, 1.0])
    # The second has no maximum without the penalty.
    for wins in np.array([[1.0, 3.0, 6.0, 9.0], [0.0, 0.0, 10.0, 10.0]]):
        trials = np.full(4, 10.0)

        def negative(b, wins=wins, trials=trials):
            p = 1 / (1 + np.exp(-(b[0] + b[1] * at)))
            w = trials * p * (1 - p)
            information = np.array([[w.sum(), w @ at], [w @ at, w @ at**2]])
            likelihood = wins @ np.log(p) + (trials - wins) @ np.log1p(-p)
            return -(likelihood + 0.5 * np.linalg.slogdet(information)[1])

        best = minimize(negative, [0.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-13}).x
        b0, b1 = logistic(at, wins[None], trials[None])
        assert [b0[0], b1[0]] == pytest.approx(best, abs=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("common", [False, True])
def test_band_covers(common):
    # 1 000 repetitions, standard error 0.7%; other curves and numbers of seeds in tests/validation.
    generator = np.random.default_rng(5)
    probability = 1 / (1 + np.exp(-8 * (LEVELS - 0.47)))
    inside = np.concatenate([flags(probability, 20, generator, common) for _ in range(1000)])
    fit = fit_columns(LEVELS, np.broadcast_to(inside, (1000, 8, 20)), np.ones((1000, 8, 20), bool))
    covered = (fit["low"] <= 0.47) & (0.47 <= fit["high"])
    # Wider by what local curves say beside the whole column's, and not by more.
    assert 0.92 <= np.mean(covered) <= 0.985
    assert np.mean(np.clip(fit["high"], 0, 1) - np.clip(fit["low"], 0, 1)) < (0.26 if common else 0.2)


# Curves over y with the places where they pass one half.
PLATEAU = (lambda y: 0.05 + 0.8 / (1 + np.exp(-15 * (y - 0.4))), [0.4 + np.log(0.45 / 0.4) / 15])
SKEWED = (lambda y: 1 - 2 ** -np.exp(6 * (y - 0.47)), [0.47])
HUMP = (lambda y: 0.05 + 0.9 * (1 / (1 + np.exp(-18 * (y - 0.25))) - 1 / (1 + np.exp(-18 * (y - 0.75)))), [0.25, 0.75])


# A plateau close to one half, and two steps of which the second is sharp between two cells.
LOW = (lambda y: 0.05 + 0.55 / (1 + np.exp(-20 * (y - 0.45))), [0.45 + np.log(0.45 / 0.1) / 20])
STEPS = (lambda y: 0.4 / (1 + np.exp(-30 * (y - 0.25))) + 0.6 / (1 + np.exp(-30 * (y - 0.7))), [0.646353])


@pytest.mark.parametrize(("curve", "places"), [LOW, STEPS])
def test_a_curve_that_fits_by_chance_is_not_believed_alone(curve, places):
    """Covered 0.72 and 0.63 where a whole column's curve was taken alone, and a local one through two cells."""
    for seeds in (10, 40):
        inside = np.random.default_rng(seeds).random((100, 8, seeds)) < curve(LEVELS)[None, :, None]
        fit = fit_columns(LEVELS, inside, np.ones_like(inside))
        # 100 repetitions, standard error 2.2%: docs/analysis.md has what 300 say.
        assert ((fit["low"] <= places[0]) & (places[0] <= fit["high"])).mean() >= 0.84


@pytest.mark.parametrize(("curve", "places"), [PLATEAU, SKEWED, HUMP])
def test_the_crossing_is_covered_whatever_the_curve(curve, places):
    """More seeds do not make it worse: a fit's midpoint is elsewhere (covered 0.59 with 20 seeds, 0.30 with 40)."""
    for seeds in (10, 40):
        inside = np.random.default_rng(seeds).random((150, 8, seeds)) < curve(LEVELS)[None, :, None]
        fit = fit_columns(LEVELS, inside, np.ones_like(inside))
        for place in places:
            there = (fit["crossing_low"] <= place) & (place <= fit["crossing_high"])
            # 150 repetitions, standard error 1.8%: three of them below 95%.
            assert there.any(axis=1).mean() >= 0.95 - 3 * 0.018
            assert ((fit["low"] <= place) & (place <= fit["high"])).mean() >= 0.95 - 3 * 0.018


def test_several_crossings_are_said():
    inside = np.random.default_rng(2).random((1, 8, 40)) < HUMP[0](LEVELS)[None, :, None]
    fit = fit_columns(LEVELS, inside, np.ones_like(inside))
    assert fit["crossings"][0] == 2 and np.isnan(fit["place"][0])
    assert fit["low"][0] < 0.25 < 0.75 < fit["high"][0] and not fit["fit"][0].startswith("logistic")
    low, high = fit["crossing_low"][0], fit["crossing_high"][0]
    assert low[0] < 0.25 < high[0] < low[1] < 0.75 < high[1]


def test_a_whole_column_s_curve_is_taken_where_it_fits():
    def whole(curve):
        inside = np.random.default_rng(2).random((100, 8, 40)) < curve(LEVELS)[None, :, None]
        fit = fit_columns(LEVELS, inside, np.ones_like(inside))
        assert (fit["crossings"][np.isin(fit["fit"], ["logistic", "cloglog", "loglog"])] == 1).all()
        return np.isin(fit["fit"], ["logistic", "cloglog", "loglog"]).mean()

    # A fit is left at p < 0.5: in half of the columns where it is the only one that is right, and any of three will do.
    assert whole(lambda y: 1 / (1 + np.exp(-8 * (y - 0.47)))) > 0.5
    assert whole(PLATEAU[0]) < 0.15


def test_firth_converges_where_a_step_overshoots():
    # Two places: Firth's fit adds half a member to either side, so that logits are ln(3/1) and ln(9/15).
    at, wins, trials = np.array([-0.41160767, 0.77922952]), np.array([[1.0, 4.0]]), np.array([[1.0, 11.0]])
    b0, b1 = logistic(at, wins, trials)
    np.testing.assert_allclose(b0 + b1 * at, np.log([3.0, 4.5 / 7.5]), atol=1e-8)
    assert (b0[0], b1[0]) == pytest.approx((0.542, -1.352), abs=1e-3)
    # A jump between the first two of 129 levels, where 0 of 20 succeed at the first, and sharp columns on 33.
    fine = np.linspace(-1, 1, 129)
    b0, b1 = logistic(fine, np.where(fine > -1, 20.0, 0.0)[None], np.full((1, 129), 20.0))
    assert -1 < -b0[0] / b1[0] < -1 + 1 / 64 and b1[0] > 100
    generator = np.random.default_rng(0)
    at = np.linspace(-1, 1, 33)
    place, slope = generator.uniform(-1, 1, (100, 1)), generator.uniform(1, 400, (100, 1))
    wins = generator.binomial(20, 1 / (1 + np.exp(-np.clip(slope * (at - place), -50, 50)))).astype(float)
    b0, b1 = logistic(at, wins, np.full(wins.shape, 20.0))
    p = 1 / (1 + np.exp(-(b0[:, None] + b1[:, None] * at)))
    w = 20 * p * (1 - p)
    own = at - (w @ at / w.sum(axis=1))[:, None]
    h = w * (1 / w.sum(axis=1)[:, None] + own**2 / (w * own**2).sum(axis=1)[:, None])
    residual = wins - 20 * p + h * (0.5 - p)
    # The score of Firth's likelihood, in standard errors: at its maximum it is 0.
    assert np.abs(residual.sum(axis=1) / np.sqrt(w.sum(axis=1))).max() < 1e-6
    assert np.abs((residual * own).sum(axis=1) / np.sqrt((w * own**2).sum(axis=1))).max() < 1e-6
    # One place says nothing of a slope.
    assert np.isnan(logistic(np.array([0.0, 1.0]), np.array([[2.0, 0.0]]), np.array([[4.0, 0.0]]))).all()


def test_the_scale_is_the_axis_s_own():
    study = small(axes={"weight_decay": [0.01, 0.02, 0.05, 0.1, 0.2], "separation": [0.4, 0.8]}, max_steps=5)
    ds = ens.run(study)
    whole = analysis.boundary(ds, "separation", "weight_decay", "loss", 0.02)
    part = analysis.boundary(ds.isel(weight_decay=[0, 4]), "separation", "weight_decay", "loss", 0.02)
    assert whole.attrs["scale"] == part.attrs["scale"] == "log"
    said = analysis.boundary(ds, "separation", "weight_decay", "loss", 0.02, scale="linear")
    assert said.attrs["scale"] == "linear"
    ds["weight_decay"].attrs["scale"] = "linear"
    assert analysis.boundary(ds, "separation", "weight_decay", "loss", 0.02).attrs["scale"] == "linear"
    with pytest.raises(ValueError, match="scale: got 'cubic'; it is log or linear"):
        analysis.boundary(ds, "separation", "weight_decay", "loss", 0.02, scale="cubic")


def test_separated_columns_say_only_between_which_cells():
    sharp = (LEVELS > 0.5)[None, :, None] & np.ones((1, 8, 12), bool)
    fit = fit_columns(LEVELS, sharp, np.ones_like(sharp))
    assert fit["low"][0] == pytest.approx(LEVELS[3], abs=0.005) and fit["high"][0] == pytest.approx(
        LEVELS[4], abs=0.005
    )
    assert fit["place"][0] == pytest.approx(0.5, abs=1e-6)


def test_columns_without_a_boundary_and_falling_ones():
    one = np.ones((3, 8, 12), bool)
    never, always = ~one, one
    inside = np.stack([never[0], always[0], np.broadcast_to((LEVELS > 0.4)[:, None], (8, 12))])
    fit = fit_columns(LEVELS, inside, one)
    assert fit["place"][:2].tolist() == [np.inf, -np.inf]
    assert fit["low"][0] == np.inf and fit["high"][1] == -np.inf
    falling = fit_columns(LEVELS, ~inside, one)
    assert falling["place"][2] == pytest.approx(fit["place"][2]) and falling["slope"][2] == pytest.approx(
        -fit["slope"][2]
    )
    # Success towards small y: where none is, the boundary lies below the grid.
    assert falling["place"][:2].tolist() == [np.inf, -np.inf]


def test_boundary_of_a_dataset(ds):
    changed = ds.copy(deep=True)
    changed["loss"].values[:] = 1.0
    changed["loss"].values[1, 2] = 0.0  # only λ = 0.05, Δ = 1.2 is below
    result = analysis.boundary(changed, "weight_decay", "separation", "loss", 0.02)
    assert result["boundary"].dims == ("weight_decay",)
    assert float(result["boundary"][0]) == np.inf and float(result["band_width"][0]) == 0.0
    assert 0.8 < float(result["boundary"][1]) < 1.2 and 0.38 < float(result["band_width"][1]) <= 0.4
    assert result["seeds"].values.tolist() == [18, 18] and result.attrs["scale"] == "linear"
    # Members without a result do not count: a cell that was not run says nothing.
    changed["status"].values[1, 2] = ens.STATUS["not_run"]
    assert float(analysis.boundary(changed, "weight_decay", "separation", "loss", 0.02)["boundary"][1]) == np.inf


def test_small_samples_have_wider_bands():
    assert expanded_tail(10, 0.95) < expanded_tail(100, 0.95) < 0.025
    assert expanded_tail(10**6, 0.95) == pytest.approx(0.025, rel=1e-4)


def test_order_parameter_and_small_multiples(ds):
    result = analysis.order_parameter(ds, "weight_decay", "separation", "max_angle", 0.5)
    middle = np.sort(ds["max_angle"].values, axis=-1)[..., 2].T
    np.testing.assert_array_equal(result["value"], middle)
    assert bool((result["low"] <= result["value"]).all()) and result.attrs["quantile"] == 0.5
    stacked = xr.concat([ds.isel(weight_decay=i) for i in (0, 1)], "weight_decay").expand_dims(width=[4, 8])
    many = analysis.phase(stacked, "weight_decay", "separation", "loss", 0.02, over="width")
    assert many["share"].dims == ("width", "separation", "weight_decay")


def test_paired_difference_by_hand_and_coverage():
    # Newcombe 1998, table II, example 1: 36, 12, 2, 0 of 50 give 0.2 with [0.0569, 0.3404].
    theta, low, high, _ = paired_difference(36, 12, 2, 0)
    assert (float(theta), float(low), float(high)) == pytest.approx((0.2, 0.0569, 0.3404), abs=5e-5)
    generator = np.random.default_rng(1)
    counts = generator.multinomial(40, [0.45, 0.2, 0.1, 0.25], size=2000).T
    theta, low, high, unpaired = paired_difference(*counts)
    assert 0.93 <= np.mean((low <= 0.1) & (0.1 <= high)) <= 0.97
    assert np.mean(high - low) < 2 * np.mean(unpaired)


def test_difference_pairs_common_seeds(ds):
    other = ds.isel(seed=slice(1, None)).copy(deep=True)
    other["loss"].values[:] = 1.0
    found = analysis.difference(ds, other, "loss", 0.5)
    np.testing.assert_array_equal(found["pairs"], 5)
    np.testing.assert_allclose(found["difference"], -(ds["loss"] < 0.5).isel(seed=slice(1, None)).mean("seed"))
    same = analysis.difference(ds, ds, "loss", 0.1)
    np.testing.assert_array_equal(same["difference"], 0.0)
    np.testing.assert_array_equal(same["p_value"], 1.0)
    inner = (ds["loss"] < 0.1).mean("seed")
    mixed = (inner > 0.3) & (inner < 0.7)
    assert bool((same["half_width"] < same["unpaired_half_width"]).where(mixed, True).all())


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda d: analysis.boundary(d, "weight_decay", "width", "loss", 1),
            "y: got 'width'.*weight_decay, separation",
        ),
        (lambda d: analysis.boundary(d, "weight_decay", "separation", "colour", 1), "got 'colour'"),
        (lambda d: analysis.boundary(d.isel(seed=[0]), "weight_decay", "separation", "loss", 1), "one seed a cell"),
        (lambda d: analysis.boundary(d.isel(separation=[0]), "weight_decay", "separation", "loss", 1), "two numbers"),
        (lambda d: analysis.order_parameter(d, "weight_decay", "separation", "loss", 1.5), "q: got 1.5"),
        (lambda d: analysis.difference(d, d.isel(separation=0), "loss", 1), "compare like with like"),
        (lambda d: analysis.difference(d, d.isel(seed=[]), "loss", 1), "no cell or seed"),
    ],
)
def test_errors_say_what_there_is(ds, call, match):
    with pytest.raises(ValueError, match=match):
        call(ds)
