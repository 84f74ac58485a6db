"""From the cells of a study to workloads of the engine: what a member is, as arrays and programs."""

from .groups import Group, groups
from .members import Sample, initial, sample
from .shapes import check_shapes, member_sizes, stored_arrays
from .sizes import refuse_many
from .workloads import workload

__all__ = [
    "Group",
    "Sample",
    "check_shapes",
    "groups",
    "initial",
    "member_sizes",
    "refuse_many",
    "sample",
    "stored_arrays",
    "workload",
]
