"""Duality gap and certificate: the worked example of theory.md §4, a fine grid, and the inequalities they promise."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import analysis
import analysis.two_layer.certificate as certificate
import ensemble as ens
from analysis.members import applied_decay
from analysis.two_layer.certificate import correlation
from tests.helpers import seldom
from tests.studies import small

_compiled = eqx.filter_jit(analysis.duality_gap)


def pair(seed: int, sigma: str, m: int = 5, teachers: int = 3, d: int = 4) -> tuple[ens.TwoLayer, ens.TwoLayer]:
    rng = np.random.default_rng(seed)
    draw = lambda n: ens.TwoLayer(rng.normal(size=n), rng.normal(size=(n, d)), sigma)  # noqa: E731
    return draw(m), draw(teachers)


def duality_gap(student, teacher, weight_decay):
    return _compiled(student, teacher, weight_decay=jnp.asarray(weight_decay))


@pytest.fixture(scope="module")
def worked_example():
    """Three teachers in a plane at 0, 0.9 and 1.9 rad, a* = (1, −1, 1.5), λ = 0.01, m = 24: theory.md §4."""
    angles = np.array([0.0, 0.9, 1.9])
    W = np.zeros((3, 6))
    W[:, 0], W[:, 1] = np.cos(angles), np.sin(angles)
    return ens.run(
        ens.Study.model_validate(
            {
                "name": "certified",
                "seeds": 4,
                "records": 0,
                "store_weights": True,
                "teacher": {"kind": "given", "activation": "abs_centred", "a": [1.0, -1.0, 1.5], "W": W.tolist()},
                "student": {"neurons": 24, "start": "balanced"},
                "protocol": {"kind": "fixed_decay", "weight_decay": 0.01, "step_size": 0.2, "steps": 40_000},
            }
        )
    )


def test_the_worked_example_is_certified(worked_example):
    found = analysis.certificates(worked_example)
    assert float(found["gap"].min()) <= 1e-13
    best = found.isel(seed=int(np.argmin(found["gap"].values)))
    assert float(best["risk"]) == pytest.approx(0.0331907883537, abs=1e-12)
    assert float(best["certificate_max"]) == pytest.approx(1.0, abs=1e-9)
    # No member is below the bound of another, and every gap bounds the distance to the best.
    assert not bool(found["contradiction"])
    slack = 1e-13
    assert bool((found["risk"] - best["risk"] <= found["gap"] + slack).all())
    np.testing.assert_array_equal(found["weight_decay_used"], 0.01)


def test_a_risk_below_a_bound_is_a_contradiction(worked_example):
    """A worse network contradicts nothing; a bound that is too high, as of a maximum that was missed, does."""
    worse = worked_example.copy(deep=True)
    worse["W"][dict(seed=1)] *= 0.7
    assert not bool(analysis.certificates(worse)["contradiction"])
    found = analysis.certificates(worse)
    found["bound"][dict(seed=1)] = float(found["risk"].min()) + 1e-6
    assert bool(certificate._contradiction(found, worse))


@pytest.mark.parametrize("sigma", seldom(["relu", "abs", "relu_even", "abs_centred"], "abs", "relu_even"))
def test_the_maximum_is_that_of_a_fine_grid(sigma):
    """In a plane (r = 2) every direction can be tried."""
    angle = np.linspace(0.0, 2.0 * np.pi, 100_001)
    grid = jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    for seed in range(8):
        student, teacher = pair(seed, sigma, d=2)
        residual = ens.TwoLayer(
            jnp.concatenate([teacher.a, -student.a]), jnp.concatenate([teacher.W, student.W]), sigma
        )
        best = float(jnp.abs(correlation(residual, grid)).max())
        found = duality_gap(student, teacher, weight_decay=0.1)
        # The grid's spacing is 6.3e-5 rad: its best point is below the maximum by some 1e-9 of it.
        assert float(found.certificate_max) * 0.1 >= best * (1.0 - 1e-12)
        assert float(found.certificate_max) * 0.1 <= best * (1.0 + 1e-8)
        assert abs(float(correlation(residual, found.direction[None])[0])) == pytest.approx(best, rel=1e-8)


@pytest.mark.parametrize("sigma", seldom(["relu", "abs_centred", "linear"], "abs_centred"))
def test_no_network_is_below_the_bound(sigma):
    for seed in range(6):
        student, teacher = pair(seed, sigma)
        found = duality_gap(student, teacher, weight_decay=0.05)
        assert float(found.gap) >= 0.0
        for other in range(6):
            rival, _ = pair(100 + other, sigma)
            rival = ens.TwoLayer(0.3 * rival.a, 0.3 * rival.W, sigma)
            risk = ens.population_loss(rival, teacher) + 0.025 * (jnp.sum(rival.a**2) + jnp.sum(rival.W**2))
            assert float(found.bound) <= float(risk) + 1e-12
        # The teacher itself, with balanced layers, is a network as well.
        norm = jnp.linalg.norm(teacher.W, axis=1)
        cost = 0.05 * float(jnp.sum(jnp.abs(teacher.a) * norm))
        assert float(found.bound) <= cost + 1e-12


def test_without_decay_the_gap_is_the_loss():
    student, teacher = pair(3, "relu")
    found = duality_gap(student, teacher, weight_decay=0.0)
    assert float(found.gap) == pytest.approx(float(ens.population_loss(student, teacher)), rel=1e-14)
    assert float(found.certificate_max) == np.inf and float(found.bound) == 0.0
    # Where λ is beyond the teacher's own largest correlation, the zero network is optimal.
    nothing = ens.TwoLayer(np.zeros(2), np.zeros((2, 4)), "relu")
    strong = duality_gap(nothing, teacher, weight_decay=1e3)
    assert float(strong.gap) == pytest.approx(0.0, abs=1e-13) and float(strong.certificate_max) < 1.0


def test_applied_decay_is_that_of_the_last_step():
    ds = ens.run(small())
    # 0.05 halved in epochs of 20 steps, three of them: the last step is in the third.
    expected = np.broadcast_to(np.array([0.0, 0.0125])[:, None, None], ds["status"].shape)
    np.testing.assert_array_equal(applied_decay(ds), expected)
    # The risk that the run measured is the one that the certificate has, at that λ.
    np.testing.assert_allclose(analysis.certificates(ds)["risk"], ds["risk"], atol=1e-14)


@pytest.mark.parametrize(
    ("rule", "every", "engine"),
    [
        ({"loss": 0.25, "check_every": 20}, 20, "xla"),
        ({"grad_norm": 0.5}, 1, "xla"),
        ({"grad_norm": 0.5}, 1, "simd"),
    ],
)
def test_a_rule_that_meets_a_halving_schedule_gives_the_certificate_the_decay_of_the_last_step(rule, every, engine):
    """A rule that holds where λ is halved was looked at with the new λ: that of the member's risk, and of its gap."""
    schedule = {"kind": "halving", "every": every}
    stage = {"name": "halving", "weight_decay": 0.05, "weight_decay_schedule": schedule, "steps": 60} | rule
    protocol = {"kind": "stages", "stages": [stage]}
    ds = ens.run(small(protocol=protocol, axes={"separation": [0.8]}, records=0), engine=engine)
    stop = ds["stop_step"].values
    assert (ds["status"] == ens.STATUS["converged"]).all() and ((stop > 0) & (stop % every == 0)).any()
    found = analysis.certificates(ds)
    np.testing.assert_array_equal(found["weight_decay_used"], 0.05 / 2.0 ** (stop // every))
    np.testing.assert_allclose(found["risk"], ds["risk"], rtol=1e-14)
    squares = (ds["a"] ** 2).sum("neuron") + (ds["W"] ** 2).sum(("neuron", "input"))
    np.testing.assert_allclose(2 * (ds["risk"] - ds["loss"]) / squares, found["weight_decay_used"], atol=1e-15)


def test_the_decay_of_a_dataset_from_before_it_was_stored_is_refused():
    ds = ens.run(small(seeds=2, axes={"weight_decay": [0.05]}))
    old = ds.drop_vars("applied_decay").assign_attrs(schema_version=2)
    for call in (analysis.certificates, analysis.families, applied_decay):
        with pytest.raises(ValueError, match=r"without applied_decay \(schema version 2\): .* run the study again"):
            call(old)
    with pytest.raises(ValueError, match="without applied_decay_history"):
        applied_decay(ds.drop_vars("applied_decay_history"), history=True)


def test_probes_of_a_run_are_the_certificates_of_its_weights():
    probes = ["loss", "risk", "gap", "certificate_max"]
    study = small(seeds=2, probes=probes, axes={"weight_decay": [0.05]}, records=3)
    ds = ens.run(study)
    # At the end and at stage ends; at records only on request.
    assert "gap_stage" in ds and "gap_history" not in ds and "risk_history" in ds
    of_probes, of_weights = analysis.certificates(ds), analysis.certificates(ds.drop_vars("gap"))
    for name in ("gap", "certificate_max", "risk", "bound", "weight_decay_used", "contradiction"):
        # Two programs of the same formulas: equal to rounding.
        np.testing.assert_allclose(of_probes[name], of_weights[name], rtol=1e-9, atol=1e-14, err_msg=name)
    often = ens.run(study.replace(record_certificate=True, probes=["risk", "gap"]))
    np.testing.assert_array_equal(often["gap"], ds["gap"])
    np.testing.assert_array_equal(often["gap_history"].isel(record=-1), ds["gap"])
    assert bool((often["gap_history"] >= 0).all())
    with pytest.raises(ens.StudyError, match="probes: got 'gap' with activation erf, which is not 1-homogeneous"):
        study.replace(probes=["gap"], teacher=study.teacher.model_copy(update={"activation": "erf"}))


def test_profile_peaks_at_teachers(worked_example):
    best = worked_example.isel(seed=int(np.argmin(analysis.certificates(worked_example)["gap"].values)))
    networks = [
        ens.TwoLayer(best[a].values, best[W].values, "abs_centred") for a, W in (("a", "W"), ("teacher_a", "teacher_W"))
    ]
    found = certificate.profile(*networks, weight_decay=0.01, points=20_001)
    assert found["circle"].values.tolist() == ["0–1", "0–2", "1–2"]
    np.testing.assert_allclose(found["second_angle"], [0.9, 1.9, 1.0])
    # A certified optimum: |η| ≤ 1 everywhere, and 1 near every teacher, with the sign of its output weight.
    assert float(np.abs(found).max()) == pytest.approx(1.0, abs=1e-6)
    circle = found.sel(circle="0–1")
    for at, sign in ((0.0, 1.0), (0.9, -1.0)):
        near = circle.sel(angle=slice(at - 0.05, at + 0.05))
        assert float((sign * near).max()) == pytest.approx(1.0, abs=1e-4)
    with pytest.raises(ValueError, match=r"weight_decay: got 0\.0"):
        certificate.profile(*networks, weight_decay=0.0)
    with pytest.raises(ValueError, match=r"span no plane"):
        certificate.profile(networks[0], ens.TwoLayer([1.0], [networks[1].W[0]], "abs_centred"), weight_decay=0.1)


def test_members_without_a_result_have_no_certificate(worked_example):
    partial = worked_example.copy(deep=True)
    partial["status"][dict(seed=2)] = ens.STATUS["running"]
    found = analysis.certificates(partial)
    assert np.isnan(found["gap"].values[2]) and not np.isnan(found["gap"].values[[0, 1, 3]]).any()


def test_what_cannot_be_certified_is_refused():
    student, teacher = pair(0, "erf")
    with pytest.raises(ValueError, match="activation: got erf, which is not 1-homogeneous"):
        duality_gap(student, teacher, weight_decay=0.1)
    with pytest.raises(ValueError, match="W: the certificate needs the weights; run the study with `store_weights"):
        analysis.certificates(ens.run(small(store_weights=False, max_steps=2)))
