"""Probes: by hand on small networks, and where rounding or vanishing neurons would mislead."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ensemble as ens
from ensemble.plan import groups
from ensemble.probes import CERTIFICATE, PROBES, Measured, Moment, prepared
from ensemble.probes.geometry import angles, subspace_basis
from ensemble.problem.activations import ACTIVATIONS
from ensemble.problem.penalties import L2
from ensemble.problem.students import TwoLayerStudent
from ensemble.problem.teachers import GivenTeacher
from tests.studies import USUAL, small
from tests.test_combinations import ALIKE

OWN = tuple(
    name
    for name, probe in PROBES.items()
    if type(probe).__module__.startswith("ensemble.")
    and issubclass(TwoLayerStudent, probe.of)
    and issubclass(GivenTeacher, probe.against)
    and not probe.of_samples
)


UNCERTIFIED = tuple(name for name in OWN if name not in CERTIFICATE)


@functools.partial(jax.jit, static_argnums=0)
def measured(names, student, teacher, decay, moves, threshold):
    risk = ens.PopulationRisk.of(teacher)
    aids = prepared([PROBES[name] for name in names], risk, student)
    at = Measured(Moment(student, risk, aids, decay, jnp.asarray(0.1), moves, threshold), L2())
    return {name: PROBES[name](at) for name in names}


def probe(names, student, teacher, decay=0.0, threshold=1e-3, output=True, first=True):
    """What the probes of some names measure: a test asks for those that it looks at."""
    moves = jax.tree.unflatten(jax.tree.structure(student), (jnp.asarray(output), jnp.asarray(first)))
    return measured(tuple(names), student, teacher, jnp.asarray(decay), moves, jnp.asarray(threshold))


TEACHER = ens.TwoLayer([1.0, -2.0], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], "abs")


def test_every_probe_is_measured_in_its_shape():
    student = ens.TwoLayer([1.0, 1.0, 1.0], np.eye(3), "abs")
    values = probe(OWN, student, TEACHER)
    assert set(values) == set(OWN)
    sizes = {"teacher_neuron": 2, "neuron": 3}
    for name, value in values.items():
        assert value.shape == tuple(sizes[d] for d in PROBES[name].dims), name


@pytest.mark.parametrize("symmetry", ["line", "ray"])
def test_angles_see_what_arccos_cannot(symmetry, rng):
    V = jnp.asarray(rng.normal(size=(4, 7)))
    for tilt in (0.0, 1e-13, 1e-9, 1e-4):
        tangent = rng.normal(size=(4, 7))
        unit = V / jnp.linalg.norm(V, axis=1, keepdims=True)
        tangent -= (tangent * unit).sum(axis=1, keepdims=True) * unit
        tangent /= jnp.linalg.norm(tangent, axis=1, keepdims=True)
        W = 3.7 * (np.cos(tilt) * unit + np.sin(tilt) * tangent)
        # Normalising rounds every coordinate once or twice: a few 1e-16 of angle.
        np.testing.assert_allclose(jnp.diagonal(angles(W, V, symmetry)), tilt, atol=1e-15)
    # The companion: through the cosine, 1e-9 rad cannot be told from 0.
    assert np.arccos(np.cos(1e-9)) == 0.0


def test_neuron_on_a_teacher_line_has_angle_zero():
    direction = np.array([[0.3, -0.5, 0.81]])
    student = ens.TwoLayer([0.1], -7.3 * direction, "abs")
    values = probe(["max_angle"], student, ens.TwoLayer([1.0], direction, "abs"))
    assert float(values["max_angle"]) < 1e-12
    # As rays the two point in opposite directions.
    as_rays = probe(
        ["max_angle"], ens.TwoLayer([0.1], -7.3 * direction, "relu"), ens.TwoLayer([1.0], direction, "relu")
    )
    assert float(as_rays["max_angle"]) == pytest.approx(np.pi, abs=1e-12)


def test_probes_by_hand():
    # Neuron 0 on teacher 0 (mass 1), neuron 1 at 0.1 rad from teacher 1 (mass 2), neuron 2 inactive and outside S*.
    student = ens.TwoLayer(
        [1.0, -2.0, 1e-4], [[-1.0, 0.0, 0.0], [0.0, np.cos(0.1), np.sin(0.1)], [0.0, 0.0, 1.0]], "abs"
    )
    values = probe(USUAL, student, TEACHER, decay=0.3)
    total = 3.0001
    assert float(values["mean_angle"]) == pytest.approx((2 * 0.1 + 1e-4 * np.pi / 2) / total, rel=1e-12)
    assert float(values["max_angle"]) == pytest.approx(0.1, rel=1e-12)
    assert int(values["active"]) == 2
    # Δ = π/2: only the inactive neuron is farther than π/4.
    assert float(values["far_mass"]) == pytest.approx(1e-4 / total, rel=1e-12)
    assert float(values["subspace_alignment"]) == pytest.approx((1 + 2 * np.cos(0.1) ** 2) / total, rel=1e-12)
    assert float(values["imbalance"]) == pytest.approx(3.0, rel=1e-12)
    # Neuron 0 points the other way, which an even neuron may: it reproduces teacher 0. The two neurons with owner
    # 0 or 1 of equal angle π/2 go to the first; here that is neuron 2.
    np.testing.assert_allclose(values["recovery_error"][0], 1e-4, rtol=1e-9)
    np.testing.assert_allclose(values["recovery_error"][1], 2 * 2 * np.sin(0.05), rtol=1e-12)
    np.testing.assert_array_equal(values["owner"], [0, 1, 0])
    penalty = 1 + 4 + 1e-8 + 3
    assert float(values["risk"] - values["loss"]) == pytest.approx(0.15 * penalty, rel=1e-12)


def test_threshold_is_a_share_of_the_largest_teacher_mass():
    student = ens.TwoLayer([1.0, 0.03], [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], "abs")
    assert int(probe(["active"], student, TEACHER, threshold=0.014)["active"]) == 2
    assert int(probe(["active"], student, TEACHER, threshold=0.016)["active"]) == 1


NEIGHBOURS = ("abs", "leaky_relu", "linear", "relu_even", "sigmoid", "softplus")
"""Activations for which others of the same code stand in `make test`."""


def activations_and_probes():
    """All probes of every activation; of those that have another one's code the usual ones, and all for `long`."""
    for name in ACTIVATIONS:
        seldom = [pytest.mark.long] if name in NEIGHBOURS else []
        yield pytest.param(name, USUAL if name in ALIKE else UNCERTIFIED, id=name, marks=seldom)
        if name in ALIKE:
            yield pytest.param(name, UNCERTIFIED, id=f"{name}, all", marks=pytest.mark.long)


@pytest.mark.parametrize(("name", "names"), [*activations_and_probes()])
def test_vanished_student(name, names):
    sigma = ACTIVATIONS[name]  # those with numbers have no network by their name alone
    teacher = ens.TwoLayer([1.0], [[1.0, 0.0]], sigma)
    values = probe(names, ens.TwoLayer([0.0, 0.0], np.zeros((2, 2)), sigma), teacher)
    widest = np.pi / 2 if ACTIVATIONS[name].symmetry == "line" else np.pi
    assert float(values["max_angle"]) == float(values["mean_angle"]) == widest
    assert int(values["active"]) == 0
    assert float(values["far_mass"]) == 1.0
    assert all(bool(jnp.all(jnp.isfinite(v))) for v in values.values())


def test_grad_norm_counts_the_moving_layers_only():
    student = ens.TwoLayer([0.5, 1.0], [[1.0, 0.2, 0.0], [0.3, 1.0, 0.1]], "relu")
    teacher = ens.TwoLayer(TEACHER.a, TEACHER.W, "relu")
    slope = ens.population_gradient(student, teacher)
    norms = {}
    for output, first in ((True, False), (False, True), (True, True)):
        values = probe(["grad_norm"], student, teacher, output=output, first=first)
        norms[output, first] = float(values["grad_norm"])
    assert norms[True, False] == pytest.approx(float(jnp.linalg.norm(slope.a)), rel=1e-14)
    assert norms[False, True] == pytest.approx(float(jnp.linalg.norm(slope.W)), rel=1e-14)
    assert norms[True, True] ** 2 == pytest.approx(norms[True, False] ** 2 + norms[False, True] ** 2, rel=1e-14)


def test_subspace_basis_of_dependent_teachers():
    teacher = ens.TwoLayer([1.0, 1.0, 1.0], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.6, 0.8, 0.0]], "abs")
    basis = subspace_basis(teacher)
    np.testing.assert_allclose(basis.T @ basis, np.diag([1.0, 1.0, 0.0]), atol=1e-15)


def test_what_draws_members_knows_no_more_of_probes_than_what_they_prepare():
    """Studies that measure other things of one problem draw their members by one program."""

    def drawing(*probes: str):
        study = small(probes=[*probes])
        (group,) = groups(study)
        return group.structure.drawing(study)

    assert drawing("loss", "max_angle") == drawing("risk", "mass", "owner", "grad_norm")
    assert drawing("loss") == drawing("total_mass") != drawing("loss", "mass")
    assert drawing("loss", "weight_change") not in (drawing("loss"), drawing("loss", "kernel_change"))
    assert drawing("kernel_change") == drawing("kernel_alignment")
