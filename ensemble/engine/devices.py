"""Devices: where compiled programs run side by side.

On CPU every core calls programs of XLA's one CPU device from a thread of its own: the program is then the same whatever
the number of cores, and so are the bits of its results. (A program that XLA splits over one device a core is compiled
differently for one device than for two, and rounds differently.) On accelerators every local device is called.
"""

import functools
import hashlib
import importlib
import itertools
import math
import os
import platform
import threading
import uuid
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import jax

from ..numerics.threads import on_the_calling_thread

Device = Any
"""A `jax.Device`, which type checkers take for a variable."""
Part = TypeVar("Part")
Result = TypeVar("Result")
Key = ParamSpec("Key")

_WORTH_KEEPING = 0.05
"""Seconds of compilation from which a program is kept on disk."""

OPTIONS_GPU = {
    # Bits must not depend on a race: XLA times several ways to multiply matrices, each with its own order of summation,
    # and takes the fastest of the day. This takes the one that a program compiled without a card has (and cost 4% in
    # the one case where both were measured).
    "xla_gpu_autotune_level": "0",
    # XLA's own list, and loops: the card reads a loop's condition itself, instead of the host.
    "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,WHILE,CONDITIONAL",
}
"""How programs are compiled for NVIDIA's cards."""


class EngineError(ValueError):
    """The engine cannot do what it is asked for."""


def granted_cores() -> int:
    """The cores this process may use: GD_ATLAS_CORES, else its affinity mask, cut by a cgroup's CPU quota.

    **Raises:** `EngineError` where GD_ATLAS_CORES is no positive number.
    """
    chosen = os.environ.get("GD_ATLAS_CORES", "")
    if chosen.isdecimal() and int(chosen) > 0:
        return int(chosen)
    if chosen:
        raise EngineError(f"GD_ATLAS_CORES: got {chosen!r}; give the number of cores that may be used, such as 4")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or the quota is "max"
        pass
    return cores


def configure() -> None:
    """float64 on, matrix products in full precision, compiled programs kept on disk."""
    jax.config.update("jax_enable_x64", True)
    # A matrix product is never silently rounded to TF32 or bf16 on an accelerator.
    if getattr(jax.config, "jax_default_matmul_precision", None) is None:
        jax.config.update("jax_default_matmul_precision", "highest")
    _keep_whole_files()
    _keep_compiled_programs()


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


def _keep_whole_files() -> None:
    """A compiled program appears on disk whole or not at all, and one that cannot be read is replaced.

    JAX writes in place and replaces nothing: what a killed process or a full disk left would be refused with a warning,
    and compiled again, by every process after it. JAX has no public name for this: another one writes as it does.
    """
    cache = getattr(importlib.import_module("jax._src"), "lru_cache", None)
    in_place = getattr(getattr(cache, "LRUCache", None), "put", None)
    if cache is None or in_place is None or hasattr(in_place, "__wrapped__"):
        return

    @functools.wraps(in_place)
    def put(self: Any, key: str, value: bytes) -> None:
        if self.eviction_enabled:  # the user's own limit: JAX locks such a cache
            return in_place(self, key, value)
        own = f".{key}-{uuid.uuid4().hex}"
        aside = self.path / f"{own}-cache"
        try:
            in_place(self, own, value)
            aside.replace(self.path / f"{key}-cache")
        finally:
            aside.unlink(missing_ok=True)

    cache.LRUCache.put = put


def _processor_features() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def accelerated() -> bool:
    """Whether programs run on accelerators."""
    return jax.default_backend() != "cpu"


def kept(make: Callable[Key, Result]) -> Callable[Key, Result]:
    """Of functions that make a `Compiled`: a process keeps the last 64 of each, those for accelerators and those for
    CPUs apart.

    XLA maps up to some thirty regions of memory a program, and Linux allows a process 65 530: one that went through a
    thousand structures would crash. A program that is asked for again comes from disk.
    """

    @functools.lru_cache(maxsize=64)
    def found(_accelerated: bool, *arguments: Key.args, **more: Key.kwargs) -> Result:
        return make(*arguments, **more)

    @functools.wraps(make)
    def program(*arguments: Key.args, **more: Key.kwargs) -> Result:
        return found(accelerated(), *arguments, **more)

    program.cache_info = found.cache_info  # pyright: ignore[reportAttributeAccessIssue]
    return program


def memory() -> int:
    """Bytes of an accelerator that JAX may use, of the smallest one here; a GiB where it does not say."""
    return min((device.memory_stats() or {}).get("bytes_limit", 2**30) for device in jax.local_devices())


def places() -> list[Device]:
    """Where calls run at once: the CPU device once a core, or every local accelerator."""
    if not accelerated():
        return jax.local_devices()[:1] * granted_cores()
    return jax.local_devices()


def side_by_side(call: Callable[[Part, Device], Result], parts: Iterable[Part]) -> list[Result]:
    """`call(part, device)` of every part, as many at once as there are places; results in the order of parts."""
    parts = list(parts)
    return list(_pool().map(call, parts, itertools.islice(itertools.cycle(places()), len(parts))))


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(granted_cores(), len(places())), thread_name_prefix="gd-atlas")


_WAIT = ("lapack_", "stablehlo.fft")
"""What shows a factorisation or a Fourier transform in the text of a program: on a CPU both wait inside one of XLA's
threads for work that they gave to the others."""
_waiting = threading.Lock()


class Compiled:
    """A jitted function that is compiled once for every device and shape, also where threads call it at once.

    A program that waits inside XLA's threads runs alone among its kind: XLA has a thread a core, and called from every
    core all of them would wait for ever. (With more threads than cores every other program was up to 1.8 times slower.)
    """

    def __init__(self, function: Callable, options: dict[str, Any] | None = None):
        if not accelerated():
            options = on_the_calling_thread(**options or {})
        self._jitted = jax.jit(function, compiler_options=options)
        self._compiled: set[Hashable] = set()
        self._lock = threading.Lock()
        self._waits = False

    def __call__(self, device: Device, *arguments: Any) -> Any:
        if accelerated():
            arguments = jax.device_put(arguments, device)
        # A CPU's program takes the host's arrays as they are: to put them took longer than some calls.
        kind = (device, *(x.shape for x in jax.tree.leaves(arguments)))
        if kind in self._compiled:
            return self._run(arguments)
        with self._lock:
            if not (accelerated() or self._compiled):
                program = self._jitted.lower(*arguments).as_text()  # the call below lowers it no second time
                self._waits = any(word in program for word in _WAIT)
            result = self._run(arguments)
            self._compiled.add(kind)
        return result

    def _run(self, arguments: tuple[Any, ...]) -> Any:
        if not self._waits:
            return self._jitted(*arguments)
        with _waiting:
            return jax.block_until_ready(self._jitted(*arguments))
