"""The store: results as labelled, checked, self-describing datasets in memory and on disk."""

from .boxes import Box
from .collection import Collection
from .directory import OLD_FILE, PROGRESS, RunDirectory, Survey, bytes_a_member, write_shard
from .files import adopt_file
from .lock import lock
from .provenance import provenance
from .reading import collect, of_sessions, open_dataset, status_counts
from .results import Results
from .schema import FINISHED, STATUS, SchemaError, StoreError, check, status_line

__all__ = [
    "FINISHED",
    "OLD_FILE",
    "PROGRESS",
    "STATUS",
    "Box",
    "Collection",
    "Results",
    "RunDirectory",
    "SchemaError",
    "StoreError",
    "Survey",
    "adopt_file",
    "bytes_a_member",
    "check",
    "collect",
    "lock",
    "of_sessions",
    "open_dataset",
    "provenance",
    "status_counts",
    "status_line",
    "write_shard",
]
