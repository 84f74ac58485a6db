"""The engine: advances members as lanes on devices. Knows arrays and programs, not teachers or files."""

from .advance import TRACES, ProgramShape
from .backends import EngineError, choose
from .devices import configure, granted_cores, mesh
from .lanes import ACTIVE, DIVERGED, NEVER, RULE_MET, Rules
from .run import Watch, run_workloads
from .workload import Drawn, Ended, Flights, Sink, Work, Workload

__all__ = [
    "ACTIVE",
    "DIVERGED",
    "NEVER",
    "RULE_MET",
    "TRACES",
    "Drawn",
    "Ended",
    "EngineError",
    "Flights",
    "ProgramShape",
    "Rules",
    "Sink",
    "Watch",
    "Work",
    "Workload",
    "choose",
    "configure",
    "granted_cores",
    "mesh",
    "run_workloads",
]
