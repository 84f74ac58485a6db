"""Devices: on CPU one JAX device a core, set up before JAX starts.

XLA runs a batch of small matrix products on one core, so every core gets a device of its own and its own
tiles of lanes. `XLA_FLAGS=--xla_force_host_platform_device_count=N` or `jax_num_cpu_devices` set by the user
win.
"""

import hashlib
import math
import os
import platform
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

_WORTH_KEEPING = 0.05
"""Seconds of compilation from which a program is kept on disk."""


def granted_cores() -> int:
    """The cores this process may use: GD_ATLAS_CORES, else its affinity mask, cut by a cgroup's CPU quota."""
    chosen = os.environ.get("GD_ATLAS_CORES", "")
    if chosen.isdigit() and int(chosen) > 0:
        return int(chosen)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or the quota is "max"
        pass
    return cores


def configure() -> None:
    """float64 on, and as many CPU devices as cores unless the user chose; a no-op once JAX has started."""
    jax.config.update("jax_enable_x64", True)
    # A matrix product is never silently rounded to TF32 or bf16 on an accelerator.
    if getattr(jax.config, "jax_default_matmul_precision", None) is None:
        jax.config.update("jax_default_matmul_precision", "highest")
    _keep_compiled_programs()
    chosen = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if chosen or getattr(jax.config, "jax_num_cpu_devices", None) not in (-1, None):
        return
    try:
        jax.config.update("jax_num_cpu_devices", granted_cores())
    except RuntimeError:  # JAX already runs: keep the devices that it has
        pass


def _keep_compiled_programs() -> None:
    """XLA's compiled programs are kept on disk between processes, in GD_ATLAS_CACHE (`off`: nowhere).

    A cache that the user gave JAX wins. Programs are made for one processor, so each kind has a folder of its own: a
    home shared by a cluster's machines holds several.
    """
    place = os.environ.get("GD_ATLAS_CACHE") or str(
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gd-atlas"
    )
    if place == "off" or getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    kind = hashlib.sha256(f"{platform.machine()} {_processor_features()}".encode()).hexdigest()[:12]
    jax.config.update("jax_compilation_cache_dir", str(Path(place) / f"xla-{kind}"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _WORTH_KEEPING)


def _processor_features() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def mesh() -> Mesh:
    """The local devices of the default backend as a one-dimensional mesh, axis `device`."""
    return Mesh(np.array(jax.local_devices()), ("device",))
