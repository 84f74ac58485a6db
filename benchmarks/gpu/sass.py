"""What a step of a fused kernel issues: counted in the instructions that a card runs, which `nvdisasm` shows.

A program's text says more than its operations: what a compiler adds to move numbers between threads, to choose and to
copy them is issued as well, one instruction a clock and scheduler, and was half of all before it was looked at.
"""

import re
import shutil
import subprocess
import sysconfig
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from .registers import ptxas

SCHEDULERS = 4
"""Of a multiprocessor; each issues one instruction of a warp a clock."""
_DOUBLE = ("DADD", "DMUL", "DFMA", "DSETP", "DMNMX")
_MATRIX = 256
"""Multiplications of DMMA.8x8x4, which the units take at twice the rate of others."""


class Instruction(NamedTuple):
    name: str
    target: str | None
    """The label that it jumps to."""


class Issued(NamedTuple):
    """A step's, a warp."""

    all: int
    double: int
    """Of one float64 number a thread."""
    matrix: int
    """Products of float64 matrices."""
    barriers: int
    roots_and_quotients: int

    def nanoseconds(self, card: Any, warps: int) -> float:
        """The least a member-step, by what schedulers issue and by what the units for float64 take."""
        double = 32 / (card.fp64_units / SCHEDULERS)
        units = self.double * double + self.matrix * _MATRIX / (2 * card.fp64_units / SCHEDULERS)
        return warps / SCHEDULERS * max(self.all, units) / card.clock_ghz / card.multiprocessors


def nvdisasm() -> str | None:
    """The disassembler of this environment (the wheel nvidia-cuda-nvdisasm), or of the machine."""
    ours = sorted(Path(sysconfig.get_paths()["purelib"]).glob("nvidia/*/bin/nvdisasm"))
    return str(ours[0]) if ours else shutil.which("nvdisasm")


def issued(ptx: Path, blocks: int) -> Issued | None:
    """Of the largest loop of a PTX file's kernel, whose inner loops run so many times; None without `nvdisasm`.

    What is put aside at a record is counted with the rest, a few per cent; calls for rare arguments are not.
    """
    if (tool := nvdisasm()) is None:
        return None
    (architecture,) = re.findall(r"\.target\s+(\w+)", ptx.read_text())
    binary = ptx.with_suffix(".cubin")
    subprocess.run([ptxas() or "ptxas", f"-arch={architecture}", ptx, "-o", binary], check=True)
    return of_text(subprocess.run([tool, "-c", binary], capture_output=True, text=True, check=True).stdout, blocks)


def of_text(text: str, blocks: int) -> Issued:
    """As `issued`, of a disassembler's text."""
    found, labels = _read(text.splitlines())
    loops = [(labels[i.target], at) for at, i in enumerate(found) if i.target and labels.get(i.target, at + 1) <= at]
    begin, end = max(loops, key=lambda loop: loop[1] - loop[0])
    inside = [(b, e) for b, e in loops if begin < b and e < end]
    total: Counter[str] = Counter()
    for at in range(begin, end + 1):
        total[found[at].name] += blocks if any(b <= at <= e for b, e in inside) else 1

    def of(*names: str) -> int:
        return sum(n for name, n in total.items() if name.startswith(names))

    return Issued(total.total(), of(*_DOUBLE), of("DMMA"), of("BAR"), of("MUFU"))


def _read(lines: Iterable[str]) -> tuple[list[Instruction], dict[str, int]]:
    """(the kernel's instructions, where its labels stand); functions that it calls come after it."""
    found: list[Instruction] = []
    labels: dict[str, int] = {}
    for line in lines:
        if label := re.match(r"^([.$\w]+):", line):
            if label.group(1).startswith("$__internal"):
                break
            labels[label.group(1)] = len(found)
        elif instruction := re.match(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?\w+\s+)?([A-Z][\w.]*)(.*);", line):
            name, rest = instruction.groups()
            target = re.search(r"`\((\.L\w+)\)", rest) if name.startswith("BRA") else None
            found.append(Instruction(name, target and target.group(1)))
    return found, labels
