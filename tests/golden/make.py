"""`python -m tests.golden.make [GROUP …]`: runs the cases with the sources as they are and writes their values.

Values are made anew only where a change of them is meant, and the commit says for each case why it is. All groups are
made on one machine: `machine.json` says which, and bits are compared on its like.
"""

import json
import sys

from . import values
from .cases import groups, run_with


def main(chosen: list[str]) -> None:
    known = groups()
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise SystemExit(f"golden: got the group {unknown[0]!r}; there are {', '.join(known)}")
    if chosen and values.recorded_machine() != values.machine():
        raise SystemExit(
            f"golden: the files were made with {values.recorded_machine()}, and this is {values.machine()}; "
            "name no group, so that all are made here"
        )
    values.FOLDER.mkdir(exist_ok=True)
    for group in chosen or known:
        datasets = {}
        for name, case in known[group].items():
            datasets[name] = run_with(case.study, case.engine)
            ran = datasets[name].attrs["engine"]
            if ran != case.engine:
                raise SystemExit(f"golden: {group}/{name} was run by {ran}; every cell must be one of {case.engine}")
        target = values.write(group, datasets)
        print(f"{target}: {len(datasets)} cases, {target.stat().st_size:,} bytes", flush=True)
    for path, content in ((values.MACHINE, values.machine()), (values.OPTIONS, values.options())):
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
