"""Deep students to the same rules, gd-atlas beside a plain vmapped optax loop: `python -m benchmarks.deep MEMBERS`.

depth 4, width 32, relu, 24 samples each of an orthonormal teacher of two neurons in four inputs, descent with a step of
0.1 until the gradient's norm is at most TOLERANCE, at most STEPS steps. The loop steps all members until the last one
has ended; both start from the same weights and samples, in one process, after a warm-up of each. Prints one JSON
object.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import ensemble as ens
from ensemble.plan import groups
from ensemble.plan.workloads import workload

STEP_SIZE, TOLERANCE, STEPS = 0.1, 0.01, 2_000


def study(members: int) -> ens.Study:
    return ens.Study.model_validate(
        {
            "name": "deep",
            "seeds": members,
            "records": 0,
            "probes": ["train_loss"],
            "teacher": {"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 4},
            "student": {"kind": "deep", "depth": 4, "width": 32},
            "data": {"samples": 24},
            "protocol": {"kind": "plain", "step_size": STEP_SIZE, "steps": STEPS, "grad_norm": TOLERANCE},
        }
    )


def plain_loop(model: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """(models, steps) of all members, each stopped by the rule, by one while_loop over a vmapped optax step."""
    descent = optax.sgd(STEP_SIZE)

    def loss(model, x, y):
        return 0.5 * jnp.mean((jax.vmap(model)(x) - y) ** 2)

    def one(model, state, x, y):
        gradient = jax.grad(loss)(model, x, y)
        updates, new_state = descent.update(gradient, state, model)
        goes = optax.global_norm(gradient) > TOLERANCE
        moved = optax.apply_updates(model, updates)
        return jax.tree.map(lambda new, old: jnp.where(goes, new, old), (moved, new_state), (model, state)), goes

    def going_on(carry):
        step, _, _, goes, _ = carry
        return (step < STEPS) & jnp.any(goes)

    def step_all(carry):
        step, model, state, _, taken = carry
        (model, state), goes = jax.vmap(one)(model, state, x, y)
        return step + 1, model, state, goes, taken + goes

    count = x.shape[0]
    begin = 0, model, jax.vmap(descent.init)(model), jnp.ones(count, bool), jnp.zeros(count, int)
    _, model, _, _, taken = jax.lax.while_loop(going_on, step_all, begin)
    return model, taken


def timed(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """(seconds, CPU seconds of all threads, result)."""
    began, began_cpu = time.perf_counter(), time.process_time()
    result = call()
    return time.perf_counter() - began, time.process_time() - began_cpu, result


def measured(members: int) -> dict[str, Any]:
    made = study(members)
    (group,) = groups(made)
    drawn = workload(made, group, np.arange(members), None).draw(np.arange(members))  # pyright: ignore[reportArgumentType]
    starts, x, y = jax.tree.map(jnp.asarray, (drawn.model, drawn.risk.x, drawn.risk.y))
    ens.run(study(64))
    program = jax.jit(plain_loop).lower(starts, x, y).compile()
    ours, ours_cpu, ds = timed(lambda: ens.run(made))
    plain, plain_cpu, (_, taken) = timed(lambda: jax.block_until_ready(program(starts, x, y)))
    stop = ds["stop_step"].values
    return {
        "members": members,
        "seconds": ours,
        "plain_seconds": plain,
        "cpu_seconds": ours_cpu,
        "plain_cpu_seconds": plain_cpu,
        "lane_efficiency": ds.attrs["lane_efficiency"],
        "mean_steps": float(stop.mean()),
        "median_steps": float(np.median(stop)),
        "max_steps": int(stop.max()),
        "unfinished": int((ds["status"] != ens.STATUS["converged"]).sum()),
        "largest_difference_of_steps": int(np.abs(np.asarray(taken) - stop).max()),
    }


if __name__ == "__main__":
    print(json.dumps(measured(int(sys.argv[1]))))
