"""Runs the benchmark: every peer in a process of its own, one after another, on the same machine.

Writes data/bench/engine.json and, from it, docs/performance.md's tables and plots.
"""

import argparse
import datetime
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ensemble.store.provenance import commit_state, version

from .peers import starts
from .report import write_report

JSON = Path("data/bench/engine.json")
STEP_SIZE = "0.1"


def call(module: str, *arguments: object, cores: int | None = None, stdin: bytes | None = None) -> dict[str, Any]:
    """The JSON object that a process prints; with `cores`, on so many cores alone."""
    command = [sys.executable, "-m", module] if module.startswith("benchmarks") else [module]

    def restrict() -> None:
        if cores is not None:
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])

    done = subprocess.run(
        [*command, *map(str, arguments)], input=stdin, capture_output=True, check=True, preexec_fn=restrict
    )
    return json.loads(done.stdout.decode().splitlines()[-1])


def per_step(k: int, quick: bool) -> dict[str, Any]:
    """Microseconds a member-step of every peer at m = m* = d = k."""
    print(f"per step, k = {k}")
    scale = (20 / k) ** 2 * (0.1 if quick else 1.0)
    members = 512
    count = {name: max(2, int(n * scale)) for name, n in (("numpy", 40), ("vmap", 100), ("torch", 20), ("ours", 600))}
    found: dict[str, Any] = {}

    def peer(name: str) -> float:
        done = call("benchmarks.peers", name, k, members, count[name], -1.0, STEP_SIZE)
        return 1e6 * done["seconds"] / members / count[name]

    found["numpy"] = peer("numpy")
    found["vmap"] = peer("vmap")
    found["torch"] = peer("torch") if importlib.util.find_spec("torch") else None
    found["xla"] = call("benchmarks.ours", "steps", "xla", k, k, k, members, count["ours"] // 4)["us"]
    found["simd"] = call("benchmarks.ours", "steps", "simd", k, k, k, members, count["ours"])["us"]
    found["ceiling"] = ceiling(k, members, count["ours"])
    return found


def ceiling(k: int, members: int, count: int) -> float | None:
    """The hand-vectorised C++; None without a compiler."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "ceiling"
        flags = ["-O3", "-march=native", "-fno-math-errno", "-ffp-contract=fast", f"-DK={k}", "-pthread"]
        wide = ["-mprefer-vector-width=512"] if platform.machine() == "x86_64" else []
        subprocess.run([compiler, *flags, *wide, "-o", program, "benchmarks/ceiling.cpp"], check=True)
        cores = len(os.sched_getaffinity(0))
        done = call(str(program), members, count, STEP_SIZE, cores, stdin=starts(k, members).tobytes())
    return 1e6 * done["seconds"] / members / count


def to_convergence(k: int, members: int) -> dict[str, Any]:
    print(f"to convergence, k = {k}, {members} members")
    ours = call("benchmarks.ours", "study", k, members)
    plain = call("benchmarks.peers", "vmap", k, members, 2_000_000, 1e-9, STEP_SIZE)
    return {"k": k, "members": members, "ours": ours, "vmap_seconds": plain["seconds"]}


def deep(quick: bool) -> dict[str, Any]:
    members = 100 if quick else 1000
    print(f"deep students to their rules, {members} members")
    return call("benchmarks.deep", members)


def scaling(quick: bool) -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0))
    few = 10 if quick else 1
    found: dict[str, Any] = {"cores": {}, "members": {}, "inputs": {}, "width": {}}
    for n in range(1, cores + 1):
        print(f"scaling, {n} cores")
        found["cores"][n] = {
            k: call("benchmarks.ours", "steps", "simd", k, k, k, 1024, max(2, int(400 / few * (20 / k) ** 2)), cores=n)[
                "us"
            ]
            for k in (8, 20)
        }
    for members in (100, 1000, 10_000, 100_000) if quick else (100, 1000, 10_000, 100_000, 1_000_000):
        print(f"scaling, {members} members")
        found["members"][members] = call("benchmarks.ours", "whole", 8, 8, 8, members, 100, 0)
    for d in (8, 16, 32, 64, 128):
        found["inputs"][d] = call("benchmarks.ours", "steps", "simd", 16, 4, d, 512, 400 // few)["us"]
    for m in (4, 8, 16, 32, 64, 128):
        found["width"][m] = call("benchmarks.ours", "steps", "simd", m, 4, 16, 512, max(2, 12800 // m // few))["us"]
    return found


def overheads(quick: bool) -> dict[str, Any]:
    """What recording, harvesting and storing add to the steps; what starting a process takes."""
    print("overheads")
    size = 20, 20, 20, 8192, 400 if quick else 4000
    bare = call("benchmarks.ours", "steps", "simd", 20, 20, 20, 4096, 200)
    plain = call("benchmarks.ours", "memory", *size, 0)
    recorded = call("benchmarks.ours", "memory", *size, 40)
    whole = call("benchmarks.ours", "whole", *size, 40)
    small = call("benchmarks.ours", "study", 6, 8)
    first = {b: call("benchmarks.ours", "steps", b, 20, 20, 20, 128, 1)["first_call_s"] for b in ("simd", "xla")}
    return {
        "steps_us": bare["us"],
        "plain_us": plain["us"],
        "recorded_us": recorded["us"],
        "run_us": whole["us"],
        "run_bytes": whole["bytes"],
        "first_call_s": first,
        "small_study_process_s": small["process_s"],
    }


def storage(quick: bool) -> dict[str, Any]:
    """Directories: many shards, a million members, Dask workers."""
    print("storage")
    few = 10 if quick else 1
    found: dict[str, Any] = {"shards": call("benchmarks.ours", "shards")}
    with tempfile.TemporaryDirectory() as out:
        found["million_made"] = call("benchmarks.ours", "million_made", out)
        found["million"] = call("benchmarks.ours", "million", out)
    cores = len(os.sched_getaffinity(0))
    found["dask"] = {n: call("benchmarks.ours", "dask", n, 80_000 // few) for n in sorted({1, cores})}
    return found


def online(quick: bool) -> dict[str, Any]:
    """Microseconds a member-step of online descent, m = 16, m* = 4, d = 16, for batches of several sizes."""
    found: dict[str, Any] = {}
    for batch, steps in ((1, 2000), (16, 400), (256, 40)):
        print(f"online, batch {batch}")
        steps = max(2, steps // (10 if quick else 1))
        size = 16, 4, 16, batch
        found[str(batch)] = {
            "simd": call("benchmarks.online", "simd", *size, 512, steps)["us"],
            "xla": call("benchmarks.online", "xla", *size, 512, max(2, steps // 4))["us"],
            "vmap": call("benchmarks.online", "vmap", *size, 512, max(2, steps // 4))["us"],
        }
        for name, members in (("torch", 8), ("torch_many", 512)):
            here = importlib.util.find_spec("torch") is not None
            done = call("benchmarks.online", name, *size, members, max(2, steps // 8)) if here else {"us": None}
            found[str(batch)][name] = done["us"]
    return found


def machine() -> dict[str, Any]:
    commit, dirty = commit_state()
    return {
        "cores": len(os.sched_getaffinity(0)),
        "architecture": platform.machine(),
        "processor": next(
            (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
        ),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("jax", "jaxlib", "numba", "llvmlite", "numpy", "torch")},
        "commit": commit,
        "dirty": dirty,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work; figures are not stored")
    parser.add_argument("--report", action="store_true", help="only rewrite the report from the stored figures")
    arguments = parser.parse_args()
    if arguments.report:
        write_report(json.loads(JSON.read_text()))
        return
    figures = {
        "machine": machine(),
        "per_step": {k: per_step(k, arguments.quick) for k in (8, 20, 50)},
        "to_convergence": to_convergence(8, 200 if arguments.quick else 2000),
        "deep": deep(arguments.quick),
        "scaling": scaling(arguments.quick),
        "overheads": overheads(arguments.quick),
        "storage": storage(arguments.quick),
        "online": online(arguments.quick),
    }
    if arguments.quick:
        print(json.dumps(figures, indent=1))
        return
    JSON.parent.mkdir(parents=True, exist_ok=True)
    JSON.write_text(json.dumps(figures, indent=1) + "\n")
    write_report(json.loads(JSON.read_text()))
    print(f"figures: {JSON}; report: docs/performance.md")


if __name__ == "__main__":
    main()
