"""Updates: those of optax are optax's; what each is known to do; which know the axes of the input."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pydantic import TypeAdapter

import ensemble as ens
from ensemble.dynamics.updates import AbstractSteppedUpdate, Objective
from ensemble.parts import REGISTRY, chosen, is_own
from ensemble.problem.penalties import L2
from tests.studies import small

ETA, DECAY = 0.005, 0.05

# The plain optimisers, as optax names them, with the learning rate inside.
PEERS: dict[str, Any] = {
    "descent": lambda eta, **_: optax.sgd(eta),
    "momentum": lambda eta, momentum: optax.sgd(eta, momentum=momentum),
    "nesterov": lambda eta, momentum: optax.sgd(eta, momentum=momentum, nesterov=True),
    "adam": optax.adam,
    "adamw": optax.adam,
    "rmsprop": optax.rmsprop,
    "adagrad": optax.adagrad,
    "sign": lambda eta: optax.sign_sgd(eta),
}
# With eps = 1e-6 and η = 0.02, one ulp at the start of Adam is 3e-3 after these 300 steps: a coordinate without a
# gradient # is moved by the sign of its rounding. With these numbers it stays 6e-15, and the two loops can be compared.
NUMBERS: dict[str, dict[str, float]] = {
    "momentum": {"momentum": 0.8},
    "nesterov": {"momentum": 0.7},
    "adam": {"b1": 0.8, "b2": 0.95, "eps": 1e-3},
    "adamw": {"b1": 0.8, "b2": 0.95, "eps": 1e-3},
    "rmsprop": {"decay": 0.8, "eps": 1e-3},
    "adagrad": {"initial_accumulator_value": 0.2, "eps": 1e-3},
}
STEPPED = [
    name for name, part in REGISTRY["update"].items() if issubclass(part, AbstractSteppedUpdate) and is_own(part)
]


def update(kind: str, **numbers: Any) -> Any:
    table = {"kind": kind, **numbers} | ({"name": "lion"} if kind == "optax" else {})
    return TypeAdapter(chosen(AbstractSteppedUpdate)).validate_python(table)


def peer(kind: str, eta):
    return PEERS[kind](eta, **NUMBERS.get(kind, {}))


@functools.cache
def one_step(kind: str, decoupled: bool):
    """(student, state, teacher, λ, η) → (loss before it, student, state), of optax."""

    @jax.jit
    def step(student, state, teacher, decay, eta):
        slope = ens.population_gradient(student, teacher)
        if not decoupled:
            slope = jax.tree.map(lambda g, x: g + decay * x, slope, student)
        with jax.numpy_dtype_promotion("standard"):
            change, state = peer(kind, eta).update(slope, state, student)
        if decoupled:
            change = jax.tree.map(lambda u, x: u - eta * decay * x, change, student)
        return ens.population_loss(student, teacher), jax.tree.map(jnp.add, student, change), state

    return step


def loop(student, teacher, kind: str, decoupled: bool, decays, etas, fresh: int):
    """300 steps of optax, written out: (student, loss before every step and at the end)."""
    step, losses = one_step(kind, decoupled), []
    for t, (decay, eta) in enumerate(zip(decays, etas, strict=True)):
        if t in (0, fresh):
            state = peer(kind, eta).init(student)
        loss, student, state = step(student, state, teacher, jnp.asarray(decay), jnp.asarray(eta))
        losses.append(float(loss))
    return student, [*losses, float(ens.population_loss(student, teacher))]


def pairs():
    """Every update with one of the two decays, and Adam with both: the other pairs take as long again."""
    for number, kind in enumerate(PEERS):
        for decay in ("coupled", "decoupled"):
            often = kind == "adam" or decay == ("coupled", "decoupled")[number % 2]
            yield pytest.param(kind, decay, marks=() if often else pytest.mark.long)


@pytest.mark.parametrize(("kind", "decay"), [*pairs()])
def test_three_hundred_steps_are_those_of_optax(kind, decay):
    """Two stages, of which the second has another step size and begins with a fresh state; a halving λ; records."""
    asked = {"kind": kind, **NUMBERS.get(kind, {})}
    common = {"update": asked, "decay": decay, "weight_decay": DECAY, "steps": 150}
    halving = {"weight_decay_schedule": {"kind": "halving", "every": 60}}
    stages = [
        {"name": "first", "step_size": ETA, **halving, **common},
        {"name": "then", "step_size": ETA / 2, **common},
    ]
    protocol = {"kind": "stages", "stages": stages}
    study = small(seeds=1, axes={}, protocol=protocol, records=[0, 1, 2, 50, 149, 150, 151, 220, 299, 300])
    ds = ens.run(study).isel(seed=0)
    decays = [DECAY / 2 ** (t // 60) for t in range(150)] + [DECAY] * 150
    etas = [ETA] * 150 + [ETA / 2] * 150
    decoupled = decay == "decoupled" or kind == "adamw"
    student, losses = loop(*ens.initial(study), kind, decoupled, decays, etas, fresh=150)
    for name, expected in (("a", student.a), ("W", student.W), ("loss_history", np.array(losses)[study.record_steps,])):
        np.testing.assert_allclose(ds[name], expected, rtol=0, atol=1e-12, err_msg=name)
    # λ and η of the step after a record; from the end on, of the last step.
    after = [min(s, 299) for s in study.record_steps]
    np.testing.assert_array_equal(ds["applied_decay_history"], np.array(decays)[after])
    np.testing.assert_array_equal(ds["applied_step_size_history"], np.array(etas)[after])
    assert (float(ds["applied_decay"]), float(ds["applied_step_size"])) == (DECAY, ETA / 2)
    if kind not in ("descent", "sign"):
        # The companion: had the second stage kept the state, the result would be another.
        kept, _ = loop(*ens.initial(study), kind, decoupled, decays, etas, fresh=0)
        assert np.abs(np.asarray(kept.W) - ds["W"].values).max() > 1e-7


@pytest.mark.parametrize("kind", ["momentum", "adam"])
def test_a_stage_that_keeps_its_state_goes_on_as_if_there_were_one(kind):
    def stages(*names_and_steps):
        return {
            "kind": "stages",
            "stages": [
                {"name": n, "update": kind, "steps": s, "step_size": ETA, "weight_decay": DECAY, "keep_state": n == "b"}
                for n, s in names_and_steps
            ],
        }

    whole = ens.run(small(seeds=1, axes={}, records=[60], protocol=stages(("a", 60))))
    parts = ens.run(small(seeds=1, axes={}, records=[60], protocol=stages(("a", 25), ("b", 35))))
    np.testing.assert_array_equal(parts["W"], whole["W"])


def test_keeping_a_state_that_is_not_there_is_refused():
    def two(first):
        stages = [
            {"name": "a", "update": first, "steps": 2},
            {"name": "b", "update": "adam", "steps": 2, "keep_state": True},
        ]
        return {"kind": "stages", "stages": stages}

    with pytest.raises(ens.StudyError, match=r"stages.b.keep_state: got true, but the stage before it is momentum"):
        small(protocol=two("momentum"), axes={})
    with pytest.raises(ens.StudyError, match=r"stages.a.keep_state: got true, but no stage before it takes steps"):
        small(protocol={"kind": "stages", "stages": [{"name": "a", "steps": 2, "keep_state": True}]}, axes={})


def test_numbers_of_an_update_are_axes_that_compile_nothing():
    from ensemble.engine import TRACES
    from ensemble.plan import groups

    protocol = {"kind": "fixed_decay", "step_size": 0.05, "steps": 7, "update": "adam", "weight_decay": 0.01}
    axes = {"b1": [0.0, 0.5, 0.9], "eps": [1e-8, 1e-3], "step_size": [0.01, 0.02]}
    study = small(seeds=1, protocol=protocol, axes=axes)
    assert study.axes["b1"].field == "protocol.update.b1" and len(groups(study)) == 1
    before = len(TRACES)
    ds = ens.run(study)
    assert len(TRACES) - before <= 1
    assert len(np.unique(ds["loss"].values)) == 12


def test_an_axis_over_updates_is_one_program_each():
    protocol = {"kind": "fixed_decay", "step_size": 0.02, "steps": 9, "weight_decay": 0.01}
    study = small(seeds=1, protocol=protocol, axes={"update": ["descent", "momentum", "adam"]})
    assert study.axes["update"].field == "protocol.update"
    ds = ens.run(study)
    alone = ens.run(small(seeds=1, axes={}, protocol=protocol | {"update": "adam"}))
    np.testing.assert_array_equal(ds["W"].sel(update="adam"), alone["W"])
    assert set(ds.attrs["engine"].split(", ")) == {"simd", "xla"}


# -- what each is known to do (theory.md §7) -----------------------------------------------------------


@dataclasses.dataclass
class Line:
    """A risk on one weight with a given slope everywhere, or ½ℓw² with a given curvature."""

    slope: float = 0.0
    curvature: float = 0.0

    def value_and_gradient(self, model):
        return None, {"w": self.slope + self.curvature * model["w"]}


def walk(kind: str, risk: Line, eta: float, steps: int, start: float = 0.0, **numbers: float) -> np.ndarray:
    rule, model, seen = update(kind, **numbers), {"w": jnp.asarray(start)}, [start]
    objective = Objective(risk, L2(), jnp.asarray(0.0), jnp.asarray(eta), {"w": jnp.asarray(True)}, False)  # type: ignore[arg-type]
    state = rule.init(model)
    step = jax.jit(lambda model, state: rule.step(model, state, objective, None)[:2])
    for _ in range(steps):
        model, state = step(model, state)
        seen.append(float(model["w"]))
    return np.array(seen)


@pytest.mark.parametrize("slope", [3.0, -1e-3])
def test_first_steps(slope):
    sign = np.sign(slope)
    # Adam: −η g/(|g| + ε), and η every step where the slope is constant and ε = 0.
    np.testing.assert_allclose(
        walk("adam", Line(slope), 0.1, 1, eps=1e-2)[1], -0.1 * slope / (abs(slope) + 1e-2), rtol=1e-12
    )
    np.testing.assert_allclose(np.diff(walk("adam", Line(slope), 0.1, 9, eps=0.0)), -0.1 * sign, rtol=1e-12)
    # AdaGrad from an empty accumulator: Σ η/√t.
    expected = -0.1 * sign * np.cumsum(1 / np.sqrt(np.arange(1, 10)))
    path = walk("adagrad", Line(slope), 0.1, 9, initial_accumulator_value=0.0, eps=0.0)[1:]
    np.testing.assert_allclose(path, expected, rtol=1e-12)
    # RMSprop: η/√(1 − ρ).
    np.testing.assert_allclose(
        walk("rmsprop", Line(slope), 0.1, 1, decay=0.91, eps=0.0)[1], -sign * 0.1 / 0.3, rtol=1e-12
    )
    np.testing.assert_allclose(np.diff(walk("sign", Line(slope), 0.1, 4)), -0.1 * sign, rtol=1e-12)


@pytest.mark.parametrize(("kind", "mu"), [("descent", 0.0), ("momentum", 0.5), ("momentum", 0.9), ("nesterov", 0.9)])
def test_stability_limits(kind, mu):
    """Exactly at ηℓ = `limit` a quadratic of curvature ℓ ceases to be one that the update comes to rest on."""
    numbers = {} if kind == "descent" else {"momentum": mu}
    limit = update(kind, **numbers).limit()
    assert limit == pytest.approx(
        {"descent": 2.0, "momentum": 2 * (1 + mu), "nesterov": 2 * (1 + mu) / (1 + 2 * mu)}[kind]
    )
    calm = walk(kind, Line(curvature=1.0), 0.98 * limit, 3000, 1.0, **numbers)
    wild = walk(kind, Line(curvature=1.0), 1.02 * limit, 3000, 1.0, **numbers)
    assert abs(calm[-1]) < 1e-8 and not abs(wild[-1]) < 1e8


def test_the_stability_warning_knows_momentum():
    def study(update, step_size):
        protocol = {"kind": "plain", "layers": "first", "step_size": step_size, "steps": 9, "update": update}
        teacher = {"kind": "orthonormal", "activation": "relu", "neurons": 8, "inputs": 8}
        return small(axes={}, teacher=teacher, student={"neurons": 8, "start": "xavier"}, protocol=protocol)

    heavy = {"kind": "momentum", "momentum": 0.9}
    # 2/2.25 for descent; 1.9 times that for heavy ball.
    with pytest.warns(ens.StudyWarning, match=r"above 0.889 descent cannot rest"):
        study("descent", 1.0)
    study(heavy, 1.0)
    with pytest.warns(ens.StudyWarning, match=r"above 1.69 momentum cannot rest at the teacher .* > 3.8"):
        study(heavy, 1.8)
    study("adam", 50.0)


@pytest.mark.parametrize("kind", STEPPED)
def test_rotating_the_input_changes_nothing_where_that_is_claimed(kind, rng):
    rule = update(kind)
    Q, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    student = ens.TwoLayer(rng.normal(size=3), rng.normal(size=(3, 4)), "relu")
    teacher = ens.TwoLayer([1.0, 2.0], np.eye(2, 4), "relu")

    def steps(turn):
        model = ens.TwoLayer(student.a, student.W @ turn, "relu")
        risk = ens.PopulationRisk.of(ens.TwoLayer(teacher.a, teacher.W @ turn, "relu"))
        moves = jax.tree.map(lambda _: jnp.asarray(True), model)
        objective = Objective(risk, L2(), jnp.asarray(0.01), jnp.asarray(0.05), moves, False)
        state = rule.init(model)
        for _ in range(3):
            model, state, _ = rule.step(model, state, objective, None)  # type: ignore[arg-type]
        return model.W

    difference = np.abs(steps(jnp.asarray(Q)) - steps(jnp.eye(4)) @ Q).max()
    # Newton's products are differences of gradients over 1e-5: rounding is 1e5 times as large in them.
    assert (difference < (1e-10 if kind == "newton" else 1e-13)) == rule.rotation_equivariant, difference


def test_coordinatewise_updates_are_run_in_full_coordinates():
    teacher = {"kind": "separated_pairs", "activation": "abs_centred", "neurons": 2, "inputs": 20, "separation": 0.8}
    protocol = {"kind": "fixed_decay", "steps": 5, "step_size": 0.01}

    def study(update, **changes):
        table = protocol | {"update": update}
        return small(seeds=1, axes={}, teacher=teacher, protocol=table, probes=["loss"], **changes)

    sizes = {kind: int(ens.run(study(kind))["coordinates"]) for kind in ("descent", "momentum", "adam")}
    assert sizes == {"descent": 6, "momentum": 6, "adam": 20}
    with pytest.raises(
        ens.StudyError, match="coordinates: got 'reduced' with the update 'adam' in the stage 'local', which"
    ):
        study("adam", coordinates="reduced")
    assert int(ens.run(study("nesterov", coordinates="reduced"))["coordinates"]) == 6


def test_a_random_rotation_of_the_teacher():
    teacher = {"kind": "separated_pairs", "activation": "abs_centred", "neurons": 2, "inputs": 4, "separation": 0.8}

    def run(update, rotation, **changes):
        protocol = {"kind": "fixed_decay", "steps": 40, "step_size": 0.02, "update": update}
        study = small(seeds=3, axes={}, teacher=teacher | {"rotation": rotation}, protocol=protocol, **changes)
        return ens.run(study)

    turned = run("adam", "random")
    gram = turned["teacher_W"].values @ np.swapaxes(turned["teacher_W"].values, -1, -2)
    np.testing.assert_allclose(gram, np.broadcast_to([[1, np.cos(0.8)], [np.cos(0.8), 1]], gram.shape), atol=1e-14)
    assert np.abs(np.diff(turned["teacher_W"].values, axis=0)).max() > 0.1, "each seed has its own"
    # A reduced problem does not know of it: the same bits with and without.
    wide = {**teacher, "inputs": 50}
    protocol = {"kind": "fixed_decay", "steps": 20, "step_size": 0.02}
    plain, random = (
        ens.run(small(seeds=2, axes={}, teacher=wide | {"rotation": r}, protocol=protocol, probes=["loss"]))
        for r in ("axes", "random")
    )
    np.testing.assert_array_equal(plain["W"], random["W"])


def test_rotations_are_uniform():
    from ensemble.problem.draws import random_frame

    frames = jax.vmap(lambda key: random_frame(key, 3, 3))(jax.random.split(jax.random.key(1), 4000))
    np.testing.assert_allclose(
        jnp.swapaxes(frames, 1, 2) @ frames, jnp.broadcast_to(jnp.eye(3), frames.shape), atol=1e-14
    )
    # Entries of a Haar rotation of R³ are uniform on [−1, 1]: mean 0, variance 1/3; five standard errors.
    np.testing.assert_allclose(jnp.mean(frames, axis=0), 0.0, atol=5 * np.sqrt(1 / 3 / 4000))
    np.testing.assert_allclose(jnp.mean(frames**2, axis=0), 1 / 3, atol=5 * np.sqrt(4 / 45 / 4000))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("adm", r"protocol.update.kind: got 'adm'; known updates are descent, .*did you mean 'adam'"),
        ({"kind": "adam", "beta1": 0.9}, r"protocol.update.beta1: unknown field"),
        ({"kind": "momentum", "momentum": 1.0}, r"protocol.update.momentum: got 1.0; input should be less than 1"),
        ({"kind": "optax", "name": "addam"}, r"protocol.update.name: got 'addam', which optax does not have"),
        ({"kind": "optax", "name": "adam", "arguments": {"c": 1}}, r"protocol.update.arguments: optax.adam refuses"),
        (
            {"kind": "optax", "name": "adam", "arguments": {"learning_rate": 1}},
            r"arguments.learning_rate: got 1; the stage",
        ),
        ({"kind": "optax", "name": "noisy_sgd", "arguments": {"eta": 0.1, "key": 3}}, r"which draws random numbers"),
        (
            {"kind": "optax", "name": "constant_schedule", "arguments": {"value": 1.0}},
            r"protocol.update.*constant_schedule",
        ),
        (3, r"protocol.update: got 3; give the name of an update, or a table"),
    ],
)
def test_updates_that_are_none_are_refused(table, message):
    with pytest.raises(ens.StudyError, match=message):
        small(axes={}, protocol={"kind": "fixed_decay", "steps": 5, "update": table})


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("lion", {}),
        ("adabelief", {"b1": 0.8}),
        ("sgd", {"momentum": 0.9}),
        ("scale_by_adam", {}),
        ("clip", {"max_delta": 0.1}),
    ],
)
def test_any_transformation_of_optax(name, arguments):
    """As a loop over optax: one with a learning rate as it is, another as a direction; no decay of its own."""
    protocol = {"kind": "fixed_decay", "weight_decay": DECAY, "step_size": ETA, "steps": 30, "decay": "decoupled"}
    study = small(
        seeds=1, axes={}, protocol=protocol | {"update": {"kind": "optax", "name": name, "arguments": arguments}}
    )
    ds = ens.run(study).isel(seed=0)
    student, teacher = ens.initial(study)
    with jax.numpy_dtype_promotion("standard"):
        inside = {"lion": {"weight_decay": 0.0}}.get(name, {})
        rated = name in ("lion", "adabelief", "sgd")
        peer = getattr(optax, name)(**({"learning_rate": ETA} if rated else {}), **inside, **arguments)
        state = peer.init(student)
        for _ in range(30):
            change, state = peer.update(ens.population_gradient(student, teacher), state, student)
            scale = 1.0 if rated else -ETA
            student = jax.tree.map(lambda x, u: x + scale * u - ETA * DECAY * x, student, change)  # noqa: B023
    np.testing.assert_allclose(ds["W"], student.W, rtol=0, atol=1e-12)
