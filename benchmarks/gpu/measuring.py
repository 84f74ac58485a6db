"""`make gpu`: what a person with a card runs once, in a few minutes; small sizes where there is none.

Agreement of kernels, bits over lane counts and calls, speed beside a plain vmapped `lax.while_loop`, scaling over
lanes, time to convergence, the main job, memory. One JSON and one table, with device, driver and versions. What fails
is said and does not stop the rest.
"""

import json
import platform
import subprocess
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import ensemble as ens
from benchmarks.peers import run_vmap
from ensemble.engine.devices import accelerated
from ensemble.engine.lanes import take

from . import choices
from .cards import CARDS
from .lanes import Run
from .pallas import step_of
from .programs import Case, program_of, study


class Size(NamedTuple):
    """How much is measured."""

    activations: tuple[str, ...]
    steps: int
    fused: bool
    """Whether the Pallas kernel is timed: on a CPU it is interpreted, which says nothing."""
    shapes: tuple[tuple[int, int, int], ...]
    """(m, m*, d)."""
    members: int
    scaling: tuple[int, ...]
    """Lanes."""
    converging: int
    seeds: int
    """Of a cell of the main job."""


FULL = Size(
    tuple(ens.ACTIVATIONS), 400, True, ((8, 8, 8), (20, 20, 20), (50, 50, 50), (32, 4, 16)), 2**14,
    tuple(2**n for n in range(10, 19, 2)), 2**16, 32,
)  # fmt: skip
SMALL = Size(("abs_centred",), 10, False, ((8, 8, 8),), 64, (64, 128), 4, 1)


def measure(out: Path) -> None:
    """Measures everything and writes `out`.json and `out`.md."""
    size = FULL if accelerated() else SMALL
    found: dict[str, Any] = {"machine": machine(), "sizes": size._asdict()}
    sections: dict[str, Callable[[Size], Any]] = {
        "agreement": agreement,
        "bits": bits,
        "speed": speed,
        "convergence": convergence,
        "main_job": main_job,
        "choices": lambda size: choices.measured(size.steps // 4) if size.fused else [],
        "scaling": scaling,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    for name, section in sections.items():
        began = time.perf_counter()
        try:
            found[name] = section(size)
        except Exception as error:  # a card's first run must not lose the other sections
            traceback.print_exc()
            found[name] = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:400]}
        print(f"{name}: {time.perf_counter() - began:.1f} s", flush=True)
        found["memory"] = jax.local_devices()[0].memory_stats() or {}
        out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    text = as_text(found)
    out.with_suffix(".md").write_text(text)
    print(text)
    wrong = [name for name in sections if "error" in found[name]]
    if wrong:
        raise SystemExit(f"error: {', '.join(wrong)} failed; {out.with_suffix('.json')} says how")


def machine() -> dict[str, Any]:
    device = jax.local_devices()[0]
    try:
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        driver = "none"
    return {
        "device": device.device_kind,
        "devices": len(ens.places()) if accelerated() else 1,
        "driver": driver,
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "jaxlib", "numpy", "equinox", "optax")},
    }


def agreement(size: Size) -> dict[str, Any]:
    """The largest difference of weights, at the end and at records, between kernels: activation by activation."""

    def of_activation(activation: str) -> float:
        case = Case("xla", 6, 7, 4, activation=activation)
        protocol = {"kind": "fixed_decay", "step_size": 0.02, "weight_decay": 0.02, "steps": 2 * size.steps}
        made = study(case, 4, protocol=protocol, store_weights=True, records=5)
        plain, fused = ens.run(made, engine="xla"), ens.run(made, engine="fused")
        return max(float(np.abs(plain[name].values - fused[name].values).max()) for name in ("W", "loss_history"))

    # Most of it is compiling.
    with ThreadPoolExecutor() as pool:
        found = dict(zip(size.activations, pool.map(of_activation, size.activations), strict=True))
    # Order-one arithmetic, some 1e-16 a step, without amplification by more than 100.
    allowed = 2 * size.steps * 1e-14
    if not max(found.values()) <= allowed:
        raise AssertionError(f"kernels differ by {max(found.values()):.1e}, more than {allowed:.1e}: {found}")
    return {"largest": max(found.values()), "allowed": allowed, "by_activation": found}


def bits(size: Size) -> dict[str, Any]:
    """A member's bits among few and many members, and over one call and several."""
    found = {}
    for kernel in ("xla", "fused") if size.fused else ("xla",):
        few = _models_after(kernel, 16, [size.steps // 2, size.steps - size.steps // 2])
        many = _models_after(kernel, 4096 if size.fused else 64, [size.steps])
        if not all(np.array_equal(x, y) for x, y in zip(few, many, strict=True)):
            raise AssertionError(f"{kernel}: a member's bits depend on how many there are or on the calls")
        found[kernel] = True
    return found


def _models_after(kernel: str, members: int, budgets: list[int]) -> list[np.ndarray]:
    run, first = Run(kernel, Case(kernel, 8), members), np.arange(16)
    for budget in budgets:
        run.advance(budget)
    run.bring(first)
    return jax.tree.leaves(take(run.lanes.moving.model, first))


def speed(size: Size) -> list[dict[str, Any]]:
    """Kernels beside a plain vmapped while loop on the same device."""
    found = []
    for m, mt, d in size.shapes:
        row: dict[str, Any] = {"m": m, "teacher_neurons": mt, "d": d}
        for kernel in ("xla", "fused") if size.fused else ("xla",):
            run = Run(kernel, Case(kernel, m, d, mt), size.members)
            row[kernel], row[f"{kernel}_lanes"] = run.nanoseconds(size.steps), run.kernel.count
        if m == mt == d:
            seconds, _ = run_vmap(m, size.members, size.steps, -1.0, 1e-3)
            row["vmap"] = 1e9 * seconds / size.members / size.steps
        row["share_of_peak"] = share_of_peak(Case("fused", m, d, mt), min(row[k] for k in ("xla", "fused") if k in row))
        found.append(row)
    return found


def share_of_peak(case: Case, ns: float) -> float | None:
    """Float64 instructions of a step over what the card starts in that time; None for a device that is not known."""
    kind = jax.local_devices()[0].device_kind
    card = next((card for name, card in CARDS.items() if name in kind or (name == "H100" and "H200" in kind)), None)
    if card is None:
        return None
    run, arguments, _ = program_of(case, 2**33)
    return step_of(run, arguments).operations.instructions / (1e-9 * ns * card.operations_a_second("float64"))


def scaling(size: Size) -> dict[str, Any]:
    """ns a member-step at the main job's shape, lanes after lanes."""
    found: dict[str, Any] = {}
    for kernel in ("xla", "fused") if size.fused else ("xla",):
        for members in size.scaling:
            run = Run(kernel, Case(kernel, 32), members)
            ns = run.nanoseconds(max(8, size.steps // 8))
            found.setdefault(kernel, {})[members] = {"ns": ns, "lanes": run.kernel.count}
    return found


def convergence(size: Size) -> dict[str, Any]:
    """The heavy-tailed study: members that end after very different numbers of steps."""
    k, tolerance = 8, 1e-9 if size.fused else 1e-3
    fields = {
        "teacher": {"kind": "orthonormal", "activation": "relu", "neurons": k, "inputs": k},
        "student": {"neurons": k, "start": "xavier"},
        "protocol": {
            "kind": "plain", "layers": "first", "step_size": 0.1, "steps": 2_000_000, "grad_norm": tolerance,
        },
    }  # fmt: skip
    made = study(Case("xla", k, k, k), size.converging, **fields)
    first, ds = ens.run(made), ens.run(made)
    seconds, _ = run_vmap(k, size.converging, 2_000_000, tolerance, 0.1)
    return {
        "members": size.converging,
        "tolerance": tolerance,
        "engine": ds.attrs["engine"],
        "seconds": ds.attrs["wall_time"],
        "with_compiling": first.attrs["wall_time"],
        "lane_efficiency": ds.attrs["lane_efficiency"],
        "member_steps": int(ds["stop_step"].astype(int).sum()),
        "largest": int(ds["stop_step"].max()),
        "vmap_seconds": seconds,
        "times": seconds / ds.attrs["wall_time"],
    }


def main_job(size: Size) -> dict[str, Any]:
    """studies/recovery.toml, as `make run` runs it but for what is written."""
    made = ens.Study.from_toml("studies/recovery.toml").replace(seeds=size.seeds)
    if not size.fused:
        made = made.replace(max_steps=20, probes=["loss", "max_angle"], records=0)
    found: dict[str, Any] = {"members": made.members}
    for kernel in ("xla", "fused") if size.fused else ("auto",):
        first, again = ens.run(made, engine=kernel), ens.run(made, engine=kernel)
        found[kernel] = {"seconds": again.attrs["wall_time"], "with_compiling": first.attrs["wall_time"]}
    return found


def as_text(found: dict[str, Any]) -> str:
    """The figures as a page of Markdown."""
    about = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
    lines = [f"# {found['machine']['device']}", "", about, ""]
    if isinstance(found["speed"], list):
        lines += ["| m, m*, d | `xla`, ns | `fused`, ns | plain vmapped while_loop, ns | share of float64 peak |"]
        lines += ["|---|---|---|---|---|"]
        for row in found["speed"]:
            cells = [f"{row[key]:.3g}" if row.get(key) is not None else "—" for key in ("xla", "fused", "vmap")]
            share = "—" if row["share_of_peak"] is None else f"{row['share_of_peak']:.0%}"
            lines += [f"| {row['m']}, {row['teacher_neurons']}, {row['d']} | {' | '.join(cells)} | {share} |"]
    for name in ("agreement", "bits", "scaling", "convergence", "main_job", "choices", "memory"):
        lines += ["", f"{name}: `{json.dumps(found[name])}`"]
    return "\n".join(lines) + "\n"
