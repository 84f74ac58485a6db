"""What a study is refused for beyond its fields one by one."""

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..dynamics.stability import largest_stable_step
from ..parts import REGISTRY
from ..probes import PROBES, AbstractCertificateProbe, AbstractProbe
from ..problem.students import AbstractSizedStudent, AbstractStudent
from .axes import DEFAULT_STUDENT
from .cells import Cell
from .errors import StudyWarning, suggestion

if TYPE_CHECKING:
    from .study import Study


def check_fields(study: "Study") -> None:
    """**Raises:** `ValueError` where two axes set one field: the later would win, and labels would not be what "
    "was run."""
    setters: dict[str, str] = {}
    for name, axis in study.axes.items():
        for path in axis.fields or [axis.field]:
            before = setters.setdefault(str(path), name)
            if before != name:
                raise ValueError(f"axes.{name}: sets {path}, which the axis {before!r} sets, too; drop one of them")


def check_probes(study: "Study") -> None:
    """**Raises:** `ValueError` for probes that do not exist, or that some cell's members do not have."""
    for name in study.probes:
        if name not in PROBES:
            raise ValueError(f"probes: got {name!r}{suggestion(name, list(PROBES))}")
        for point in study.points:
            if reason := _refusal(PROBES[name], point.cell):
                raise ValueError(f"probes: got {name!r} {reason}; leave this probe out")


def check_coordinates(study: "Study") -> None:
    """**Raises:** `ValueError` where reduced coordinates are asked for and would not be exact."""
    for point in study.points if study.coordinates == "reduced" else ():
        if not isinstance(point.cell.student, AbstractSizedStudent):
            raise ValueError(
                f"coordinates: got 'reduced' for a {point.cell.student.kind} student, which has none; leave it out"
            )
        for stage in point.cell.stages.stages:
            if not stage.takes_steps:
                continue
            for part in (stage.update, stage.penalty):
                if not getattr(part, "rotation_equivariant", getattr(part, "rotation_invariant", False)):
                    raise ValueError(
                        f"coordinates: got 'reduced' with the {part.role} {part.kind!r} in the stage "
                        f"{stage.name!r}, which knows the axes "
                        'of the input: in other coordinates it is another one; take coordinates = "auto" or "full"'
                    )


def usual_probes(student: Any) -> list[str]:
    """The probes of a study that names none."""
    kind = student.get("kind", DEFAULT_STUDENT) if isinstance(student, dict) else getattr(student, "kind", None)
    cls = REGISTRY["student"].get(kind, AbstractStudent) if isinstance(kind, str) else AbstractStudent
    return [name for name, probe in PROBES.items() if probe.default and issubclass(cls, probe.of)]


def _refusal(probe: AbstractProbe, cell: Cell) -> str | None:
    """Why a probe cannot be measured of a cell's members."""
    if not isinstance(cell.student, probe.of):
        return f"for a {cell.student.kind} student, of which it is not defined"
    if isinstance(probe, AbstractCertificateProbe):
        sigma = cell.teacher.sigma
        if not sigma.homogeneous:
            return (
                f"with activation {sigma.name}, which is not 1-homogeneous: the certificate needs relu, abs, "
                "relu_even, "
                "abs_centred or linear"
            )
        for stage in cell.stages.stages:
            if not stage.penalty.total_variation:
                return (
                    f"under the penalty {stage.penalty.kind!r}, which {stage.penalty.over_measures}; the certificate "
                    "serves l2 and path_norm"
                )
    return None


def parts_of(study: "Study") -> Iterator[Any]:
    """Every part of every cell, each kind once a place, and the probes."""
    yield from (PROBES[name] for name in study.probes)
    for point in study.points:
        yield from (point.cell.teacher, point.cell.student)
        if sigma := getattr(point.cell.teacher, "sigma", None):
            yield sigma
        for stage in point.cell.stages.stages:
            yield from (stage.update, stage.penalty, stage.step_size_schedule, stage.weight_decay_schedule)


def warn(study: "Study") -> None:
    """Warns of step sizes with which descent cannot stay at the teacher."""
    seen = set()
    for point in study.points:
        for stage in point.cell.stages.stages:
            key = (point.cell.teacher.model_dump_json(), stage.model_dump_json())
            if not stage.takes_steps or stage.length == 1 or key in seen:
                continue
            seen.add(key)
            limit = largest_stable_step(point.cell.teacher, stage.update, stage.layers, stage.weight_decay)
            if limit is not None and stage.step_size > limit:
                at = ", ".join(f"{n} = {v}" for n, v in point.labels.items())
                warnings.warn(
                    f"protocol: got step_size = {stage.step_size:g} in stage {stage.name!r}"
                    f"{f' (at {at})' if at else ''}; above {limit:.3g} {stage.update.kind} cannot rest at the "
                    "teacher "
                    f"(step size × sharpness > {stage.update.limit():g}): expect oscillation or divergence, "
                    "or lower it",
                    StudyWarning,
                    stacklevel=5,
                )
                return
