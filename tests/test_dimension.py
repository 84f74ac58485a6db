"""Reduced coordinates: exact in distribution, exact for given weights, and blind to how large d is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2, ks_2samp

import ensemble as ens
from ensemble.plan import groups
from ensemble.problem.draws import Space, full_space, isotropic_rows
from tests.studies import small

KEYS = jax.random.split(jax.random.key(3), 4000)


def high(inputs, start="balanced", **changes) -> ens.Study:
    teacher = {
        "kind": "separated_pairs",
        "activation": "abs_centred",
        "neurons": 2,
        "inputs": inputs,
        "separation": 0.8,
    }
    return small(teacher=teacher, student={"neurons": 4, "start": start}, axes={}, **changes)


@pytest.mark.long
def test_inner_products_have_the_distribution_of_full_rows():
    d, rows, plane = 12, 3, 2
    space = Space(columns=plane + rows, plane=plane, inputs=d, reduced=True)
    reduced = jax.vmap(lambda k: isotropic_rows(k, rows, space))(KEYS)
    full = jax.vmap(lambda k: isotropic_rows(k, rows, full_space(d)))(jax.random.split(jax.random.key(4), 4000))
    assert reduced.shape == (4000, rows, plane + rows)

    def statistics(W):
        gram = jnp.einsum("nij,nkj->nik", W, W)
        outside = gram - jnp.einsum("nij,nkj->nik", W[:, :, :plane], W[:, :, :plane])
        return {
            "norm": gram[:, 2, 2],
            "overlap": gram[:, 0, 2],
            "plane": W[:, 1, 1],
            "outside": outside[:, 1, 2],
            "volume": jnp.linalg.det(gram),
        }

    first, second = statistics(reduced), statistics(full)
    for name in first:
        # Two samples of 4 000 of one distribution: p is uniform; the keys are fixed, and 1e-3 is a fixed rejection.
        assert ks_2samp(first[name], second[name]).pvalue > 1e-3, name
    assert ks_2samp(first["norm"], chi2(d).rvs(4000, random_state=1)).pvalue > 1e-3
    # Companion: one degree of freedom more on the diagonal is seen.
    wrong = jax.vmap(lambda k: isotropic_rows(k, rows, space._replace(inputs=d + 2)))(KEYS)
    assert ks_2samp(statistics(wrong)["norm"], second["norm"]).pvalue < 1e-6


@pytest.mark.long
@pytest.mark.parametrize("start", ["balanced", "symmetric", "xavier", {"kind": "near_teacher", "distance": 0.5}])
def test_a_study_has_the_same_statistics_in_both_coordinates(start):
    study = high(24, start, seeds=600, records=[0, 20])
    reduced, full = ens.run(study), ens.run(study.replace(coordinates="full", root_seed=1))
    assert reduced.sizes["input"] < 24 == full.sizes["input"]
    assert int(reduced["inputs"]) == int(full["inputs"]) == 24
    for name in ("loss", "mean_angle", "max_angle", "subspace_alignment", "grad_norm"):
        assert ks_2samp(reduced[name], full[name]).pvalue > 1e-3, name
        assert ks_2samp(reduced[f"{name}_history"][:, 1], full[f"{name}_history"][:, 1]).pvalue > 1e-3, name


def test_a_given_start_agrees_to_rounding(rng):
    teacher = {"kind": "given", "activation": "relu", "a": [1.0, -0.5], "W": rng.normal(size=(2, 30)).tolist()}
    start = {"kind": "given", "a": rng.normal(size=3).tolist(), "W": (rng.normal(size=(3, 30)) / 5).tolist()}
    study = high(30, protocol={"kind": "fixed_decay", "weight_decay": 0.01, "step_size": 0.02, "steps": 200}).replace(
        teacher=teacher, student={"neurons": 3, "start": start}, seeds=1
    )
    reduced, full = ens.run(study), ens.run(study.replace(coordinates="full"))
    assert (reduced.sizes["input"], full.sizes["input"]) == (5, 30)
    # 200 small steps of order-one numbers.
    for name in ("loss_history", "grad_norm_history", "mean_angle_history", "recovery_error", "a"):
        np.testing.assert_allclose(reduced[name], full[name], rtol=1e-10, atol=1e-12, err_msg=name)


def test_the_dimension_costs_nothing():
    study = high(10**6).replace(axes={"inputs": {"field": "teacher.inputs", "values": [50, 10**6, 10**9]}})
    assert len(groups(study)) == 1, "one program for every d"
    assert groups(study)[0].pools[0].like.moving.model.W.shape[1] == 6
    ds = ens.run(study)
    assert ds.sizes["input"] == 6
    assert ds["inputs"].values.tolist() == [50, 10**6, 10**9]
    # In many dimensions the start is nearly orthogonal to the teacher: its alignment is of order r/d.
    start = ds["subspace_alignment_history"].isel(record=0).mean("seed")
    assert float(start[1]) < 1e-4 and 1e-11 < float(start[2]) < 1e-7


def test_low_dimensions_keep_their_own_coordinates():
    assert groups(high(6))[0].pools[0].like.moving.model.W.shape[1] == 6
    assert groups(high(7))[0].pools[0].like.moving.model.W.shape[1] == 6
    assert groups(high(5))[0].pools[0].like.moving.model.W.shape[1] == 5
