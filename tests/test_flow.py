"""Gradient flow against an independent integrator, against descent, and on the member's clock."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from jax.flatten_util import ravel_pytree
from pydantic import TypeAdapter

import analysis
import ensemble as ens
from ensemble.dynamics.updates import flow
from ensemble.problem.penalties import Penalty
from tests.helpers import seldom
from tests.studies import small

GIVEN = {
    "kind": "given",
    "a": [0.75, -0.5, 0.25, 1.0],
    "W": [[0.5, 0.1, -0.2, 0.3], [0.2, -0.4, 0.1, 0.0], [-0.3, 0.2, 0.6, 0.1], [0.0, 0.3, -0.1, 0.4]],
}


def study(update: Any = "flow", **changes: Any) -> ens.Study:
    protocol = {"kind": "fixed_decay", "weight_decay": 0.02, "step_size": 1.0, "update": update}
    fields = {"seeds": 1, "axes": {}, "records": [0, 1, 10, 100], "student": {"neurons": 4, "start": GIVEN}}
    probes = {"probes": ["loss", "risk", "grad_norm"]}
    return small(**(fields | probes | changes | {"protocol": protocol | changes.get("protocol", {})}))


def integrated(asked: ens.Study, times, decays=((np.inf, 0.02),), penalty: Any = "l2", only_first: bool = False):
    """SciPy's DOP853 on the closed gradient, rtol 1e-12: weights at `times`; `decays`: (until, λ) in turn."""
    student, teacher = ens.initial(asked)
    part: Any = TypeAdapter(Penalty).validate_python(penalty)
    start, unravel = ravel_pytree(student)
    moves, _ = ravel_pytree(ens.TwoLayer(jnp.full(4, 0.0 if only_first else 1.0), jnp.ones((4, 4)), student.activation))

    @jax.jit
    def slope(y, decay):
        at = unravel(y)
        return (
            -moves
            * ravel_pytree(
                jax.tree.map(lambda g, p: g + decay * p, ens.population_gradient(at, teacher), part.gradient(at))
            )[0]
        )

    found, begin, y = [], 0.0, np.asarray(start)
    for until, decay in decays:
        mine = [t for t in times if begin < t <= until]
        ends = sorted({*mine, *([until] if np.isfinite(until) else [])})
        solution = scipy.integrate.solve_ivp(
            lambda t, y, decay=decay: np.asarray(slope(y, decay)),
            (begin, ends[-1]),
            y,
            method="DOP853",
            rtol=1e-12,
            atol=1e-14,
            t_eval=ends,
        )
        found += [solution.y[:, ends.index(t)] for t in mine]
        begin, y = ends[-1], solution.y[:, -1]
    return found


def weights(ds) -> np.ndarray:
    one = ds.isel(seed=0)
    return np.concatenate([one["a"].values, one["W"].values.ravel()])


@pytest.mark.parametrize("solver", seldom(["dopri8", "tsit5", "kvaerno5"], "dopri8", "kvaerno5"))
def test_flow_is_that_of_an_independent_integrator(solver):
    """Weights at t = 100 to 1e-9, from given starts; rtol = 1e-10 leaves 1e-12, and rtol = 1e-3 does not."""
    time = 100.0 if solver == "dopri8" else 20.0
    asked = study({"kind": "flow", "solver": solver}, protocol={"time": time})
    ds = ens.run(asked)
    (expected,) = integrated(asked, [time])
    assert np.abs(weights(ds) - expected).max() < 1e-9
    assert int(ds["stop_step"][0]) == time and ds.attrs["engine"] == "xla"
    if solver == "dopri8":
        rough = study({"kind": "flow", "solver": solver, "rtol": 1e-3, "atol": 1e-3}, protocol={"time": 100.0})
        assert np.abs(weights(ens.run(rough)) - expected).max() > 1e-7


def test_records_are_at_times_and_a_schedule_is_of_the_clock():
    """λ halves at t = 30 and 60 of 90; records at the clock's steps are the solution there; the first layer alone."""
    stage = {"name": "s", "update": "flow", "layers": "first", "time": 90.0, "step_size": 2.5, "weight_decay": 0.04}
    schedule = {"weight_decay_schedule": {"kind": "halving", "every": 12}}
    asked = study(records=[0, 3, 12, 20, 36]).replace(protocol={"kind": "stages", "stages": [stage | schedule]})
    ds = ens.run(asked)
    times = [7.5, 30.0, 50.0, 90.0]
    expected = integrated(asked, times, [(30.0, 0.04), (60.0, 0.02), (np.inf, 0.01)], only_first=True)
    assert np.abs(weights(ds) - expected[-1]).max() < 1e-9
    _, teacher = ens.initial(asked)
    _, unravel = ravel_pytree(ens.initial(asked)[0])
    losses = [float(ens.population_loss(unravel(jnp.asarray(y)), teacher)) for y in expected]
    np.testing.assert_allclose(ds["loss_history"].isel(seed=0)[1:], losses, rtol=1e-8)


def test_flow_under_another_penalty():
    asked = study(protocol={"time": 40.0, "penalty": "bottleneck"}, records=[0])
    (expected,) = integrated(asked, [40.0], penalty="bottleneck")
    assert np.abs(weights(ens.run(asked)) - expected).max() < 1e-9


def test_descent_differs_from_flow_by_the_order_of_its_step():
    """At t = 4: errors at η = 0.04, 0.02, 0.01 have slope 1 in η, and the flow is their limit."""
    flow = weights(ens.run(study(protocol={"time": 4.0}, records=[0])))
    errors = []
    for eta in (0.04, 0.02, 0.01):
        table = {"step_size": eta, "steps": round(4.0 / eta), "update": "descent"}
        errors.append(np.abs(weights(ens.run(study("descent", protocol=table, records=[0]))) - flow).max())
    slopes = np.diff(np.log(errors)) / np.log(0.5)
    np.testing.assert_allclose(slopes, 1.0, atol=0.05)
    # Richardson: twice the finer minus the coarser is flow to second order.
    assert errors[-1] > 1e-4


def test_rules_are_looked_at_at_whole_steps_of_the_clock():
    asked = study(protocol={"time": 4000.0, "grad_norm": 1e-6})
    ds = ens.run(asked)
    steps = int(ds["stop_step"][0])
    assert int(ds["status"][0]) == ens.STATUS["converged"] and 10 < steps < 4000
    (expected,) = integrated(asked, [float(steps)])
    assert np.abs(weights(ds) - expected).max() < 1e-9 and float(ds["grad_norm"][0]) <= 1e-6
    # One step of the clock before, the rule did not hold.
    before = ens.run(asked.replace(max_steps=steps - 1, records=0))
    assert float(before["grad_norm"][0]) > 1e-6


def test_tolerances_are_numbers_and_solvers_are_programs():
    from ensemble.plan import groups

    base = {"kind": "flow", "solver": "tsit5"}
    tolerances = study(base, protocol={"time": 3.0}).replace(axes={"rtol": [1e-4, 1e-8]}, records=[0])
    assert tolerances.axes["rtol"].field == "protocol.update.rtol" and len(groups(tolerances)) == 1
    solvers = study(base, protocol={"time": 3.0}).replace(axes={"solver": ["tsit5", "dopri8"]})
    assert len(groups(solvers)) == 2


@pytest.mark.parametrize(
    ("update", "protocol", "message"),
    [
        ("descent", {"time": 10.0}, r"time: got 10 under the update 'descent', whose time is that of its steps"),
        ("flow", {"time": 10.5}, r"time: got 10.5, which is no whole number of steps of the clock of 1 each"),
        ({"kind": "flow", "solver": "euler"}, {}, r"protocol.update.solver: got 'euler'; input should be 'tsit5'"),
        ({"kind": "flow", "rtol": 0.0}, {}, r"protocol.update.rtol: got 0.0; input should be greater than 0"),
        ("flow", {"time": -1.0}, r"protocol.time: got -1.0"),
        ("flow", {"time": 3.0, "steps": 7}, r"protocol.steps: got 7 beside time = 3, which is in place of steps"),
        ("flow", {"time": 3.0, "penalty": "l1"}, r"penalty: got 'l1' under the update 'flow', whose solution slides"),
    ],
)
def test_flows_that_are_none_are_refused(update, protocol, message):
    with pytest.raises(ens.StudyError, match=message):
        study(update, protocol=protocol)


def test_times_of_records():
    """Flow and descent of one clock; a halving step size; a stage that a rule ended; time stands still at the end."""
    ds = ens.run(study(protocol={"time": 4.0}, records=[0, 1, 3, 9]))
    np.testing.assert_allclose(analysis.record_times(ds).isel(seed=0), [0.0, 1.0, 3.0, 4.0])
    halving = {"step_size_schedule": {"kind": "halving", "every": 5}}
    stages = [
        {"name": "a", "step_size": 0.2, "steps": 10, **halving},
        {"name": "refit", "update": "balance"},
        {"name": "b", "step_size": 0.05, "steps": 400, "grad_norm": 0.2},
        {"name": "c", "step_size": 0.01, "steps": 7},
    ]
    ds = ens.run(study(records=[0, 5, 10, 12, 500], seeds=2).replace(protocol={"kind": "stages", "stages": stages}))
    found = analysis.record_times(ds).isel(seed=0).values
    ended = int(ds["stage_end_step"].isel(seed=0).sel(stage="b"))
    taken = ended - 10
    assert 2 < taken < 400
    np.testing.assert_allclose(found, [0.0, 1.0, 1.5, 1.6, 1.5 + 0.05 * taken + 0.07], rtol=1e-14)
    with pytest.raises(ValueError, match="step: got a dataset without records"):
        analysis.record_times(ens.run(study(protocol={"time": 1.0}, records=0)))


def test_a_solution_that_slides_along_a_kink_ends(monkeypatch):
    """On a sample the gradient of relu jumps where a preactivation is 0: no step of a solver is short enough."""
    monkeypatch.setattr(flow, "MOST_ATTEMPTS", 500)
    update = {"kind": "flow", "solver": "tsit5"}
    stage = {"name": "s", "update": update, "weight_decay": 0.01, "step_size": 0.05, "time": 0.5}
    study = small(
        teacher={"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 4},
        student={"neurons": 3},
        data={"samples": 20, "noise": 0.1, "batch": 5},
        protocol={"kind": "stages", "stages": [stage]},
        probes=["loss", "train_loss"],
        seeds=2,
        axes={},
    )
    ds = ens.run(study)
    assert ens.STATUS["diverged"] in ds["status"] and np.all(np.isfinite(ds["train_loss"]))
