"""Two versions of the engine in one run: `python -m benchmarks.before [COMMIT]`, from a checkout with its history.

The engine's steps, in processes of the two versions that take turns; the least of all rounds of each, and their ratio.
Times are CPU times of all threads, which other work on the machine changes least. Nothing is written.
"""

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

BEFORE = "eebf3704453be326c9cd601da5a4868d14f74f4b"
"""The last commit of the house before the general one: it knew `TwoLayer(a, W)` and plain descent alone."""
CASES = {("simd", 8): 2000, ("simd", 20): 200, ("xla", 8): 500, ("xla", 20): 120}
"""Steps of a timing, by kernel and k = m = m* = d: about a second of CPU each."""
MEMBERS = 2048

CHILD = """
import runpy, time
time.perf_counter = time.process_time
runpy.run_module("benchmarks.ours", run_name="__main__")
"""


def unpacked(commit: str, folder: Path) -> Path:
    """The files of a commit, in a folder of their own."""
    with tempfile.TemporaryFile() as packed:
        subprocess.run(["git", "archive", commit], stdout=packed, check=True)
        packed.seek(0)
        with tarfile.open(fileobj=packed) as files:
            files.extractall(folder, filter="data")
    return folder


def microseconds(version: Path, kernel: str, k: int, count: int) -> float:
    """CPU time of a member-step in a version whose files are in `version`."""
    ours = (version / "benchmarks" / "ours.py").read_text()
    name = "reference" if kernel == "xla" and '"reference": Reference' in ours else kernel  # as it was called
    arguments = ["steps", name, k, k, k, MEMBERS, count]
    command = [sys.executable, "-c", CHILD, *map(str, arguments)]
    done = subprocess.run(command, cwd=version, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {' '.join(map(str, arguments))} in {version}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])["us"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.before", description=__doc__)
    parser.add_argument("commit", nargs="?", default=BEFORE, help="the version that this one is compared with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=float, default=1.0, help="of the steps, for a look at whether it runs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        versions = {"before": unpacked(arguments.commit, Path(folder)), "now": Path.cwd()}
        print(f"| | before ({arguments.commit[:12]}) | now | ratio |\n|---|---|---|---|")
        for (kernel, k), steps in CASES.items():
            found: dict[str, list[float]] = {name: [] for name in versions}
            for _ in range(arguments.rounds):
                for name, version in versions.items():
                    found[name].append(microseconds(version, kernel, k, max(2, int(steps * arguments.share))))
            before, now = (min(found[name]) for name in ("before", "now"))
            print(f"| {kernel}, k = {k} | {before:.3g} µs | {now:.3g} µs | {now / before:.2f} |", flush=True)


if __name__ == "__main__":
    main()
