"""The engine: advances members as lanes on devices. Knows arrays and programs, not teachers or files."""

from .advance import TRACES, ProgramShape
from .backends import EngineError, choose
from .devices import Device, Program, configure, granted_cores, places, side_by_side
from .lanes import ACTIVE, DIVERGED, NEVER, RULE_MET, Rules
from .run import Watch, run_workloads
from .workload import Drawn, Ended, Flights, Sink, Work, Workload

__all__ = [
    "ACTIVE",
    "DIVERGED",
    "NEVER",
    "RULE_MET",
    "TRACES",
    "Device",
    "Drawn",
    "Ended",
    "EngineError",
    "Flights",
    "Program",
    "ProgramShape",
    "Rules",
    "Sink",
    "Watch",
    "Work",
    "Workload",
    "choose",
    "configure",
    "granted_cores",
    "places",
    "run_workloads",
    "side_by_side",
]
