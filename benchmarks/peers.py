"""What a user would write instead: each peer takes the same members the same steps in a process of its own.

    numpy     a NumPy loop over members, one process a core
    vmap      jax.vmap over all members, lax.while_loop, jnp.arccos, JAX as it comes
    torch     torch.func.vmap over all members, all cores (skipped where torch is not installed)

Each is called as `python -m benchmarks.peers NAME k members steps tolerance` and prints one JSON object: seconds of
the second run (the first warms up) and the sum of the final losses' stand-in Σ‖W‖², by which runs are compared.
"""

import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np


def starts(k: int, members: int) -> np.ndarray:
    """Rows N(0, I/k), the same for every peer: shape (members, k, k)."""
    return np.random.default_rng(k).normal(size=(members, k, k)) / np.sqrt(k)


def numpy_gradient(W: np.ndarray, k: int) -> np.ndarray:
    """∂L/∂W for relu, a = a* = 1, W* = I."""
    V = np.concatenate([W, np.eye(k)])
    c = np.concatenate([np.ones(k), -np.ones(k)])
    norm_w, norm_v = np.linalg.norm(W, axis=1), np.linalg.norm(V, axis=1)
    rho = np.clip(W @ V.T / np.outer(norm_w, norm_v), -1.0, 1.0)
    radial = (np.sqrt(1.0 - rho * rho) * norm_v) @ c / norm_w
    return (radial[:, None] * W + ((np.pi - np.arccos(rho)) * c) @ V) / (2.0 * np.pi)


def numpy_descend(arguments) -> float:
    W, steps, tolerance, step_size = arguments
    k, total = W.shape[1], 0.0
    for member in W:
        for _ in range(steps):
            slope = numpy_gradient(member, k)
            if np.sqrt((slope * slope).sum()) <= tolerance:
                break
            member = member - step_size * slope
        total += (member * member).sum()
    return total


def run_numpy(k: int, members: int, steps: int, tolerance: float, step_size: float) -> tuple[float, float]:
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores) as pool:
        parts = np.array_split(starts(k, members), cores)
        list(pool.map(numpy_descend, [(p[:1], 1, tolerance, step_size) for p in parts]))
        began = time.perf_counter()
        total = sum(pool.map(numpy_descend, [(p, steps, tolerance, step_size) for p in parts]))
        return time.perf_counter() - began, total


def run_vmap(k: int, members: int, steps: int, tolerance: float, step_size: float) -> tuple[float, float]:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def slope_of(W):
        V = jnp.concatenate([W, jnp.eye(k)])
        c = jnp.concatenate([jnp.ones(k), -jnp.ones(k)])
        norm_w, norm_v = jnp.linalg.norm(W, axis=1), jnp.linalg.norm(V, axis=1)
        rho = jnp.clip(W @ V.T / jnp.outer(norm_w, norm_v), -1.0, 1.0)
        radial = (jnp.sqrt(1.0 - rho * rho) * norm_v) @ c / norm_w
        return (radial[:, None] * W + ((jnp.pi - jnp.arccos(rho)) * c) @ V) / (2.0 * jnp.pi)

    def descend(W):
        def going_on(state):
            step, _, norm = state
            return (step < steps) & (norm > tolerance)

        def one(state):
            step, W, _ = state
            slope = slope_of(W)
            norm = jnp.sqrt((slope * slope).sum())
            return step + 1, jnp.where(norm > tolerance, W - step_size * slope, W), norm

        return jax.lax.while_loop(going_on, one, (0, W, jnp.inf))[1]

    program = jax.jit(jax.vmap(descend)).lower(jnp.asarray(starts(k, members))).compile()
    W = jnp.asarray(starts(k, members))
    if tolerance < 0:
        jax.block_until_ready(program(W))
    began = time.perf_counter()
    final = jax.block_until_ready(program(W))
    return time.perf_counter() - began, float((final**2).sum())


def run_torch(k: int, members: int, steps: int, tolerance: float, step_size: float) -> tuple[float, float]:
    import torch

    eye, c = torch.eye(k, dtype=torch.float64), torch.cat([torch.ones(k), -torch.ones(k)]).double()

    def slope_of(W):
        V = torch.cat([W, eye])
        norm_w, norm_v = W.norm(dim=1), V.norm(dim=1)
        rho = (W @ V.T / torch.outer(norm_w, norm_v)).clamp(-1.0, 1.0)
        radial = (torch.sqrt(1.0 - rho * rho) * norm_v) @ c / norm_w
        return (radial[:, None] * W + ((torch.pi - torch.arccos(rho)) * c) @ V) / (2.0 * torch.pi)

    slopes = torch.func.vmap(slope_of)
    W = torch.from_numpy(starts(k, members))
    slopes(W)
    began = time.perf_counter()
    for _ in range(steps):
        W = W - step_size * slopes(W)
    return time.perf_counter() - began, float((W**2).sum())


def main() -> None:
    name, k, members, steps, tolerance, step_size = sys.argv[1:]
    run = {"numpy": run_numpy, "vmap": run_vmap, "torch": run_torch}[name]
    seconds, total = run(int(k), int(members), int(steps), float(tolerance), float(step_size))
    print(json.dumps({"seconds": seconds, "sum_of_squares": total}))


if __name__ == "__main__":
    main()
