"""Golden files: the values of a group's cases in one compressed file, and what their bits depend on."""

import functools
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ensemble.numerics.threads import on_the_calling_thread
from ensemble.plan.programs import OPTIONS_DRAW

FOLDER = Path(__file__).parent / "values"
MACHINE = FOLDER / "machine.json"
OPTIONS = FOLDER / "options.json"

_PACKAGES = ("jax", "jaxlib", "llvmlite", "numba", "numpy", "optax", "scipy")
"""Whose code makes bits: compilers, arithmetic, and the LAPACK that JAX takes from SciPy."""


def machine() -> dict[str, str]:
    """What the bits of a result depend on beside the sources: versions of packages, and the kind of processor.

    XLA, Numba and OpenBLAS choose instructions by the processor's model and features.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        lines = [platform.processor()]
    kept = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU implementer", "CPU part")
    kind = "\n".join(line for line in lines if line.startswith(kept))
    digest = hashlib.sha256(f"{platform.system()} {platform.machine()}\n{kind}".encode()).hexdigest()
    return {package: importlib.metadata.version(package) for package in _PACKAGES} | {"processor": digest[:16]}


def recorded_machine() -> dict[str, str]:
    """The `machine()` on which the golden files were made."""
    return json.loads(MACHINE.read_text(encoding="utf-8"))


def options() -> dict[str, dict[str, Any]]:
    """How XLA compiles a run's programs on a CPU; one option may change bits on one kind of processor alone."""
    return {"every program": on_the_calling_thread(), "programs that draw, also": OPTIONS_DRAW}


def recorded_options() -> dict[str, dict[str, Any]]:
    """The `options()` with which the recorded bits were seen."""
    return json.loads(OPTIONS.read_text(encoding="utf-8"))


def write(group: str, datasets: dict[str, xr.Dataset]) -> Path:
    """Writes the raw values of every data variable, with the grid's cells and seeds in the order of members."""
    arrays = {f"{case}/{name}": v.values for case, ds in datasets.items() for name, v in ds.data_vars.items()}
    FOLDER.mkdir(exist_ok=True)
    target = FOLDER / f"{group}.npz"
    np.savez_compressed(target, **arrays)
    return target


@functools.cache
def read(group: str) -> dict[str, dict[str, np.ndarray]]:
    """The stored values of a group: by case, then by variable."""
    found: dict[str, dict[str, np.ndarray]] = {}
    with np.load(FOLDER / f"{group}.npz", allow_pickle=False) as file:
        for key in file.files:
            case, name = key.split("/")
            found.setdefault(case, {})[name] = file[key]
    return found


TOLERANCES = {"float64": 1e-9, "float32": 1e-3}
"""How far values may be from the recorded ones, relative to the larger of 1 and their size, where bits may differ.

Two engines sum in different orders, as two processors do: between `simd` and `reference` the recorded values differ by
at most 7e-12 (a ridge fit; 3e-13 elsewhere), and by 1e-10 at the most that the tests allow. Between float32 and the
same study in float64 they differ by 5e-5. Whole numbers, stop steps and statuses among them, must be the same.
"""


def differences(
    expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], tolerance: float | None
) -> list[str]:
    """A line for each expected variable that `found` lacks or has with other values; others are not looked at.

    **Arguments:** `tolerance`: relative to the larger of 1 and a value's size; None: the same bits.
    """
    lines = []
    for name, values in expected.items():
        if name not in found:
            lines.append(f"{name}: is missing")
            continue
        other = np.asarray(found[name])
        if (values.dtype, values.shape) != (other.dtype, other.shape):
            lines.append(f"{name}: got {other.dtype} {other.shape}, recorded is {values.dtype} {values.shape}")
            continue
        same = _same(values, other, tolerance)
        if not same.all():
            at = tuple(int(i) for i in np.argwhere(~same)[0])
            lines.append(
                f"{name}: {int((~same).sum())} of {same.size} values differ, first at {at}: "
                f"got {other[at]!r}, recorded is {values[at]!r}"
            )
    return lines


def _same(values: np.ndarray, other: np.ndarray, tolerance: float | None) -> np.ndarray:
    if values.dtype.kind != "f":
        return np.asarray(values == other)
    same = (values == other) | (np.isnan(values) & np.isnan(other))
    if tolerance is None:
        return same
    with np.errstate(invalid="ignore", over="ignore"):  # ∞ − ∞ is NaN, which is near nothing
        return same | (np.abs(values - other) <= tolerance * np.maximum(np.abs(values), 1.0))
