"""Transformations of optax by name: those whose state knows the step size, and those that are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ensemble as ens
from tests.studies import small

DECAY = 0.05


@pytest.mark.parametrize("decay", ["coupled", "decoupled"])
def test_a_state_that_knows_the_step_size_begins_with_that_of_the_first_step(decay):
    """rprop's state is its step sizes, of which the first is η: two cells, and a schedule that does not begin at 1."""
    linear = {"init_value": 0.5, "end_value": 1.0, "transition_steps": 9}
    protocol = {
        "kind": "fixed_decay",
        "update": {"kind": "optax", "name": "rprop"},
        "step_size_schedule": {"kind": "optax", "name": "linear_schedule", "arguments": linear},
        "weight_decay": DECAY,
        "decay": decay,
        "steps": 25,
    }
    study = small(seeds=1, protocol=protocol, axes={"step_size": [0.01, 0.004]}, probes=["loss"])
    ds = ens.run(study).isel(seed=0)
    slopes = jax.jit(ens.population_gradient)
    for eta in (0.01, 0.004):
        student, teacher = ens.initial(study, step_size=eta)
        with jax.numpy_dtype_promotion("standard"):
            peer = optax.rprop(eta / 2)
            state = peer.init(student)
            for t in range(25):
                shrink = jax.tree.map(lambda x: DECAY * x, student)
                slope = slopes(student, teacher)
                slope = jax.tree.map(jnp.add, slope, shrink) if decay == "coupled" else slope
                beside = eta * min(1.0, 0.5 + t / 18) if decay == "decoupled" else 0.0
                change, state = peer.update(slope, state, student)
                student = jax.tree.map(lambda x, u, s: x + u - beside * s, student, change, shrink)  # noqa: B023
        np.testing.assert_allclose(ds["W"].sel(step_size=eta), student.W, rtol=0, atol=1e-12)


def test_a_state_whose_type_changes_in_a_step_is_refused():
    """Steps between applications that are no whole number: optax counts them in a whole number at first."""
    update = {"kind": "optax", "name": "apply_every", "arguments": {"k": 2.5}}
    said = (
        r"protocol.update.arguments: got {'k': 2.5} of optax.apply_every, whose state changes .*int32 of shape \(\), "
    )
    with pytest.raises(ens.StudyError, match=said + "becomes float64 of shape"):
        small(protocol={"kind": "fixed_decay", "update": update}, axes={})


def test_a_number_that_is_not_finite_is_refused_as_what_it_is():
    update = {"kind": "optax", "name": "adam", "arguments": {"b1": float("nan")}}
    with pytest.raises(ens.StudyError, match=r"^protocol.update.arguments.b1: got nan; give a finite number$"):
        small(protocol={"kind": "fixed_decay", "update": update}, axes={})
    linear = {"init_value": 1.0, "end_value": float("inf"), "transition_steps": 9}
    schedule = {"kind": "optax", "name": "linear_schedule", "arguments": linear}
    with pytest.raises(ens.StudyError, match=r"^protocol.step_size_schedule.arguments.end_value: got inf; give"):
        small(protocol={"kind": "fixed_decay", "step_size_schedule": schedule}, axes={})


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        ({"name": "lion"}, {"name": "adam"}, r"optax with name = 'lion'; .* \(optax with name = 'adam'\) can be kept"),
        (
            {"name": "adam", "arguments": {"b1": 0.5}},
            {"name": "adam"},
            r"optax with arguments = {'b1': 0.5}; .* \(optax with arguments = {}\) can be kept",
        ),
    ],
)
def test_a_state_of_another_transformation_is_refused_by_its_name(first, then, said):
    updates = [{"kind": "optax"} | first, {"kind": "optax"} | then]
    stages = [{"name": f"{k}", "update": update, "steps": 2, "keep_state": k == 1} for k, update in enumerate(updates)]
    with pytest.raises(ens.StudyError, match=rf"stages.1.keep_state: got true, but the stage before it is {said}"):
        small(protocol={"kind": "stages", "stages": stages}, axes={})
