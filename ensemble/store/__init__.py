"""The store: results as labelled, checked, self-describing datasets in memory and on disk."""

from .boxes import Box
from .changes import in_order_of, same_study, scales, with_scales_of
from .collecting import collect
from .collection import Collection
from .directory import PROGRESS, RunDirectory, bytes_a_member, write_shard
from .files import adopt_file, is_alive, open_plain
from .flights import end_is_all, flights_of_ended
from .folders import OLD_FILE, clear, is_old_file, refuse_foreign
from .lock import lock
from .manifest import MANIFEST
from .networks import network
from .provenance import provenance
from .reading import of_sessions, open_box, open_dataset, refuse_estimates, status_counts
from .results import Results
from .schema import FINISHED, STATUS, SchemaError, StoreError, check, status_line
from .survey import Survey

__all__ = [
    "FINISHED",
    "MANIFEST",
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
    "clear",
    "collect",
    "end_is_all",
    "flights_of_ended",
    "in_order_of",
    "is_alive",
    "is_old_file",
    "lock",
    "network",
    "of_sessions",
    "open_box",
    "open_dataset",
    "open_plain",
    "provenance",
    "refuse_estimates",
    "refuse_foreign",
    "same_study",
    "scales",
    "status_counts",
    "status_line",
    "with_scales_of",
    "write_shard",
]
