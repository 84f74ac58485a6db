"""From the cells of a study to workloads of the engine: what a member is, as arrays and programs."""

from .groups import Group, groups
from .shapes import member_sizes, stored_arrays
from .sizes import refuse_many
from .workloads import initial, workload

__all__ = ["Group", "groups", "initial", "member_sizes", "refuse_many", "stored_arrays", "workload"]
