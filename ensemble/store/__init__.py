"""The store: results as labelled, checked, self-describing datasets in memory and on disk."""

from .files import dataset_path, open_dataset, write_dataset
from .provenance import provenance
from .results import Results
from .schema import FINISHED, STATUS, SchemaError, check, status_line

__all__ = [
    "FINISHED",
    "STATUS",
    "Results",
    "SchemaError",
    "check",
    "dataset_path",
    "open_dataset",
    "provenance",
    "status_line",
    "write_dataset",
]
