"""Programs of XLA that run on the threads that call them."""

import functools
from typing import Any

import jax

# Not `xla_cpu_multi_thread_eigen`: off, small matrix products go to another library, which rounds otherwise where it
# has kernels for the processor.
_OPTIONS: dict[str, Any] = {
    "xla_disable_hlo_passes": "cpu-parallel-task-assigner",
    "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
    "xla_cpu_enable_concurrency_optimized_scheduler": False,  # the same, as XLA before that of jax 0.10 has it
}


@functools.cache
def on_the_calling_thread(**more: Any) -> dict[str, Any]:
    """`compiler_options` of a program that several threads call at once on a CPU, and `more`, as far as this XLA knows.

    By itself XLA splits operations over threads of its own, a thread a core, and gives independent ones to several.
    Called from every core that is slower (up to 1.8 times), and a factorisation then waits inside one of those threads
    for work that it gave to the others: where all of them wait, they wait for ever. A single product of
    2¹⁸ multiplications or more over rows may be split all the same, and then rounds as the number of threads has it.
    """
    options = _OPTIONS | more
    if _knows(options):
        return options
    return {name: value for name, value in options.items() if _knows({name: value})}


def _knows(options: dict[str, Any]) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return False
    return True
