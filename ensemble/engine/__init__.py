"""The engine: advances members as lanes on devices. Knows pytrees and programs, not studies or files."""

from .accelerator import missing, slow_float64
from .devices import Compiled, Device, EngineError, configure, granted_cores, kept, places, side_by_side
from .kernels import ENGINES, choose, kernel_name
from .kernels.steps import step_of_lane
from .lanes import ACTIVE, DIVERGED, NEVER, RULE_MET, Fixed, Lanes, Moving, StageRow, moving_entries, row_like
from .program import TRACES, Pool, Program, moving_like, samples_a_step, tile_size
from .run import Watch, run_workloads
from .workload import Drawn, Ended, Flights, Measure, Sink, StagePlan, Work, Workload

__all__ = [
    "ACTIVE",
    "DIVERGED",
    "ENGINES",
    "NEVER",
    "RULE_MET",
    "TRACES",
    "Compiled",
    "Device",
    "Drawn",
    "Ended",
    "EngineError",
    "Fixed",
    "Flights",
    "Lanes",
    "Measure",
    "Moving",
    "Pool",
    "Program",
    "Sink",
    "StagePlan",
    "StageRow",
    "Watch",
    "Work",
    "Workload",
    "choose",
    "configure",
    "granted_cores",
    "kept",
    "kernel_name",
    "missing",
    "moving_entries",
    "moving_like",
    "places",
    "row_like",
    "run_workloads",
    "samples_a_step",
    "side_by_side",
    "slow_float64",
    "step_of_lane",
    "tile_size",
]
