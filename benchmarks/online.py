"""Online descent of two-layer relu students on fresh samples in every step: gd-atlas and what a user would write.

    ours         `Xla` or `Simd`, the engine's advance alone
    vmap         jax.vmap over members of a loop with optax.sgd, jax.grad and jax.random.normal
    torch        PyTorch, one member after another, one process a core
    torch_many   PyTorch, the members of a process in one tensor, one process a core

All draw x ~ N(0, I) and labels of a teacher without noise, in float64. `python -m benchmarks.online NAME m m* d batch
members steps` prints one JSON object: microseconds a member-step, the best of three runs after one that warms up.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np

STEP_SIZE = 1e-3


def best(run: Callable[[], object]) -> float:
    """Seconds of the fastest of three runs after a warm-up."""
    run()
    times = []
    for _ in range(3):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def ours(kernel: str, m: int, teacher: int, d: int, batch: int, members: int, steps: int) -> float:
    import ensemble as ens
    from ensemble.engine.kernels import KERNELS
    from ensemble.engine.lanes import ACTIVE, NEVER, empty_lanes
    from ensemble.plan import groups

    study = ens.Study.model_validate(
        {
            "name": "online",
            "seeds": 1,
            "data": {"online": True, "batch": batch},
            "teacher": {"kind": "orthonormal", "activation": "relu", "neurons": teacher, "inputs": d},
            "student": {"neurons": m, "start": "xavier"},
            "protocol": {"kind": "plain", "step_size": STEP_SIZE, "steps": 1},
        }
    )
    (pool,) = groups(study)[0].pools
    engine = KERNELS[kernel](pool, members)
    lanes = empty_lanes(engine.count, pool.like)
    moving, stage, risk = lanes.moving, lanes.stage, lanes.fixed.risk
    rng = np.random.default_rng(m)
    moving.model.a[:] = 1.0 / m
    moving.model.W[:] = rng.normal(size=moving.model.W.shape) / np.sqrt(d)
    risk.population.teacher.a[:], risk.population.teacher.W[:] = 1.0 / teacher, np.eye(teacher, d)
    risk.key[:] = rng.integers(0, 2**32, risk.key.shape, np.uint32)
    moving.code[:], stage.end_step[:] = ACTIVE, NEVER
    stage.step_size[:], stage.moves.a[:], stage.moves.W[:], stage.grad_norm[:] = STEP_SIZE, True, True, -1.0
    records = np.array([NEVER], np.int32)
    return 1e6 * best(lambda: engine.advance(lanes, records, steps)) / steps / engine.count


def vmap(m: int, teacher: int, d: int, batch: int, members: int, steps: int) -> float:
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_enable_x64", True)
    target, update = (jnp.full(teacher, 1.0 / teacher), jnp.eye(teacher, d)), optax.sgd(STEP_SIZE)

    def values(parameters, x):
        a, W = parameters
        return jax.nn.relu(x @ W.T) @ a

    def descend(parameters, key):
        def one(step, carry):
            parameters, state = carry
            x = jax.random.normal(jax.random.fold_in(key, step), (batch, d))
            y = values(target, x)
            slope = jax.grad(lambda p: 0.5 * jnp.mean((values(p, x) - y) ** 2))(parameters)
            change, state = update.update(slope, state)
            return optax.apply_updates(parameters, change), state

        return jax.lax.fori_loop(0, steps, one, (parameters, update.init(parameters)))[0]

    program = jax.jit(jax.vmap(descend))
    start = jnp.full((members, m), 1.0 / m), jnp.asarray(starts(m, d, members))
    keys = jax.random.split(jax.random.key(0), members)
    return 1e6 * best(lambda: jax.block_until_ready(program(start, keys))) / steps / members


def starts(m: int, d: int, members: int) -> np.ndarray:
    """Rows N(0, I/d): shape (members, m, d)."""
    return np.random.default_rng(m).normal(size=(members, m, d)) / np.sqrt(d)


def torch_descend(arguments) -> float:
    import torch

    W, teacher, batch, steps, together = arguments
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    d = W.shape[-1]
    a_star, W_star, total = torch.full((teacher,), 1.0 / teacher), torch.eye(teacher, d), 0.0
    for part in torch.from_numpy(W).split(len(W) if together else 1):
        a, W = torch.full(part.shape[:2], 1.0 / part.shape[1], requires_grad=True), part.clone().requires_grad_()
        update = torch.optim.SGD([a, W], STEP_SIZE)
        for _ in range(steps):
            x = torch.randn(len(part), batch, d)
            y = torch.relu(x @ W_star.T) @ a_star
            errors = (torch.relu(x @ W.transpose(1, 2)) @ a[:, :, None])[..., 0] - y
            update.zero_grad()
            # The mean over samples, the sum over members, which share nothing.
            (0.5 * (errors**2).mean(dim=1).sum()).backward()
            update.step()
        total += float(W.detach().sum())
    return total


def torch(together: bool, m: int, teacher: int, d: int, batch: int, members: int, steps: int) -> float:
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores) as pool:
        parts = np.array_split(starts(m, d, members), cores)

        def run(count: int) -> None:
            list(pool.map(torch_descend, [(part, teacher, batch, count, together) for part in parts]))

        run(1)
        return 1e6 * best(lambda: run(steps)) / steps / members


def main() -> None:
    name, *numbers = sys.argv[1:]
    m, teacher, d, batch, members, steps = map(int, numbers)
    run = {
        "xla": lambda *n: ours("xla", *n),
        "simd": lambda *n: ours("simd", *n),
        "vmap": vmap,
        "torch": lambda *n: torch(False, *n),
        "torch_many": lambda *n: torch(True, *n),
    }[name]
    print(json.dumps({"us": run(m, teacher, d, batch, members, steps)}))


if __name__ == "__main__":
    main()
