"""Kernels: the ways to advance lanes, behind one interface.

    simd    `simd.py` on `descent.py`: CPU, float64, plain descent of two-layer networks, 1-homogeneous activations
    fused   the Pallas kernel of `fused.py`: NVIDIA GPUs; chosen where it was measured to be faster than xla
    xla     the program of `xla.py`: every update, penalty, risk, model, device and precision

A member's bits are the same on one kernel whatever else happens; between two they agree to rounding. Which one
serves a program depends on the program and the platform alone, unless the caller asks for one.
"""

from ..devices import EngineError
from ..program import Pool
from .base import AbstractKernel
from .fused import Fused
from .simd import Simd
from .xla import Xla

KERNELS: dict[str, type[AbstractKernel]] = {kernel.name: kernel for kernel in (Simd, Fused, Xla)}
"""Every kernel by name."""
ENGINES = ("auto", *KERNELS)
"""What may be asked for."""


def kernel_name(name: str) -> str:
    """Today's name of a kernel: `xla` was called `reference`."""
    return "xla" if name == "reference" else name


def choose(pool: Pool, engine: str = "auto") -> type[AbstractKernel]:
    """The kernel for a program: `simd` where it serves it, `fused` where it pays, else `xla`; `engine` may ask for one.

    **Raises:** `EngineError` for a kernel that does not exist or cannot run the program.
    """
    engine = kernel_name(engine)
    if engine not in ENGINES:
        raise EngineError(f"engine: got {engine!r}; it is {', '.join(ENGINES)}")
    if engine == "auto":
        if Simd.serves(pool):
            return Simd
        return Fused if Fused.pays(pool) else Xla
    kernel = KERNELS[engine]
    if not kernel.serves(pool):
        raise EngineError(f"engine: got {engine!r}, which serves {kernel.limits}; take auto")
    return kernel


__all__ = ["ENGINES", "KERNELS", "AbstractKernel", "EngineError", "Fused", "Simd", "Xla", "choose", "kernel_name"]
