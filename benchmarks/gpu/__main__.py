"""`python -m benchmarks.gpu compile` and `python -m benchmarks.gpu measure [--out FILE]`."""

import argparse
import json
import sys
from pathlib import Path

JSON = Path("data/bench/gpu_compiled.json")


def compile_all(cards: list[str]) -> None:
    """Writes `JSON` and the table in docs/performance.md."""
    from . import compiling

    compiling.prepare()
    if reason := compiling.why_not():
        sys.exit(f"error: {reason}")
    from .report import write_table

    found = []
    for card in cards:
        for case in compiling.cases():
            found.append(compiling.compiled(card, case))
            print(f"{card} {case}: {compiling.bound(found[-1]):.2f} ns", flush=True)
    JSON.parent.mkdir(parents=True, exist_ok=True)
    JSON.write_text(json.dumps(found, indent=1) + "\n")
    write_table(found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    commands = parser.add_subparsers(dest="command", required=True)
    compile_command = commands.add_parser("compile")
    compile_command.add_argument("--cards", nargs="+", default=["A100", "H100", "B200"])
    measure_command = commands.add_parser("measure")
    measure_command.add_argument("--out", type=Path, default=Path("data/gpu"))
    chosen = parser.parse_args()
    if chosen.command == "compile":
        compile_all(chosen.cards)
    else:
        from .measuring import measure

        measure(chosen.out)


if __name__ == "__main__":
    main()
