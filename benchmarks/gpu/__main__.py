"""`python -m benchmarks.gpu compile [--cards …] [--kernels …]` and `python -m benchmarks.gpu measure [--out FILE]`."""

import argparse
import json
import sys
from pathlib import Path

from .cards import CARDS

JSON = Path("data/bench/gpu_compiled.json")


def compile_all(cards: list[str], kernels: list[str]) -> None:
    """Writes `JSON` and the table in docs/performance.md; what is not compiled anew stays as it was."""
    from . import compiling

    compiling.prepare()
    if reason := compiling.why_not():
        sys.exit(f"error: {reason}")
    from .report import write_table

    before = json.loads(JSON.read_text()) if JSON.exists() else []
    found = []
    for card in CARDS:
        for case in compiling.cases():
            about = {"card": card, **case._asdict()}
            if card in cards and case.kernel in kernels:
                found.append(compiling.compiled(card, case))
                print(f"{card} {case}: {compiling.bound(found[-1]):.2f} ns", flush=True)
            else:
                found += [row for row in before if about.items() <= row.items()]
    JSON.parent.mkdir(parents=True, exist_ok=True)
    JSON.write_text(json.dumps(found, indent=1) + "\n")
    write_table(found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    commands = parser.add_subparsers(dest="command", required=True)
    compile_command = commands.add_parser("compile")
    compile_command.add_argument("--cards", nargs="+", choices=[*CARDS], default=[*CARDS])
    compile_command.add_argument("--kernels", nargs="+", choices=["xla", "fused"], default=["xla", "fused"])
    measure_command = commands.add_parser("measure")
    measure_command.add_argument("--out", type=Path, default=Path("data/gpu"))
    chosen = parser.parse_args()
    if chosen.command == "compile":
        compile_all(chosen.cards, chosen.kernels)
    else:
        from .measuring import measure

        measure(chosen.out)


if __name__ == "__main__":
    main()
