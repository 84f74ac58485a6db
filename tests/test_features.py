"""Feature maps by hand and against samples, and importance and pruning of datasets."""

import numpy as np
import pytest
import xarray as xr

import analysis
import ensemble as ens
from analysis.uses.features import KINDS
from tests.studies import small


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return ens.run(small(seeds=5, axes={"width": {"field": "student.neurons", "values": [4, 3]}}))


TEACHER_W = np.array([[1.0, 0.0, 0.0, 0.0], [0.6, 0.8, 0.0, 0.0]])
# On teacher 0 (turned round, which an even neuron may be), between the two, across both, and without mass.
W = np.array([[-2.0, 0.0, 0.0, 0.0], [0.8, 0.4, 0.0, 0.02], [0.0, 0.0, 1.0, 0.0], [0.1, 0.0, 0.0, 0.0]])
A = np.array([0.5, 1.0, 0.3, 1e-4])


@pytest.fixture(scope="module")
def by_hand(ds) -> xr.Dataset:
    """One member of the dataset with other weights."""
    one = ds.isel(width=[0], seed=[0])
    arrays = {"a": A, "W": W, "teacher_a": np.array([1.0, 1.5]), "teacher_W": TEACHER_W}
    return one.assign({name: one[name].copy(data=value[None, None]) for name, value in arrays.items()})


def test_features_by_hand(by_hand):
    found = analysis.features(by_hand).isel(width=0, seed=0)
    assert [KINDS[int(kind)] for kind in found["neuron_kind"]] == ["aligned", "merged", "stray", "vanished"]
    assert found["owner"].values.tolist()[:2] == [0, 0] and found["feature_neurons"].values.tolist() == [1, 0]
    counts = {name: float(found[name]) for name in ("split", "missed", "merged", "stray")}
    assert counts == {"split": 0, "missed": 1, "merged": 1, "stray": 1}
    # A second neuron on teacher 0 splits it.
    twice = by_hand.copy(deep=True)
    twice["W"][0, 0, 2] = W[0]
    assert analysis.features(twice)["split"].item() == 1
    # With a tolerance of 0.6 rad the merged one counts as aligned: it is 0.46 rad from its owner.
    wide = analysis.features(by_hand, tolerance=0.6).isel(width=0, seed=0)
    assert KINDS[int(wide["neuron_kind"][1])] == "aligned"


def test_shares_of_variance_and_faithfulness_are_those_of_samples(by_hand):
    found = analysis.features(by_hand).isel(width=0, seed=0)
    x = np.random.default_rng(3).normal(size=(400_000, 4))
    student, teacher = np.abs(x @ W.T), np.abs(x @ TEACHER_W.T)
    correlation = np.corrcoef(student.T, teacher.T)[:4, 4:]
    np.testing.assert_allclose(found["carried"], correlation**2, atol=0.006)
    assert float(found["carried"][0, 0]) == pytest.approx(1.0, rel=1e-12)
    owner = found["owner"].values.astype(int)
    for j, weight in enumerate((1.0, 1.5)):
        fitted = (student * A * (owner == j)).sum(axis=1)
        target = weight * teacher[:, j]
        share = 1 - np.var(fitted - target) / np.var(target)
        assert float(found["feature_explained"][j]) == pytest.approx(share, abs=0.01)
    # Centred absolute values: that is what abs_centred is.
    centred = student - np.linalg.norm(W, axis=1) * np.sqrt(2 / np.pi)
    owners = np.linalg.norm(W, axis=1) * (teacher[:, owner] - np.sqrt(2 / np.pi))
    f, replaced = centred @ A, owners @ A
    goal = (teacher - np.sqrt(2 / np.pi)) @ np.array([1.0, 1.5])
    score = 1 - np.mean((f - replaced) ** 2) / np.mean(f**2)
    assert float(found["faithfulness"]) == pytest.approx(score, abs=0.01) and score < 0.95
    assert float(found["loss_of_owners"]) == pytest.approx(0.5 * np.mean((replaced - goal) ** 2), rel=0.01)


def test_a_student_on_its_teachers_is_faithful(by_hand):
    same = by_hand.copy(deep=True)
    same["W"][0, 0], same["a"][0, 0] = np.vstack([-3.0 * TEACHER_W, np.zeros((2, 4))]), [1 / 3, 0.5, 0.0, 0.0]
    found = analysis.features(same).isel(width=0, seed=0)
    assert float(found["faithfulness"]) == pytest.approx(1.0, abs=1e-14)
    np.testing.assert_allclose(found["feature_explained"], 1.0, atol=1e-14)
    assert abs(float(found["loss_of_owners"])) < 1e-14 and float(found["missed"]) == 0


def test_importance_of_a_dataset(ds):
    found = analysis.importance(ds)
    for width, seed in ((4, 1), (3, 4)):
        one = ds.sel(width=width, seed=seed)
        teacher = ens.network(one, "teacher")
        student = ens.network(one)
        for i in range(width):
            stays = np.arange(width) != i
            left = ens.TwoLayer(np.where(stays, student.a, 0.0), student.W, "abs_centred")
            anew = float(ens.population_loss(left, teacher))
            row = found.sel(width=width, seed=seed).isel(neuron=i)
            assert float(row["leave_one_out"]) == pytest.approx(anew, rel=1e-13)
            assert float(row["loss_increase"]) == pytest.approx(anew - float(one["loss"]), abs=1e-14)
    np.testing.assert_allclose(found["mass"], ds["mass"], rtol=1e-14)
    assert np.all(found["rank_agreement"] <= 1 + 1e-12)


def test_pruning_of_a_dataset_of_two_widths(ds):
    by_mass = analysis.pruning(ds, tolerance=0.05)
    np.testing.assert_allclose(by_mass["pruned_loss"].sel(kept=4), ds["loss"], atol=1e-14)
    np.testing.assert_allclose(by_mass["pruned_loss"].sel(kept=3, width=3), ds["loss"].sel(width=3), atol=1e-14)
    half = by_mass["pruned_loss"].sel(kept=0)
    # The definition of the minimal width, in words.
    allowed = (by_mass["pruned_loss"] <= ds["loss"] + 0.05 * half).sel(kept=[1, 2, 3, 4])
    for place in np.ndindex(2, 5):
        good = allowed.transpose("width", "seed", "kept").values[place]
        least = next(k for k in (1, 2, 3, 4) if good[k - 1 :].all())
        assert float(by_mass["minimal_width"].values[place]) == least
    left = analysis.pruned(ds, tolerance=0.05)
    kept = (left["a"] != 0).sum("neuron")
    assert np.all(kept <= by_mass["minimal_width"]) and set(left.data_vars).isdisjoint({"loss", "gap", "mass"})
    np.testing.assert_allclose(analysis.pruning(left)["pruned_loss"].sel(kept=4), _at(by_mass), atol=1e-14)


def _at(curves: xr.Dataset) -> xr.DataArray:
    """The loss at the minimal width."""
    return curves["pruned_loss"].sel(kept=curves["minimal_width"].astype(int))


def test_the_certificate_of_a_pruned_network_is_its_own(ds):
    one = ds.sel(width=4, seed=[2])
    left = analysis.pruned(one, keep=1)
    found = analysis.certificates(left, weight_decay=0.02)
    stays = np.arange(4) == int(np.argmax(one["mass"].values))
    assert np.array_equal(left["a"].values[0] != 0, stays) and np.array_equal(left["W"].values[0].any(1), stays)
    a, W = one["a"].values[0][stays], one["W"].values[0][stays]
    loss = ens.population_loss(ens.TwoLayer(a, W, "abs_centred"), ens.network(one.isel(seed=0), "teacher"))
    assert found["risk"].item() == pytest.approx(float(loss) + 0.01 * ((a**2).sum() + (W**2).sum()), rel=1e-12)
    assert 0 < found["gap"].item() < found["risk"].item()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda d: analysis.features(d, tolerance=0.0), r"tolerance: got 0.0; give an angle above 0"),
        (lambda d: analysis.features(d, threshold=-1.0), r"threshold: got -1.0; give a share"),
        (lambda d: analysis.pruning(d, "size"), r"by: got 'size'; give 'mass' or 'importance'"),
        (lambda d: analysis.pruning(d, tolerance=1.0), r"tolerance: got 1.0; it is a share of the teacher's"),
        (lambda d: analysis.pruned(d), r"keep: got None and tolerance None; give one of them"),
        (lambda d: analysis.pruned(d, keep=0), r"keep: got 0; give a whole number from 1 to 4, the neurons there are"),
        (lambda d: analysis.pruned(d, keep=5), r"keep: got 5; give a whole number from 1 to 4"),
        (lambda d: analysis.importance(d.drop_vars("W")), r"W: importance needs the weights of two-layer students"),
    ],
)
def test_what_is_refused(ds, call, said):
    with pytest.raises(ValueError, match=said):
        call(ds)
