"""Cards: what XLA has to know of one to compile for it, and what it can do at most.

Figures of the vendor's data sheets and of XLA's own descriptions of these cards.
"""

from typing import NamedTuple


class Card(NamedTuple):
    """One kind of accelerator."""

    title: str
    major: int
    """Compute capability."""
    suffix: str
    """Of the architecture's name as ptxas knows it: `a` where it has instructions of its own."""
    multiprocessors: int
    clock_ghz: float
    fp64_units: int
    """Float64 fused multiply-adds a multiprocessor starts a clock (without tensor cores)."""
    fp32_units: int
    memory_bytes: int
    bytes_a_second: float
    l2_bytes: int
    shared_bytes: int
    """Shared memory of a multiprocessor."""
    shared_bytes_a_block: int
    dnn: tuple[int, int, int] = (9, 10, 0)
    toolkit: str = "12.8.0"

    @property
    def architecture(self) -> str:
        return f"sm_{self.major}0{self.suffix}"

    def operations_a_second(self, dtype: str) -> float:
        """Instructions of one thread, a fused multiply-add counted once."""
        units = self.fp64_units if dtype == "float64" else self.fp32_units
        return 1e9 * self.clock_ghz * units * self.multiprocessors

    @property
    def target_config(self) -> str:
        """XLA's `GpuTargetConfigProto` as text."""
        feature = "ACCELERATED_FEATURES" if self.suffix else "NONE"
        return f"""gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {self.shared_bytes}
  threads_per_core_limit: {THREADS}
  core_count: {self.multiprocessors}
  fpus_per_core: {self.fp32_units}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {self.bytes_a_second:.0f}
  l2_cache_size: {self.l2_bytes}
  clock_rate_ghz: {self.clock_ghz}
  device_memory_size: {self.memory_bytes}
  shared_memory_per_block_optin: {self.shared_bytes_a_block}
  cuda_compute_capability {{ major: {self.major} feature_extension: {feature} }}
  registers_per_core_limit: {REGISTERS}
  registers_per_block_limit: {REGISTERS}
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
  device_vendor: "NVIDIA Corporation"
  name: "{self.title}"
  driver_version: "13.0.0"
  runtime_version: "{self.toolkit}"
  compile_time_toolkit_version: "{self.toolkit}"
  dnn_version: "{".".join(map(str, self.dnn))}"
}}
platform_name: "CUDA"
dnn_version_info {{ major: {self.dnn[0]} minor: {self.dnn[1]} patch: {self.dnn[2]} }}
device_description_str: "{self.title}"
"""


THREADS, REGISTERS, WARPS, BLOCKS = 2048, 65536, 64, 32
"""What a multiprocessor of every card below holds at once."""

CARDS = {
    "A100": Card("NVIDIA A100-SXM4-80GB", 8, "", 108, 1.41, 32, 64, 85100068864, 2.03904e12, 41943040, 167936, 166912),
    "H100": Card(
        "NVIDIA H100 80GB HBM3", 9, "a", 132, 1.98, 64, 128, 84942979072, 3.35232e12, 52428800, 233472, 232448
    ),
    "B200": Card("NVIDIA B200", 10, "a", 148, 1.965, 64, 128, 191514411008, 7.67232e12, 132644864, 233472, 232448),
}
