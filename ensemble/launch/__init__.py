"""Where members are computed. So far: this process."""

from .local import PartialResult, Report, run

__all__ = ["PartialResult", "Report", "run"]
