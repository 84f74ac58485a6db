"""Compiles both kernels for cards that are not there, and says what the programs show: bounds, not measurements."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DUMP = Path(tempfile.gettempdir()) / f"gd-atlas-dump-{os.getpid()}"


def prepare() -> None:
    """Before JAX is imported: no card is looked for, compiled kernels are dumped, no program comes from disk."""
    os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1", "GD_ATLAS_CACHE": "off"}
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={DUMP} --xla_dump_hlo_as_text".strip()


def why_not() -> str | None:
    """Why nothing can be compiled for a card in this environment; None where it can."""
    import importlib.util

    from .registers import ptxas

    if importlib.util.find_spec("jax_plugins") is None or importlib.util.find_spec("jax_plugins.xla_cuda12") is None:
        return "JAX's CUDA wheels are not installed here; make gpu-compile installs them in .venv-gpu (3 GB)"
    return None if ptxas() else "no ptxas in this environment; install nvidia-cuda-nvcc-cu12"


def cases() -> Iterator[Any]:
    """What `make gpu-compile` compiles for every card."""
    from .programs import Case

    for precision in ("float64", "float32"):
        for m in (8, 20, 32, 64):
            for update in ("descent", "adam"):
                yield Case("xla", m, precision=precision, update=update)
            yield Case("fused", m, precision=precision)
    for m in (8, 32, 64):
        yield Case("fused", m, inputs=64)


def compiled(card_name: str, case: Any) -> dict[str, Any]:
    """One program for one card: its structure, its kernels and what it needs at least."""
    import jax
    from jax.experimental import topologies

    from ensemble.engine.devices import OPTIONS_GPU

    from .cards import CARDS
    from .programs import program_of

    card = CARDS[card_name]
    topology = topologies.get_topology_desc("", "cuda", topology="1x1x1", target_config=card.target_config)
    where = jax.sharding.SingleDeviceSharding(topology.devices[0])
    run, arguments, count = program_of(case, int(0.75 * card.memory_bytes))
    before = set(DUMP.glob("*.ptx"))
    began = time.perf_counter()
    program = jax.jit(run, in_shardings=where, out_shardings=where, compiler_options=OPTIONS_GPU)
    text = program.lower(*arguments).compile().as_text()
    seconds = time.perf_counter() - began
    files = sorted(set(DUMP.glob("*.ptx")) - before)
    found = {"card": card_name, **case._asdict(), "lanes_a_call": count, "compile_s": round(seconds, 1)}
    if case.kernel == "fused":
        return found | _fused(card, case, run, arguments, files)
    return found | _xla(card, case, text, count, files)


def _xla(card: Any, case: Any, text: str, count: int, files: list[Path]) -> dict[str, Any]:
    from ensemble.engine.kernels.together import STEPS_A_LOOK

    from .hlo import Module
    from .registers import kernels

    module = Module(text)
    (loop,) = module.loops()
    step = module.step(loop, STEPS_A_LOOK)
    steps = {k.name.replace(".", "_").replace("-", "_") for k in loop.kernels}
    inside = [k for f in files for k in kernels(f) if k.name in steps]
    work = step.operations.instructions / count
    return {
        "loops_inside": len(loop.inside),
        "conditionals": loop.conditionals,
        "steps_a_look": STEPS_A_LOOK,
        "kernels_a_round": len(loop.kernels),
        "kernels_a_step": round(step.kernels, 3),
        "copies_a_step": round(step.copies, 3),
        **_worst(inside),
        "bytes": step.bytes / count,
        "instructions": work,
        "ns_by_memory": 1e9 * step.bytes / count / card.bytes_a_second,
        "ns_by_arithmetic": 1e9 * work / card.operations_a_second(case.precision),
        "ns_by_issue": None,
    }


def _fused(card: Any, case: Any, run: Any, arguments: Any, files: list[Path]) -> dict[str, Any]:
    from ensemble.engine.kernels.fused import blocks

    from .pallas import step_of
    from .registers import kernels
    from .sass import issued

    step = step_of(run, arguments)
    ((kernel, file),) = [(k, f) for f in files for k in kernels(f) if k.name == "descend"]
    work, warps = step.operations.instructions, kernel.threads // 32
    issues = issued(file, blocks(case.neurons, case.teacher_neurons, case.inputs))
    return {
        "loops_inside": 0,
        "conditionals": 0,
        "kernels_a_step": 0.0,
        "copies_a_step": 0.0,
        **_worst([kernel]),
        "bytes": 0.0,
        "stored_bytes": step.stored,
        "instructions": work,
        "issued_a_warp": issues and issues._asdict(),
        "ns_by_memory": 0.0,
        "ns_by_arithmetic": 1e9 * work / card.operations_a_second(case.precision),
        "ns_by_issue": issues and issues.nanoseconds(card, warps),
    }


def _worst(kernels: list[Any]) -> dict[str, Any]:
    """Of the kernels of a step: most registers, all spills, least occupancy."""
    return {
        "kernels_read": len(kernels),
        "threads": max(k.threads for k in kernels),
        "registers": max(k.registers for k in kernels),
        "spilled_bytes": sum(k.spilled_bytes for k in kernels),
        "occupancy": min(k.occupancy for k in kernels),
    }


def bound(found: dict[str, Any]) -> float:
    """The least nanoseconds a member-step that the program allows."""
    return max(found["ns_by_memory"], found["ns_by_arithmetic"], found.get("ns_by_issue") or 0.0)


__all__ = ["bound", "cases", "compiled", "prepare", "why_not"]
