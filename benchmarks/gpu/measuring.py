"""`make gpu`: what a person with a card runs once, in a few minutes; small sizes where there is none.

Agreement of kernels, bits over lane counts and calls, speed beside a plain vmapped `lax.while_loop`, scaling over
lanes, time to convergence, the main job, memory. One JSON and one page of tables, with device, driver and versions.
What fails is said and does not stop the rest; what other choices of the kernels' numbers would cost comes last, as far
as eight minutes reach.
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
from ensemble.engine.kernels import KERNELS
from ensemble.engine.lanes import take

from . import choices
from .cards import CARDS
from .lanes import Run
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
    tuple(2**n for n in range(10, 21, 2)), 2**16, 32,
)  # fmt: skip
SMALL = Size(("abs_centred",), 10, False, ((8, 8, 8),), 64, (64, 128), 4, 1)


_MOST_SECONDS = 420.0
"""After which no further choice of a number is tried."""


def measure(out: Path) -> None:
    """Measures everything and writes `out`.json and `out`.md."""
    size = FULL if accelerated() else SMALL
    begun = time.perf_counter()
    found: dict[str, Any] = {"machine": machine(), "sizes": size._asdict(), "seconds": {}, "memory": {}}
    sections: dict[str, Callable[[Size], Any]] = {
        "agreement": agreement,
        "bits": bits,
        "speed": speed,
        "scaling": scaling,
        "convergence": convergence,
        "main_job": main_job,
        "choices": lambda size: choices.measured(size.steps // 4, begun + _MOST_SECONDS) if size.fused else [],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    for name, section in sections.items():
        began = time.perf_counter()
        try:
            found[name] = section(size)
        except Exception as error:  # a card's first run must not lose the other sections
            traceback.print_exc()
            found[name] = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:400]}
        found["seconds"][name] = round(time.perf_counter() - began, 1)
        found["memory"][name] = memory()
        print(f"{name}: {found['seconds'][name]} s", flush=True)
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

    def of_activation(activation: str) -> float | None:
        case = Case("xla", 6, 7, 4, activation=activation)
        if not KERNELS["fused"].serves(pool_of(case)):
            return None
        protocol = {"kind": "fixed_decay", "step_size": 0.02, "weight_decay": 0.02, "steps": 2 * size.steps}
        made = study(case, 4, protocol=protocol, store_weights=True, records=5)
        plain, fused = ens.run(made, engine="xla"), ens.run(made, engine="fused")
        return max(float(np.abs(plain[name].values - fused[name].values).max()) for name in ("W", "loss_history"))

    # Most of it is compiling.
    with ThreadPoolExecutor() as pool:
        found = dict(zip(size.activations, pool.map(of_activation, size.activations), strict=True))
    of_both = {name: value for name, value in found.items() if value is not None}
    # Order-one arithmetic, some 1e-16 a step, without amplification by more than 100.
    allowed, largest = 2 * size.steps * 1e-14, max(of_both.values())
    if not largest <= allowed:
        raise AssertionError(f"kernels differ by {largest:.1e}, more than {allowed:.1e}: {of_both}")
    of_xla_alone = [name for name, value in found.items() if value is None]
    return {"largest": largest, "allowed": allowed, "by_activation": of_both, "of_xla_alone": of_xla_alone}


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


def scaling(size: Size) -> list[dict[str, Any]]:
    """ns a member-step at the main job's shape, lanes after lanes; what does not fit a device's memory is said."""
    found = []
    for kernel in ("xla", "fused") if size.fused else ("xla",):
        for lanes in size.scaling:
            row: dict[str, Any] = {"kernel": kernel, "asked": lanes}
            try:
                run = Run.of_lanes(kernel, Case(kernel, 32), lanes)
                ns = run.nanoseconds(max(8, size.steps // 8))
                row |= {"lanes": run.kernel.count, "ns": ns, "share_of_peak": share_of_peak(Case("fused", 32), ns)}
                row |= {"steps_a_second": 1e9 / ns, "bytes_a_lane": memory().get("bytes_in_use", 0) / run.kernel.count}
            except (jax.errors.JaxRuntimeError, MemoryError) as error:
                row["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            found.append(row)
    return found


def memory() -> dict[str, int]:
    """Bytes of the first device: in use now, most so far, and what JAX may take; none where it does not say."""
    found = jax.local_devices()[0].memory_stats() or {}
    return {key: found[key] for key in ("bytes_in_use", "peak_bytes_in_use", "bytes_limit") if key in found}


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
    lines = [f"# {found['machine']['device']}", "", about]
    speed_columns = {
        "m": "m", "teacher_neurons": "m*", "d": "d", "xla": "`xla`, ns", "fused": "`fused`, ns",
        "vmap": "plain vmapped while_loop, ns", "share_of_peak": "share of float64 peak",
    }  # fmt: skip
    scaling_columns = {
        "kernel": "kernel", "lanes": "lanes", "ns": "ns a member-step", "steps_a_second": "member-steps a second",
        "share_of_peak": "share of float64 peak", "bytes_a_lane": "bytes of the device a lane", "error": "error",
    }  # fmt: skip
    convergence_columns = {
        "members": "members", "tolerance": "gradient norm", "member_steps": "member-steps", "largest": "longest member",
        "engine": "engine", "seconds": "seconds", "with_compiling": "with compiling",
        "vmap_seconds": "plain vmapped while_loop, seconds", "times": "times as long",
        "error": "error",
    }  # fmt: skip
    lines += _table("Nanoseconds a member-step", found["speed"], speed_columns)
    lines += _table("Scaling over lanes (m = 32, m* = 4, d = 16)", found["scaling"], scaling_columns)
    lines += _table("To convergence", [found["convergence"]], convergence_columns)
    for name in ("agreement", "bits", "main_job", "choices", "memory", "seconds"):
        lines += ["", f"{name}: `{json.dumps(found[name])}`"]
    return "\n".join(lines) + "\n"


def _table(title: str, rows: Any, columns: dict[str, str]) -> list[str]:
    """A table of the columns that any row has; what went wrong instead, where a section failed."""
    if not isinstance(rows, list):
        return ["", f"## {title}", "", f"`{json.dumps(rows)}`"]

    def cell(key: str, value: Any) -> str:
        if value is None:
            return "—"
        if isinstance(value, float):
            return f"{value:.0%}" if key == "share_of_peak" else f"{value:.3g}"
        return str(value)

    shown = {key: name for key, name in columns.items() if any(row.get(key) is not None for row in rows)}
    head = [" | ".join(shown.values()), " | ".join("---" for _ in shown)]
    body = [" | ".join(cell(key, row.get(key)) for key in shown) for row in rows]
    return ["", f"## {title}", "", *(f"| {line} |" for line in (*head, *body))]
