"""Teachers, starts, draws, schedules and protocols."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pydantic import TypeAdapter, ValidationError

import ensemble as ens
from ensemble.dynamics.schedules import halving_factor
from ensemble.numerics import member_key
from ensemble.parts import chosen
from ensemble.probes.geometry import angles, separation
from ensemble.problem.draws import full_space, normal_rows

Teacher, Start = chosen(ens.AbstractTeacher), chosen(ens.AbstractStart)

KEY = jax.random.key(7)
SPACE = full_space(6)


def teacher(**fields):
    return TypeAdapter(Teacher).validate_python({"activation": "abs_centred", "neurons": 4, "inputs": 6} | fields)


def start(**fields):
    return TypeAdapter(Start).validate_python(fields)


def test_orthonormal():
    np.testing.assert_array_equal(teacher(kind="orthonormal").draw(KEY).W, np.eye(4, 6))


@pytest.mark.parametrize("separation_", [0.05, 0.7, math.pi / 2])
def test_separated_pairs(separation_):
    drawn = teacher(kind="separated_pairs", separation=separation_).draw(KEY)
    between = np.asarray(angles(drawn.W, drawn.W, "line"))
    expected = np.full((4, 4), math.pi / 2)
    np.fill_diagonal(expected, 0.0)
    expected[0, 1] = expected[1, 0] = expected[2, 3] = expected[3, 2] = separation_
    np.testing.assert_allclose(between, expected, atol=1e-15)
    np.testing.assert_allclose(jnp.linalg.norm(drawn.W, axis=1), 1.0, rtol=1e-15)


@pytest.mark.parametrize("separation_", [0.3, 1.2, math.pi / 2])
def test_equiangular(separation_):
    drawn = teacher(kind="equiangular", separation=separation_).draw(KEY)
    gram = np.asarray(drawn.W @ drawn.W.T)
    np.testing.assert_allclose(gram, np.where(np.eye(4) > 0, 1.0, np.cos(separation_)), atol=1e-14)


@pytest.mark.parametrize("activation", ["relu", "abs"])
def test_random_separated(activation):
    spec = teacher(kind="random_separated", rank=3, separation=0.5, activation=activation, neurons=5)
    drawn = jax.vmap(spec.draw)(jax.random.split(KEY, 200))
    assert bool(jnp.all(jax.vmap(separation)(drawn) >= 0.5 - 1e-12))
    np.testing.assert_array_equal(drawn.W[:, :, 3:], 0.0)
    np.testing.assert_allclose(jnp.linalg.norm(drawn.W, axis=-1), 1.0, rtol=1e-14)
    # Directions are uniform: every coordinate's mean square is 1/3; 1000 rows give ±5 standard errors of it.
    squares = np.asarray(drawn.W[:, 0, :3] ** 2).mean(axis=0)
    np.testing.assert_allclose(squares, 1 / 3, atol=5 * np.sqrt(4 / 45 / 200))


@pytest.mark.parametrize("kind", ["orthonormal", "separated_pairs", "equiangular"])
def test_known_gram_is_that_of_the_drawn_rows(kind):
    spec = teacher(kind=kind, output_weights=[1, -2, 3, 4], **({} if kind == "orthonormal" else {"separation": 0.4}))
    a, gram = spec.known()
    drawn = spec.draw(KEY)
    np.testing.assert_allclose(gram, drawn.W @ drawn.W.T, atol=1e-15)
    np.testing.assert_array_equal(a, np.abs(drawn.a))
    assert teacher(kind="random_separated", rank=3, separation=0.1).known() is None


def test_output_weights():
    base = {"kind": "orthonormal"}
    np.testing.assert_array_equal(teacher(**base).draw(KEY).a, 1.0)
    np.testing.assert_array_equal(teacher(**base, output_weights="alternating").draw(KEY).a, [1, -1, 1, -1])
    np.testing.assert_array_equal(teacher(**base, output_weights=[1, 2, 3, -4]).draw(KEY).a, [1, 2, 3, -4])
    signs = jax.vmap(teacher(**base, output_weights="random").draw)(jax.random.split(KEY, 400)).a
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert abs(float(signs.mean())) < 5 / math.sqrt(1600)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "orthonormal", "neurons": 7}, "got 7 orthonormal rows in inputs = 6 dimensions; at most 6 fit"),
        ({"kind": "separated_pairs", "neurons": 3, "separation": 0.1}, "got 3; separated pairs need an even number"),
        ({"kind": "separated_pairs", "separation": 1.6}, r"got 1.6 rad between lines.*at most 1.5708 rad"),
        ({"kind": "separated_pairs", "separation": 3.2, "activation": "relu"}, r"between rays of relu.*3.14159"),
        ({"kind": "equiangular", "separation": 2.0, "activation": "relu"}, r"equiangular up to arccos\(−1/3\)"),
        ({"kind": "random_separated", "rank": 7, "separation": 0.1}, "rank: got 7 in inputs = 6"),
        ({"kind": "random_separated", "rank": 2, "separation": 0.7}, "no room is left"),
        ({"kind": "orthonormal", "output_weights": [1, 2]}, "got 2 values for neurons = 4"),
    ],
)
def test_teachers_refuse_what_geometry_forbids(fields, message):
    with pytest.raises(ValidationError, match=message):
        teacher(**fields)


def test_given_teacher_is_taken_as_it_is():
    spec = TypeAdapter(Teacher).validate_python(
        {"kind": "given", "activation": "relu", "a": [1, -2], "W": [[1, 0], [3, 4]]}
    )
    drawn = spec.draw(KEY)
    np.testing.assert_array_equal(drawn.a, [1, -2])
    np.testing.assert_array_equal(drawn.W, [[1, 0], [3, 4]])
    with pytest.raises(ValidationError, match="a teacher row is zero"):
        TypeAdapter(Teacher).validate_python({"kind": "given", "activation": "relu", "a": [1], "W": [[0, 0]]})


def test_symmetric_start_is_the_zero_function():
    target = teacher(kind="orthonormal").draw(KEY)
    student = start(kind="symmetric").draw(KEY, target, 8, SPACE)
    np.testing.assert_array_equal(student.W[:4], student.W[4:])
    np.testing.assert_array_equal(student.a[:4], -student.a[4:])
    np.testing.assert_allclose(jnp.abs(student.a), 1 / np.sqrt(8), rtol=1e-15)
    np.testing.assert_allclose(jnp.linalg.norm(student.W, axis=1), 1 / np.sqrt(8), rtol=1e-14)
    # Eight terms of size 1/8, which cancel in pairs but are added in another order.
    assert abs(float(student(jnp.ones(6)))) < 1e-15


def test_balanced_and_scaled_start():
    target = teacher(kind="orthonormal").draw(KEY)
    for scale in (1e-3, 1.0, 30.0):
        student = start(kind="balanced", scale=scale).draw(KEY, target, 9, SPACE)
        np.testing.assert_allclose(jnp.abs(student.a), scale / 3, rtol=1e-14)
        np.testing.assert_allclose(jnp.linalg.norm(student.W, axis=1), scale / 3, rtol=1e-14)


def test_xavier_start_has_unit_mean_square_rows():
    target = teacher(kind="orthonormal").draw(KEY)
    student = start(kind="xavier").draw(KEY, target, 2000, SPACE)
    np.testing.assert_array_equal(student.a, 1.0)
    # ‖w‖² has mean 1 and variance 2/6 over 2000 rows.
    assert abs(float((student.W**2).sum(axis=1).mean()) - 1.0) < 5 * math.sqrt(2 / 6 / 2000)


@pytest.mark.parametrize("distance", [0.0, 1e-9, 0.3])
def test_near_teacher_start(distance):
    target = teacher(kind="orthonormal", output_weights="alternating").draw(KEY)
    student = start(kind="near_teacher", distance=distance).draw(KEY, target, 10, SPACE)
    nearest = np.asarray(angles(student.W, target.W, "ray"))[np.arange(10), np.arange(10) % 4]
    np.testing.assert_allclose(nearest, distance, atol=1e-15, rtol=1e-6)
    np.testing.assert_allclose(jnp.abs(student.a), jnp.linalg.norm(student.W, axis=1), rtol=1e-14)
    if distance == 0.0:
        assert abs(float(ens.population_loss(student, target))) < 1e-15


def test_wider_students_share_their_first_rows():
    np.testing.assert_array_equal(normal_rows(KEY, 9, 5)[:6], normal_rows(KEY, 6, 5))


def test_keys_differ_by_seed_and_purpose():
    keys = [member_key(r, s, p) for r in (0, 1) for s in (0, 1) for p in ("teacher", "start")]
    assert len({tuple(np.asarray(jax.random.key_data(k)).tolist()) for k in keys}) == 8


def test_halving_factor_is_exact():
    steps = jnp.arange(0, 60, 7)
    np.testing.assert_array_equal(halving_factor(steps, jnp.asarray(10)), 0.5 ** (np.arange(0, 60, 7) // 10))
    np.testing.assert_array_equal(halving_factor(steps, jnp.asarray(0)), 1.0)


def test_optax_schedule_by_name():
    ours = ens.Optax(name="cosine_decay_schedule", arguments={"init_value": 1.0, "decay_steps": 100})
    theirs = optax.schedules.cosine_decay_schedule(1.0, 100)
    np.testing.assert_allclose(ours(jnp.arange(120)), theirs(jnp.arange(120.0)), rtol=1e-15)
    stepped = ens.Optax(
        name="piecewise_constant_schedule", arguments={"init_value": 1.0, "boundaries_and_scales": {"5": 0.1}}
    )
    np.testing.assert_allclose(stepped(jnp.asarray([0, 9])), [1.0, 0.1])
    with pytest.raises(ValidationError, match=r"got 'cosine_decay'; optax.schedules has .*cosine_decay_schedule"):
        ens.Optax(name="cosine_decay")
    with pytest.raises(ValidationError, match="refuses"):
        ens.Optax(name="cosine_decay_schedule", arguments={"steps": 3})


def test_zhou_ge_stages():
    protocol = ens.protocols.zhou_ge(weight_decay=0.04, epochs=3, epoch_steps=10, first_step_size=20.0)
    assert [(s.name, s.update.kind, s.layers, s.steps) for s in protocol.stages] == [
        ("early", "descent", "first", 1),
        ("fit", "ridge", "output", 0),
        ("balance", "balance", "both", 0),
        ("local", "descent", "both", 30),
    ]
    assert protocol.stages[0].step_size * protocol.stages[0].weight_decay == 1.0
    assert protocol.stages[3].weight_decay_schedule == ens.Halving(every=10)
    assert protocol.steps == 31


def test_protocols_refuse():
    with pytest.raises(ValidationError, match="names \\['x', 'x'\\]; every stage needs a name of its own"):
        ens.Protocol(stages=(ens.Stage(name="x", steps=1), ens.Stage(name="x", steps=1)))
    with pytest.raises(ValidationError, match="a descent stage needs at least 1"):
        ens.Protocol(stages=(ens.Stage(name="x"),))
    with pytest.raises(ValidationError):
        ens.protocols.plain(step_size=-1.0)
