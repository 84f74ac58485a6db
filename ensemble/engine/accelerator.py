"""The accelerator that was asked for: whether it is there, why not, and what to expect of it."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

_DRIVER = Path("/proc/driver/nvidia/version")
_OLDEST_DRIVER = (525, 60)
"""That CUDA 12 runs on."""
_FULL_FLOAT64 = ("6.0", "7.0", "8.0", "9.0", "10.0")
"""Compute capabilities of cards with half of their float32 rate in float64; the others have 1/32 or 1/64."""
_OTHERWISE = "or leave ACCEL out to run on the CPU"


def missing(environment: Mapping[str, str] = os.environ, driver: Path = _DRIVER) -> str | None:
    """Why no card is used though one was asked for (`ACCEL=cuda`, or `JAX_PLATFORMS`); None where all is well."""
    names = "ACCEL", "JAX_PLATFORMS"
    asked = next((name for name in names if environment.get(name, "").split(",")[0] == "cuda"), None)
    if asked is None:
        return None
    try:
        if jax.default_backend() != "cpu":
            return None
        said = "JAX sees the CPU alone"
    except RuntimeError as error:
        said = str(error).splitlines()[0][:200]
    got = f"{asked}: got cuda, but"
    visible = environment.get("CUDA_VISIBLE_DEVICES", "all").strip()
    if visible in ("", "-1"):
        return f"{got} CUDA_VISIBLE_DEVICES is {visible!r}, which hides every card; unset it, {_OTHERWISE}"
    if not driver.exists():
        return f"{got} this machine has no NVIDIA driver, and so no card that could be used; install it, {_OTHERWISE}"
    if (found := _version(driver)) and found < _OLDEST_DRIVER:
        have, need = (".".join(map(str, v)) for v in (found, _OLDEST_DRIVER))
        return f"{got} the NVIDIA driver {have} is too old for CUDA 12; update it to {need} or newer, {_OTHERWISE}"
    cure = "see that the CUDA build of jax is installed (make setup ACCEL=cuda)"
    return f"{got} no card is used: {said}; {cure}, {_OTHERWISE}"


def _version(driver: Path) -> tuple[int, int] | None:
    found = re.search(r"Kernel Module\s+(?:for \S+\s+)?(\d+)\.(\d+)", driver.read_text())
    return (int(found.group(1)), int(found.group(2))) if found else None


def slow_float64(precision: str, device: Any = None) -> str | None:
    """What to expect of float64 on a card that was not built for it; None on others."""
    device = device or jax.local_devices()[0]
    capability = getattr(device, "compute_capability", None)
    if precision != "float64" or device.platform != "gpu" or capability is None or str(capability) in _FULL_FLOAT64:
        return None
    return (
        f"precision: got 'float64' on {device.device_kind}, which computes it at 1/32 of its float32 rate or less: "
        "expect a run many times as long as on an A100 or H100, or take precision = 'float32' with its floor "
        "(docs/performance.md)"
    )
