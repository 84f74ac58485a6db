"""Where members are computed: in this process, or on a Dask cluster."""

from .lengthen import lengthen
from .local import SECONDS_BETWEEN_KEEPS, PartialResult, run
from .report import Report
from .reproduce import Comparison, reproduce
from .status import Status, status
from .timing import Timing, timing

__all__ = [
    "SECONDS_BETWEEN_KEEPS",
    "Comparison",
    "PartialResult",
    "Report",
    "Status",
    "Timing",
    "lengthen",
    "reproduce",
    "run",
    "status",
    "timing",
]
