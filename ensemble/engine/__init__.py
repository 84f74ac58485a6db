"""The engine: advances members as lanes on devices. Knows arrays and programs, not teachers or files."""

from .advance import TRACES, ProgramShape
from .devices import configure, granted_cores, mesh
from .lanes import ACTIVE, DIVERGED, NEVER, RULE_MET, Rules
from .run import Drawn, Ended, Progress, Sink, Work, Workload, run_workload

__all__ = [
    "ACTIVE",
    "DIVERGED",
    "NEVER",
    "RULE_MET",
    "TRACES",
    "Drawn",
    "Ended",
    "ProgramShape",
    "Progress",
    "Rules",
    "Sink",
    "Work",
    "Workload",
    "configure",
    "granted_cores",
    "mesh",
    "run_workload",
]
