"""gd-atlas itself, as a process of its own: `python -m benchmarks.ours {steps,study} …` prints one JSON object.

steps KERNEL m m* d members steps     the engine's advance alone, microseconds a member-step
study k members                        orthonormal relu to a gradient norm of 1e-9, through `ensemble.run`
whole m m* d members steps records     a fixed number of steps through `ensemble.run`, with records and storing
memory m m* d members steps records    the same without a directory
recording k members steps records      CPU time of records as a share of that of the steps, the least of three runs each
shards                                 a directory of 1,000 shards: computing, resuming, opening it
million                                10⁶ members: opening, reducing and collecting the directory
dask workers members                   a study on so many single-core workers of a local cluster
"""

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

PROCESS_BEGAN = time.time()

import numpy as np  # noqa: E402 (the process's start is timed first)

import ensemble as ens  # noqa: E402


def orthonormal(name: str, m: int, teacher: int, d: int, members: int, protocol: dict, records: int = 0) -> ens.Study:
    return ens.Study.model_validate(
        {
            "name": name,
            "seeds": members,
            "records": records,
            "coordinates": "full",
            "teacher": {"kind": "orthonormal", "activation": "relu", "neurons": teacher, "inputs": d},
            "student": {"neurons": m, "start": "xavier"},
            "protocol": {"kind": "plain", "layers": "first", "step_size": 0.1} | protocol,
        }
    )


def steps(kernel: str, m: int, teacher: int, d: int, members: int, count: int) -> dict:
    """The advance program alone on members that neither stop nor record; the best of three after a warm-up."""
    from ensemble.engine.kernels import KERNELS
    from ensemble.engine.lanes import ACTIVE, NEVER, empty_lanes
    from ensemble.plan import groups

    (pool,) = groups(orthonormal("steps", m, teacher, d, 1, {"steps": 1}))[0].pools
    engine = KERNELS[kernel](pool, members)
    lanes = empty_lanes(engine.count, pool.like)
    moving, stage, target = lanes.moving, lanes.stage, lanes.fixed.risk.teacher
    moving.model.a[:], target.a[:] = 1.0, 1.0
    moving.model.W[:] = np.random.default_rng(m).normal(size=moving.model.W.shape) / np.sqrt(d)
    target.W[:] = np.eye(teacher, d)
    moving.code[:], stage.end_step[:] = ACTIVE, NEVER
    # So small a step that the widest student does not diverge; what a step costs does not depend on its size.
    stage.step_size[:], stage.moves.W[:], stage.grad_norm[:] = 1e-3, True, -1.0
    records = np.array([NEVER], np.int32)
    began = time.perf_counter()
    engine.advance(lanes, records, 1)
    first_call = time.perf_counter() - began
    times = []
    for _ in range(3):
        began = time.perf_counter()
        engine.advance(lanes, records, count)
        times.append(time.perf_counter() - began)
    return {"us": 1e6 * min(times) / count / engine.count, "lanes": engine.count, "first_call_s": first_call}


def study(k: int, members: int) -> dict:
    ds = ens.run(orthonormal("study", k, k, k, members, {"steps": 2_000_000, "grad_norm": 1e-9}))
    stop = ds["stop_step"].values
    return {
        "seconds": ds.attrs["wall_time"],
        "converged": int((ds["status"] == ens.STATUS["converged"]).sum()),
        "median_steps": float(np.median(stop)),
        "mean_steps": float(stop.mean()),
        "max_steps": int(stop.max()),
        "lane_efficiency": ds.attrs["lane_efficiency"],
        "process_s": time.time() - PROCESS_BEGAN,
    }


def whole(m: int, teacher: int, d: int, members: int, count: int, records: int) -> dict:
    made = orthonormal("whole", m, teacher, d, members, {"steps": count}, records)
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        ds = ens.run(made, out=out)
        seconds = time.perf_counter() - began
        bytes_on_disk = sum(p.stat().st_size for p in Path(out).rglob("*") if p.is_file())
        member_steps = ds.attrs["member_steps"]
        ds.close()
    return {"us": 1e6 * seconds / member_steps, "seconds": seconds, "bytes": bytes_on_disk}


def memory(m: int, teacher: int, d: int, members: int, count: int, records: int) -> dict:
    made = orthonormal("memory", m, teacher, d, members, {"steps": count}, records)
    began = time.perf_counter()
    ds = ens.run(made)
    seconds = time.perf_counter() - began
    return {"us": 1e6 * seconds / ds.attrs["member_steps"], "seconds": seconds}


def recording(k: int, members: int, count: int, records: int) -> dict:
    studies = [orthonormal("recording", k, k, k, members, {"steps": count}, n) for n in (0, records)]
    for made in studies:
        ens.run(made.replace(protocol={**made.protocol, "steps": records + 1}))
    times: list[list[float]] = [[], []]
    for _ in range(3):
        for made, taken in zip(studies, times, strict=True):
            began = time.process_time()
            ens.run(made)
            taken.append(time.process_time() - began)
    without, with_records = map(min, times)
    own = 1e6 * (with_records - without) / members / max(records, 1)
    return {"share": with_records / without - 1.0, "us_a_record": own, "us_a_step": 1e6 * without / members / count}


def shards() -> dict:
    from ensemble.store import directory

    directory._MOST_MEMBERS = 100
    made = orthonormal("shards", 8, 8, 8, 100_000, {"steps": 50})
    with tempfile.TemporaryDirectory() as out:
        times = []
        for act in (lambda: ens.run(made, out=out), lambda: ens.run(made, out=out), lambda: ens.open_dataset(out)):
            began = time.perf_counter()
            act().close()
            times.append(time.perf_counter() - began)
        count = len(os.listdir(os.path.join(out, "shards")))
    return dict(zip(("run_s", "resume_s", "open_s"), times, strict=True)) | {"shards": count}


def million(directory: str) -> dict:
    """In a process that only reads, so that its peak memory is that of reading."""
    times = {}

    def timed(name, act):
        began = time.perf_counter()
        value = act()
        times[f"{name}_s"] = time.perf_counter() - began
        return value

    ds = timed("open", lambda: ens.open_dataset(directory))
    share = timed("reduce", lambda: float((ds["max_angle"] < 0.5).mean()))
    with tempfile.TemporaryDirectory() as folder:
        path = timed("collect", lambda: ens.collect(directory, os.path.join(folder, "one.nc")))
        size = os.path.getsize(path)
    return times | {"members": ds["status"].size, "share": share, "bytes": size}


def million_made(directory: str) -> dict:
    made = orthonormal("million", 8, 8, 8, 1_000_000, {"steps": 100})
    began = time.perf_counter()
    ens.run(made, out=directory)
    return {"seconds": time.perf_counter() - began}


def dask(workers: int, members: int) -> dict:
    from ensemble.launch.cluster import connected, run_on_cluster
    from ensemble.store import directory

    os.environ["GD_ATLAS_CORES"] = "1"  # a core a worker, however many there are
    directory._MOST_MEMBERS = max(64, members // 32)
    made = orthonormal("dask", 8, 8, 8, members, {"steps": 2000})
    warm = orthonormal("warm", 8, 8, 8, 4 * workers, {"steps": 10})
    with tempfile.TemporaryDirectory() as out, connected("local", workers) as client:
        client.wait_for_workers(workers)
        client.run(ens.run, warm)
        began = time.perf_counter()
        run_on_cluster(made, out, client).close()
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "us": 1e6 * seconds / members / 2000}


def main() -> None:
    what, *arguments = sys.argv[1:]
    result = {
        "steps": lambda b, *n: steps(b, *map(int, n)),
        "study": lambda *n: study(*map(int, n)),
        "whole": lambda *n: whole(*map(int, n)),
        "memory": lambda *n: memory(*map(int, n)),
        "recording": lambda *n: recording(*map(int, n)),
        "shards": shards,
        "million_made": million_made,
        "million": million,
        "dask": lambda *n: dask(*map(int, n)),
    }[what](*arguments)
    result["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))


if __name__ == "__main__":
    main()
