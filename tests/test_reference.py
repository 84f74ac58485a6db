"""Reference optimum and scaling: the worked example, inequalities between bounds, exponents that are known."""

import warnings

import numpy as np
import pytest

import analysis
import ensemble as ens
from analysis.members import applied_decay
from analysis.two_layer.scaling import exponents
from tests.studies import small


def planar(angles: list[float], a: list[float], sigma: str = "abs_centred") -> ens.TwoLayer:
    return ens.TwoLayer(a, np.stack([np.cos(angles), np.sin(angles)], axis=1), sigma)


def test_the_worked_example():
    # theory.md §4: three teachers at 0, 0.9 and 1.9 rad, λ = 0.01.
    teacher = planar([0.0, 0.9, 1.9], [1.0, -1.0, 1.5])
    found = analysis.reference_optimum(teacher, weight_decay=0.01)
    assert found.risk == pytest.approx(0.0331907883537, abs=1e-12)
    # The gap is of first order in the last digits of L-BFGS, the risk of second.
    assert 0 <= found.risk - found.bound < 1e-8
    certified = analysis.duality_gap(found.network, teacher, weight_decay=0.01)
    assert float(certified.certificate_max) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("key", "reached"), [(0, False), (1, True)])
def test_the_tolerance_is_reached_or_the_bracket_said(key, reached):
    # L-BFGS alone left relative gaps of 1e-8 and more silently: of first order in the last digits of weights.
    generator = np.random.default_rng(key)
    W = generator.standard_normal((3, 3))
    signs = generator.choice([-1.0, 1.0], 3)
    teacher = ens.TwoLayer(signs, W / np.linalg.norm(W, axis=1, keepdims=True), "abs_centred")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = analysis.reference_optimum(teacher, weight_decay=0.03)
    assert found.risk - found.bound > -1e-14
    assert (found.risk - found.bound <= 1e-10 * found.risk) == (not said)
    assert not said if reached else "is known to lie in" in str(said[0].message)


def test_a_bracket_that_stays_open_is_said():
    with pytest.warns(
        analysis.ReferenceWarning, match=r"tolerance: got 1e-17, .* is known to lie in \[0\.0331907.*, 0\.0331907"
    ) as said:
        found = analysis.reference_optimum(
            planar([0.0, 0.9, 1.9], [1.0, -1.0, 1.5]), weight_decay=0.01, tolerance=1e-17
        )
    assert isinstance(found, analysis.Reference) and found.bound < found.risk
    assert len(said) == 1 and said[0].filename == __file__


def test_atoms_are_added_where_the_teacher_s_own_are_not_enough():
    # At a large λ two near teachers of one sign are best fitted by one neuron between them.
    teacher = planar([0.0, 0.3], [1.0, 1.0], "relu")
    found = analysis.reference_optimum(teacher, weight_decay=0.2)
    assert found.risk - found.bound < 1e-7
    assert analysis.reference_optimum(teacher, weight_decay=0.0).risk == 0.0
    # Beyond the largest correlation nothing is worth its price.
    nothing = analysis.reference_optimum(teacher, weight_decay=5.0)
    assert nothing.risk == pytest.approx(float(ens.population_loss(ens.TwoLayer([0.0], [[0.0, 0.0]], "relu"), teacher)))
    with pytest.raises(ValueError, match=r"weight_decay: got -0\.1"):
        analysis.reference_optimum(teacher, weight_decay=-0.1)


@pytest.fixture(scope="module")
def ds():
    axes = {"weight_decay": [0.0, 0.05], "separation": [0.8]}
    return ens.run(small(seeds=3, axes=axes, records=20, max_steps=60))


def test_optimality_gap_of_records(ds):
    found = analysis.optimality_gap(ds)
    steps = ds["step"].values
    # 0.05, halved after 20 and 40 steps; the last record repeats the last step's.
    expected = 0.05 / 2 ** np.minimum(steps // 20, 2)
    np.testing.assert_array_equal(found["applied_decay"].isel(weight_decay=1, separation=0, seed=0), expected)
    np.testing.assert_array_equal(found["applied_decay"].isel(weight_decay=0), 0.0)
    assert bool((found["zeta"] >= found["reference_bound"] - found["reference"] - 1e-15).all())
    np.testing.assert_allclose(
        (found["zeta"] + found["reference"]).transpose(*ds["risk_history"].dims), ds["risk_history"], atol=1e-15
    )
    np.testing.assert_array_equal(applied_decay(ds, history=True).isel(record=-1), applied_decay(ds))


def test_decay_history_of_a_protocol_of_stages():
    # R_λ − L = (λ/2)(‖a‖² + ‖W‖²): with the right λ the norms follow, at the start those of the draw.
    protocol = {"kind": "zhou_ge", "weight_decay": 0.05, "epochs": 3, "epoch_steps": 20}
    staged = ens.run(small(seeds=2, protocol=protocol, axes={"weight_decay": [0.02, 0.05]}, records=30))
    decay = applied_decay(staged, history=True)
    assert np.unique(decay.sel(weight_decay=0.05)).size >= 4  # the early step's own, and three epochs
    squares = 2 * (staged["risk_history"] - staged["loss_history"]) / decay
    for label in (0.02, 0.05):
        student, _ = ens.initial(ens.Study.from_json(staged.attrs["study"]), 1, weight_decay=label)
        start = float(np.sum(np.square(student.a)) + np.sum(np.square(student.W)))
        one = squares.sel(weight_decay=label, seed=1)
        assert float(one[0]) == pytest.approx(start, rel=1e-9)
        end = staged.sel(weight_decay=label, seed=1)
        assert float(one[-1]) == pytest.approx(float((end["a"] ** 2).sum() + (end["W"] ** 2).sum()), rel=1e-9)
        # Nothing jumps within the last stage: a λ of the wrong epoch would be off by a factor of two.
        assert np.all(np.abs(np.diff(np.log(one[3:]))) < 0.3)


def test_scaling_of_a_dataset(ds):
    found = analysis.scaling(ds, under=1.0)
    assert np.isnan(found["angle_exponent"].sel(weight_decay=0.0)).all()  # no ζ/λ without λ
    cell = found.sel(weight_decay=0.05).isel(separation=0)
    assert int(cell["seeds"]) == 3 and int(cell["records"]) > 30
    assert float(cell["angle_exponent_low"]) <= float(cell["angle_exponent"]) <= float(cell["angle_exponent_high"])
    gaps = analysis.optimality_gap(ds).sel(weight_decay=0.05)
    ratio = ds["mean_square_angle_history"].sel(weight_decay=0.05) * gaps["applied_decay"] / gaps["zeta"]
    assert float(cell["angle_constant"]) == pytest.approx(float(ratio.where(gaps["zeta"] < 1.0).max()), rel=1e-9)


def test_exponents_are_found_and_cover():
    generator = np.random.default_rng(0)
    x, z = generator.uniform(-10, 0, (2, 20, 15))
    exact = exponents(1.5 * x - 2.0 * z + 3.0, [x, z], np.ones(x.shape, bool))
    np.testing.assert_allclose(exact, [[1.5, -2.0]] * 3, atol=1e-9)
    covered = []
    for _ in range(300):
        # A member's records share an offset and a slope of their own: they are not independent.
        x = generator.uniform(-10, 0, (20, 15))
        own, tilt, noise = (generator.standard_normal(size) for size in ((20, 1), (20, 1), (20, 15)))
        y = 1.2 * x + 0.5 * own + 0.05 * tilt * x + 0.3 * noise
        _, low, high = exponents(y, [x], np.ones(x.shape, bool), resamples=300)[:, 0]
        covered.append(low <= 1.2 <= high)
    # 300 repetitions here, standard error 1.3%; 2 000 in tests/validation.
    assert 0.91 <= np.mean(covered) <= 0.98


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda d: analysis.scaling(d.drop_vars("mean_square_angle")), "add it to the study's `probes`"),
        (lambda d: analysis.scaling(d.isel(seed=[0])), "one seed a cell"),
        (lambda d: analysis.optimality_gap(d.drop_vars("risk_history")), "no history was recorded"),
    ],
)
def test_errors_say_what_there_is(ds, call, match):
    with pytest.raises(ValueError, match=match):
        call(ds)


def test_teachers_that_seeds_draw_have_no_reference():
    teacher = {
        "kind": "random_separated",
        "activation": "relu",
        "neurons": 2,
        "inputs": 4,
        "rank": 3,
        "separation": 0.5,
    }
    drawn = ens.run(small(seeds=2, teacher=teacher, axes={"weight_decay": [0.05]}, max_steps=5))
    with pytest.raises(ValueError, match="seeds draw their own"):
        analysis.optimality_gap(drawn)
