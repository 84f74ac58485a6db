"""Registers, spills and threads of compiled kernels: what `ptxas` says of the PTX that XLA dumped."""

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import NamedTuple

from .cards import BLOCKS, REGISTERS, THREADS, WARPS


class Kernel(NamedTuple):
    """One kernel as it is loaded onto a card."""

    name: str
    threads: int
    registers: int
    spilled_bytes: int
    shared_bytes: int

    @property
    def occupancy(self) -> float:
        """Share of a multiprocessor's warps that run at once, by registers and threads.

        Registers are given to warps in portions of 256.
        """
        warps = -(-self.threads // 32)
        a_warp = -(-self.registers * 32 // 256) * 256
        blocks = min(BLOCKS, THREADS // (32 * warps), REGISTERS // a_warp // warps)
        return blocks * warps / WARPS


def ptxas() -> str | None:
    """The assembler of the CUDA wheels of this environment, or of the machine."""
    ours = Path(sysconfig.get_paths()["purelib"]) / "nvidia/cuda_nvcc/bin/ptxas"
    return str(ours) if ours.exists() else shutil.which("ptxas")


def kernels(file: Path) -> list[Kernel]:
    """The kernels of a PTX file."""
    text = file.read_text()
    found = re.search(r"\.target\s+(\w+)", text)
    if found is None or ".entry" not in text:
        return []
    command = [ptxas() or "ptxas", "-v", f"-arch={found.group(1)}", str(file), "-o", "/dev/null"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    threads = dict(re.findall(r"\.entry\s+(\w+)\((?:[^{]*?)\.(?:reqntid|maxntid)\s+(\d+)", text, re.S))
    return [
        Kernel(
            name,
            int(threads.get(name, 0)),
            int(_number(r"Used (\d+) registers", part)),
            int(_number(r"(\d+) bytes spill stores", part)),
            int(_number(r"(\d+) bytes smem", part)),
        )
        for name, part in re.findall(r"Compiling entry function '(\w+)'(.*?)(?=Compiling entry|$)", said, re.S)
    ]


def _number(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found.group(1) if found else "0"
