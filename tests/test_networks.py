"""Networks of a dataset: the functions that its weights are, without padding, in the coordinates asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ensemble as ens
from tests.studies import small, tiny


@pytest.fixture(scope="module")
def ds():
    """Two widths, so that the narrow cells are padded."""
    return ens.run(small(axes={"width": {"field": "student.neurons", "values": [4, 6]}}, seeds=2))


def test_one_member_is_the_network_that_was_stored(ds):
    member = ds.sel(width=4, seed=1)
    student, teacher = ens.network(member), ens.network(member, "teacher")
    assert (student.W.shape, teacher.W.shape) == ((4, 4), (2, 4)) and member.sizes["neuron"] == 6
    np.testing.assert_array_equal(student.W, member["W"].values[:4])
    # Its population loss is the stored one, computed from the arrays alone.
    assert float(ens.population_loss(student, teacher)) == pytest.approx(float(member["loss"]), rel=1e-12)


def test_what_is_left_open_is_a_batch(ds):
    batch = ens.network(ds.sel(width=4))
    assert batch.a.shape == (2, 4)
    x = np.random.default_rng(0).normal(size=(3, 5, 4))
    values = batch(x)
    assert values.shape == (2, 3, 5)
    for seed in range(2):
        alone = ens.network(ds.sel(width=4, seed=seed))
        np.testing.assert_allclose(alone(x), values[seed], rtol=1e-13)
        np.testing.assert_allclose([[alone(point) for point in row] for row in x], values[seed], rtol=1e-13)
    np.testing.assert_array_equal(jax.vmap(lambda f: f(x[0, 0]))(batch).shape, (2,))
    assert ens.network(ds.isel(width=[0])).a.shape == (1, 2, 4), "an axis of one value is kept, as the dataset does"


@pytest.mark.parametrize(
    ("act", "match"),
    [
        (lambda ds: ens.network(ds), r"different student neurons \(4, 6\); select one of them"),
        (lambda ds: ens.network(ds, "pupil"), "which: got 'pupil'; give 'student' or 'teacher'"),
        (lambda ds: ens.network(ds.sel(width=4), coordinates="all"), "coordinates: got 'all'"),
        (lambda ds: ens.network(ds.sel(width=4, drop=True)), "has no coordinate 'width'; select it"),
        (lambda ds: ens.network(ds.drop_vars("W")), "holds no W; run the study with store_weights = true"),
        (lambda ds: ens.network(ds.assign(status=ds["status"] * 0)), "4 of its members have no result"),
    ],
)
def test_what_gives_no_network_is_refused(ds, act, match):
    with pytest.raises(ens.StudyError, match=match):
        act(ds)


def test_teachers_of_every_activation_keep_their_own(ds):
    axes = {"activation": ["abs_centred", "relu"]}
    both = ens.run(tiny(axes=axes, store_weights=True, probes=["loss"], seeds=1))
    with pytest.raises(ens.StudyError, match=r"different activations \(abs_centred, relu\)"):
        ens.network(both)
    assert ens.network(both.sel(activation="relu")).activation.name == "relu"


def test_reduced_coordinates_are_undone_where_the_study_knows_the_basis(rng):
    a, W = [1.0, -0.5, 0.2], rng.normal(size=(3, 30)).round(3).tolist()
    teacher = {"kind": "given", "activation": "relu", "a": [1.0, 2.0], "W": rng.normal(size=(2, 30)).round(3).tolist()}
    student = {"neurons": 3, "start": {"kind": "given", "a": a, "W": W}}
    study = tiny(teacher=teacher, student=student, axes={}, seeds=1, store_weights=True, probes=["loss"])
    reduced, full = (ens.run(s).isel(seed=0) for s in (study, study.replace(coordinates="full")))
    x = rng.normal(size=(7, 30))
    for which in ("student", "teacher"):
        stored, undone = (ens.network(reduced, which, coordinates=c) for c in ("stored", "full"))
        assert (stored.W.shape[1], undone.W.shape[1]) == (5, 30)
        expected = ens.network(full, which, coordinates="full")
        np.testing.assert_allclose(undone.W, expected.W, atol=1e-12)
        np.testing.assert_allclose(undone(x), expected(x), rtol=1e-10)
        with pytest.raises(
            ValueError, match=r"x: got shape \(7, 30\) for rows of 5 coordinates; .*coordinates = .full."
        ):
            stored(x)


def test_rows_that_never_had_all_coordinates_are_not_made_up():
    study = tiny(axes={"inputs": {"field": "teacher.inputs", "values": [40]}}, store_weights=True, probes=["loss"])
    ds = ens.run(study)
    assert ens.network(ds).W.shape == (1, 2, 3, 5)
    with pytest.raises(ens.StudyError, match=r"the basis behind them was never chosen.*run the study with coordinates"):
        ens.network(ds, coordinates="full")


def test_inputs_of_another_length_are_refused():
    network = ens.TwoLayer([1.0, 2.0], [[1.0, 0.0], [0.0, 1.0]])
    assert float(network(jnp.array([1.0, 1.0]))) == 3.0
    np.testing.assert_array_equal(network([[1.0, 1.0], [-1.0, 2.0]]), [3.0, 4.0])
    for wrong in (1.0, [1.0], np.zeros((2, 3))):
        with pytest.raises(ValueError, match=r"x: got shape .* for rows of 2 coordinates"):
            network(wrong)
