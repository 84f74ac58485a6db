"""What a study is refused for beyond its fields one by one."""

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ..dynamics.schedules import Halving
from ..dynamics.stability import drawn_stable_step, largest_stable_step
from ..memory import in_words, memory
from ..parts import REGISTRY, UnknownPart
from ..probes import PROBES, AbstractCertificateProbe, AbstractProbe
from ..problem.activations import activation, largest_norm
from ..problem.inputs import Anisotropic
from ..problem.penalties import L2
from ..problem.students import AbstractSizedStudent, AbstractStudent
from ..problem.teachers import AbstractTwoLayerTeacher
from .axes import taken
from .cells import Cell
from .errors import StudyError, an, suggestion, warn
from .units import DEFAULT_STUDENT

MOST_DRAWN = 64
"""Teachers that are drawn to know whether a step size is too large for one of them."""
_STEPS_LOOKED_AT = 1025
"""Of a stage, evenly, where a schedule is asked for its factor."""
NO_STEP = 2**31 - 1
"""A step that no member's clock reaches."""
BYTES_A_CELL = 11_000
"""What a cell takes, resolved to its parts (measured)."""

if TYPE_CHECKING:
    from .study import Study


def check_fields(study: "Study") -> None:
    """**Raises:** `ValueError` where two axes set one field: the later would win, and labels would not say what ran."""
    setters: dict[str, str] = {}
    for name, path in _set_by_axes(study):
        before = setters.setdefault(path, name)
        if before != name:
            raise ValueError(f"axes.{name}: sets {path}, which the axis {before!r} sets, too; drop one of them")


def check_free(study: "Study", fields: Iterable[str]) -> None:
    """**Raises:** `StudyError` where a field that is set beside the file is one that an axis sets, and so wins."""
    for name, path in _set_by_axes(study):
        if path in fields:
            raise StudyError(f"{path}: is set by the axis {name!r}; choose its values with axes.{name}=[…]")


def _set_by_axes(study: "Study") -> Iterator[tuple[str, str]]:
    """(axis, path of a field that it sets)."""
    for name, axis in study.axes.items():
        yield from ((name, str(path)) for path in axis.fields or [axis.field])


def check_names(study: "Study") -> None:
    """**Raises:** `ValueError` where an axis has the name of something in this study's own datasets: a measure, an
    array of a student, or a dimension, a user's too.
    """
    held: set[str] = set()
    for probe in (PROBES[name] for name in study.stored_probes if name in PROBES):
        held |= {probe.name, f"{probe.name}_stage", f"{probe.name}_history", *probe.dims}
    cells = {(type(point.cell.student), type(point.cell.teacher)): point.cell for point in study.points}
    for cell in cells.values():
        held |= {name for array, stored in cell.student.arrays(cell.teacher).items() for name in (array, *stored.dims)}
    for name in study.axes:
        if name in held:
            raise ValueError(taken(name))


def check_schedules(study: "Study") -> None:
    """**Raises:** `ValueError` for a schedule that turns negative, or is no number, within its stage."""
    for stage in {stage.model_dump_json(): stage for p in study.points for stage in p.cell.stages.stages}.values():
        for name in ("step_size_schedule", "weight_decay_schedule"):
            schedule = getattr(stage, name)
            if schedule is None or not stage.takes_steps or isinstance(schedule, Halving | UnknownPart):
                continue
            steps = np.unique(np.linspace(0, stage.length - 1, _STEPS_LOOKED_AT).round().astype(int))
            factors = np.asarray(jax.vmap(schedule)(steps))
            # Rounding of an end at 0 is no negative number.
            wrong = np.flatnonzero(~np.isfinite(factors) | (factors < -1e-9))
            if len(wrong):
                raise ValueError(
                    f"protocol: got a {name} that is {factors[wrong[0]]:g} at step {steps[wrong[0]]} of the stage "
                    f"{stage.name!r}; a factor is a finite number ≥ 0: let the schedule end at 0 or above"
                )


def check_stored(study: "Study") -> None:
    """**Raises:** `ValueError` where weights are stored of students or teachers that do not have the same arrays."""
    kinds = {
        (p.cell.student.kind, p.cell.teacher.kind): set(p.cell.student.arrays(p.cell.teacher)) for p in study.points
    }
    if study.store_weights and len({frozenset(names) for names in kinds.values()}) > 1:
        said = "; ".join(f"{student} students of {teacher} teachers" for student, teacher in kinds)
        raise ValueError(
            f"store_weights: got true for {said}, whose weights are not the same arrays; make it a study a kind, or "
            "leave store_weights out"
        )


def check_grid(study: "Study") -> None:
    """**Raises:** `ValueError` where the grid's cells alone are more than this process may have."""
    shape = [len(axis.values) for axis in study.axes.values()]
    need, room = math.prod(shape) * BYTES_A_CELL, memory()
    if need > room:
        said = " × ".join(f"{size:,}" for size in shape)
        raise ValueError(
            f"axes: got {math.prod(shape):,} cells ({said}), which take {in_words(need)} before anything runs, and "
            f"this process may have {in_words(room)}; take fewer values, or several studies"
        )


def check_steps(study: "Study") -> None:
    """**Raises:** `ValueError` where a cell's members take no step, or more than their clock counts."""
    for point in study.points:
        steps = study.member_cap(point.cell)
        if steps < 1 and not isinstance(study.records, tuple):
            raise ValueError("protocol: got no descent stage; a member needs at least one step")
        if steps >= NO_STEP:
            raise ValueError(
                f"protocol: got {steps:,} steps; a member's clock counts up to {NO_STEP - 1:,}: lower the steps or set "
                "max_steps"
            )


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
    for name in full_probes(study) if study.coordinates == "reduced" else ():
        raise ValueError(
            f"coordinates: got 'reduced' with the probe {name!r}, which is of all d coordinates of the input; take "
            'coordinates = "auto" or "full"'
        )
    for point in study.points if study.coordinates == "reduced" else ():
        if not isinstance(point.cell.student, AbstractSizedStudent):
            raise ValueError(
                f"coordinates: got 'reduced' for {an(point.cell.student.kind)} student, which has none; leave it out"
            )
        data = point.cell.data
        if data is not None and not point.cell.is_isotropic:
            what = "of samples" if data.is_sampled else f"of {data.inputs.kind} inputs"
            raise ValueError(
                f"coordinates: got 'reduced' with data {what}, which are others in other coordinates; take coordinates "
                '= "auto" or "full"'
            )
        for stage in point.cell.stages.stages:
            if stage.of_axes:
                raise ValueError(
                    f"coordinates: got 'reduced' with {stage.of_axes} in the stage {stage.name!r}, which knows the "
                    'axes of the input: in other coordinates it is another one; take coordinates = "auto" or "full"'
                )


def full_probes(study: "Study") -> Iterator[str]:
    """The probes of a study that need rows of all d coordinates."""
    return (name for name in study.probes if name in PROBES and PROBES[name].full_coordinates)


def usual_probes(student: Any, data: Any = None) -> list[str]:
    """The probes of a study that names none; `data` is its table of data."""
    said = data if isinstance(data, dict) else {name: getattr(data, name, None) for name in ("samples", "second")}
    sampled = said.get("samples") and not said.get("second")
    kind = student.get("kind", DEFAULT_STUDENT) if isinstance(student, dict) else getattr(student, "kind", None)
    cls = REGISTRY["student"].get(kind, AbstractStudent) if isinstance(kind, str) else AbstractStudent
    usual = {name: probe for name, probe in PROBES.items() if probe.default and issubclass(cls, probe.of)}
    return [name for name, probe in usual.items() if sampled or not probe.of_samples]


def _refusal(probe: AbstractProbe, cell: Cell) -> str | None:
    """Why a probe cannot be measured of a cell's members."""
    if not isinstance(cell.student, probe.of):
        return f"for {an(cell.student.kind)} student, of which it is not defined"
    if probe.of_samples and (cell.data is None or cell.data.samples is None):
        return "without a sample of the member's own: give data.samples = n"
    if probe.of_samples and cell.data is not None and cell.data.second is not None:
        return "with data.second, whose labels are of two tasks"
    if probe.full_coordinates and cell.data is not None and cell.data.inputs.kind != "gaussian":
        return f"under {cell.data.inputs.kind} inputs: the tangent kernel is measured over N(0, I)"
    if probe.full_coordinates and not cell.is_closed:  # of all students with this probe, convolutions alone
        return f"for {an(cell.student.kind)} student whose tangent kernel over N(0, I) has no closed form"
    teacher: Any = cell.teacher
    if not isinstance(teacher, probe.against):
        served = probe.against.model_fields["kind"].default
        return f"with the teacher {teacher.kind!r}, and it is measured against {served!r} alone"
    if probe.of_network and not getattr(cell.student, "is_plain", True):
        return (
            "for a student with output_scale, recentred or linearised, whose function is not that of its weights alone"
        )
    if probe.of_network and cell.data is not None and cell.data.inputs.kind != "gaussian":
        return f"under {cell.data.inputs.kind} inputs: it is exact over N(0, I)"
    if isinstance(probe, AbstractCertificateProbe):
        if not getattr(cell.student, "is_plain", True):
            return (
                "for a student with output_scale, recentred or linearised, whose function is not that of its weights "
                "alone; the certificate serves the network itself"
            )
        if cell.data is not None and (cell.is_sampled or cell.data.inputs.kind != "gaussian"):
            what = "that are trained on samples" if cell.is_sampled else f"under {cell.data.inputs.kind} inputs"
            return f"for members {what}: the certificate is one of the population risk of N(0, I)"
        assert isinstance(cell.teacher, AbstractTwoLayerTeacher), "the probe is one of two-layer students"
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


def reads_files(study: "Study") -> bool:
    """Whether a study is made of more than its text: of files of a user's own parts, or of rows of a table."""
    return bool(study.parts) or any(p.cell.data is not None and p.cell.data.inputs.of_rows for p in study.points)


def parts_of(study: "Study") -> Iterator[Any]:
    """Every part of every cell, each kind once a place, and the probes."""
    yield from (PROBES[name] for name in study.probes)
    for point in study.points:
        yield from (point.cell.teacher, point.cell.student)
        if point.cell.data is not None:
            yield point.cell.data.inputs
        if sigma := getattr(point.cell.teacher, "sigma", None):
            yield sigma
        if (own := getattr(point.cell.student, "activation", None)) is not None:
            yield activation(own)
        for stage in point.cell.stages.stages:
            yield from (stage.update, stage.penalty, stage.step_size_schedule, stage.weight_decay_schedule)


def say_doubts(study: "Study") -> None:
    """Warns of what runs and is hardly meant: steps too large to rest, penalties of no weight, rows that inputs stretch
    beyond a series, test samples that nothing is scored on."""
    for said in (_too_large(study), _weightless(study), _stretched(study), _untested(study)):
        if said is not None:
            warn(said)


def _weightless(study: "Study") -> str | None:
    """That a penalty other than the usual one is asked for, and has weight 0 wherever it is."""
    heaviest: dict[str, float] = {}
    for stage in (stage for point in study.points for stage in point.cell.stages.stages if stage.takes_steps):
        kind = stage.penalty.kind
        heaviest[kind] = max(heaviest.get(kind, 0.0), stage.weight_decay)
    for kind in (kind for kind, weight in heaviest.items() if kind != L2().kind and not weight):
        return (
            f"protocol: got penalty = {kind!r} with weight_decay = 0, its weight, in every cell and stage: it does "
            "nothing; give weight_decay, or leave the penalty out"
        )
    return None


def _stretched(study: "Study") -> str | None:
    """That rows of unit length, as anisotropic inputs see them, may be longer than an activation's series serves."""
    for cell in (point.cell for point in study.points):
        sigma = getattr(cell.teacher, "sigma", None)
        if cell.data is None or not isinstance(cell.data.inputs, Anisotropic) or sigma is None or not cell.inputs:
            continue
        most = math.sqrt(float(np.max(cell.data.inputs.eigenvalues(cell.inputs))))
        if most > largest_norm(sigma):
            return (
                f"data.inputs: got eigenvalues up to {most**2:.3g}, under which a row of norm 1 counts as one of up to "
                f"{most:.3g}, with the activation {sigma.name}, whose kernel is a series for norms up to "
                f"{largest_norm(sigma):g}: members with longer rows end as diverged; say activation = "
                f'{{kind = "{sigma.name}", largest_norm = …}} with a larger one, or take a flatter spectrum'
            )
    return None


def _untested(study: "Study") -> str | None:
    """That the size of a test sample is asked for where every loss is known exactly."""
    cells = [point.cell for point in study.points]
    sizes = [cell.data.test_samples for cell in cells if cell.data is not None and cell.data.test_samples is not None]
    if not sizes or not all(cell.is_exact for cell in cells):
        return None
    return (
        f"data.test_samples: got {max(sizes):,}, and no cell has a test sample: the population loss is known exactly "
        "in all of them; leave it out"
    )


def _too_large(study: "Study") -> str | None:
    """That with some step size descent cannot stay at the teacher, on the population risk of x ~ N(0, I)."""
    seen = set()
    for point in study.points:
        for stage in point.cell.stages.stages:
            teacher, update, layers = point.cell.teacher, stage.update, stage.layers
            key = (teacher.model_dump_json(), stage.model_dump_json())
            # The bound is the sharpness of the network itself.
            is_bounded = getattr(point.cell.student, "is_plain", True) and point.cell.data is None
            if not stage.takes_steps or stage.length == 1 or key in seen or not is_bounded or isinstance(layers, tuple):
                continue
            seen.add(key)
            asked = (teacher, update, layers, stage.weight_decay)
            seeds = range(min(study.seeds, MOST_DRAWN))
            drawn = drawn_stable_step(*asked, stage.step_size, study.root_seed, seeds)
            limit, seed = drawn or (largest_stable_step(*asked), None)
            if limit is None or stage.step_size <= limit:
                continue
            at = ", ".join(f"{n} = {v}" for n, v in point.labels.items())
            whose = "the teacher" if seed is None else f"the teacher of seed {seed}"
            return (
                f"protocol: got step_size = {stage.step_size:g} in stage {stage.name!r}{f' (at {at})' if at else ''}; "
                f"above {limit:.3g} {update.kind} cannot rest at {whose} (step size × sharpness > "
                f"{update.limit():g}): expect oscillation or divergence, or lower it"
            )
    return None
