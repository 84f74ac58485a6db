"""Programs of XLA that run on the threads that call them."""

ON_THE_CALLING_THREAD: dict[str, str | bool] = {
    "xla_disable_hlo_passes": "cpu-parallel-task-assigner",
    "xla_cpu_multi_thread_eigen": False,
    "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
}
"""`compiler_options` of a program that several threads call at once on a CPU.

By itself XLA splits operations over threads of its own, a thread a core, and gives independent ones to several. Called
from every core that is slower (up to 1.8 times), and a factorisation then waits inside one of those threads for work
that it gave to the others: where all of them wait, they wait for ever.
"""
