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
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import ensemble as ens
from benchmarks.peers import run_vmap
from ensemble.engine.devices import accelerated
from ensemble.engine.kernels import KERNELS
from ensemble.engine.lanes import ACTIVE, NEVER, Lanes, empty_lanes, put, take

from .cards import CARDS
from .pallas import step_of
from .programs import Case, pool_of, program_of, study


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
    tuple(2**n for n in range(10, 21, 2)), 2000, 32,
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
        "scaling": scaling,
        "convergence": convergence,
        "main_job": main_job,
    }
    for name, section in sections.items():
        began = time.perf_counter()
        try:
            found[name] = section(size)
        except Exception as error:  # a card's first run must not lose the other sections
            traceback.print_exc()
            found[name] = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:400]}
        print(f"{name}: {time.perf_counter() - began:.1f} s", flush=True)
    found["memory"] = jax.local_devices()[0].memory_stats() or {}
    out.parent.mkdir(parents=True, exist_ok=True)
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
    """The largest difference of weights between kernels after some steps, activation by activation."""
    found = {}
    for activation in size.activations:
        case = Case("xla", 6, 7, 4, activation=activation)
        protocol = {"kind": "fixed_decay", "step_size": 0.02, "weight_decay": 0.02, "steps": 2 * size.steps}
        made = study(case, 4, protocol=protocol, store_weights=True)
        plain, fused = ens.run(made, engine="xla"), ens.run(made, engine="fused")
        found[activation] = float(np.abs(plain["W"].values - fused["W"].values).max())
    # Order-one arithmetic, some 1e-16 a step, without amplification by more than 100.
    allowed = 2 * size.steps * 1e-14
    if not max(found.values()) <= allowed:
        raise AssertionError(f"kernels differ by {max(found.values()):.1e}, more than {allowed:.1e}: {found}")
    return {"largest": max(found.values()), "allowed": allowed, "by_activation": found}


def bits(size: Size) -> dict[str, Any]:
    """A member's bits among few and many members, and over one call and several."""
    found = {}
    for kernel in ("xla", "fused") if size.fused else ("xla",):
        for_many = _lanes_after(kernel, 4096 if size.fused else 64, [size.steps])
        for_few = _lanes_after(kernel, 16, [size.steps // 2, size.steps - size.steps // 2])
        few = jax.tree.leaves(take(for_few.moving.model, slice(0, 16)))
        many = jax.tree.leaves(take(for_many.moving.model, slice(0, 16)))
        same = all(np.array_equal(x, y) for x, y in zip(few, many, strict=True))
        if not same:
            raise AssertionError(f"{kernel}: a member's bits depend on how many there are or on the calls")
        found[kernel] = same
    return found


def _lanes_after(kernel: str, members: int, budgets: list[int]) -> Lanes:
    pool = pool_of(Case(kernel, 8))
    engine = KERNELS[kernel](pool, members)
    lanes = filled(pool, engine.count, 16)
    for budget in budgets:
        engine.advance(lanes, np.array([NEVER], np.int32), budget)
    if engine.resident is not None:
        engine.resident.bring(lanes, np.arange(16))
    return lanes


def filled(pool: Any, count: int, distinct: int) -> Lanes:
    """Lanes that neither stop nor record; the first `distinct` of them do not depend on how many there are."""
    lanes = empty_lanes(count, pool.like)
    moving, stage, teacher = lanes.moving, lanes.stage, lanes.fixed.risk.teacher
    m, d = moving.model.W.shape[1:]
    rows = np.random.default_rng(m).normal(size=(distinct, m, d)) / np.sqrt(d)
    repeated = np.resize(np.arange(distinct), count)
    put(moving.model.W, slice(None), rows[repeated].astype(moving.model.W.dtype))
    moving.model.a[:], teacher.a[:] = 1.0, 1.0
    teacher.W[:] = np.eye(teacher.W.shape[1], d)
    moving.code[:], stage.end_step[:] = ACTIVE, NEVER
    # So small a step that the widest student does not diverge; what a step costs does not depend on its size.
    stage.step_size[:], stage.moves.W[:], stage.grad_norm[:] = 1e-3, True, -1.0
    return lanes


def nanoseconds(kernel: str, case: Case, members: int, steps: int) -> tuple[float, int]:
    """(ns a member-step, the best of three; lanes)."""
    pool = pool_of(case)
    engine = KERNELS[kernel](pool, members)
    lanes = filled(pool, engine.count, 16)
    records = np.array([NEVER], np.int32)
    engine.advance(lanes, records, 8)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        engine.advance(lanes, records, steps)
        times.append(time.perf_counter() - began)
    return 1e9 * min(times) / steps / engine.count, engine.count


def speed(size: Size) -> list[dict[str, Any]]:
    """Kernels beside a plain vmapped while loop on the same device."""
    found = []
    for m, mt, d in size.shapes:
        row: dict[str, Any] = {"m": m, "teacher_neurons": mt, "d": d}
        for kernel in ("xla", "fused") if size.fused else ("xla",):
            row[kernel], row[f"{kernel}_lanes"] = nanoseconds(kernel, Case(kernel, m, d, mt), size.members, size.steps)
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
            ns, lanes = nanoseconds(kernel, Case(kernel, 32), members, max(8, size.steps // 8))
            found.setdefault(kernel, {})[members] = {"ns": ns, "lanes": lanes}
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
    found: dict[str, Any] = {"members": size.converging, "tolerance": tolerance}
    for kernel in ("xla", "fused") if size.fused else ("xla",):
        ds = ens.run(made, engine=kernel)
        found[kernel] = {"seconds": ds.attrs["wall_time"], "lane_efficiency": ds.attrs["lane_efficiency"]}
    found["vmap_seconds"], _ = run_vmap(k, size.converging, 2_000_000, tolerance, 0.1)
    return found


def main_job(size: Size) -> dict[str, Any]:
    """studies/recovery.toml, as `make run` runs it but for what is written."""
    made = ens.Study.from_toml("studies/recovery.toml").replace(seeds=size.seeds)
    if not size.fused:
        made = made.replace(max_steps=20, probes=["loss", "max_angle"], records=0)
    ds = ens.run(made)
    return {"members": made.members, "seconds": ds.attrs["wall_time"], "engine": ds.attrs["engine"]}


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
    for name in ("agreement", "bits", "scaling", "convergence", "main_job", "memory"):
        lines += ["", f"{name}: `{json.dumps(found[name])}`"]
    return "\n".join(lines) + "\n"
