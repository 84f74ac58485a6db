"""What a cell is refused for that is trained on samples, or cannot be trained without."""

from typing import TYPE_CHECKING, Any

from ..dynamics.protocols import argument
from ..dynamics.updates import Prune, Ridge
from ..parts import REGISTRY
from ..problem.activations.biased import BIASED
from ..problem.teachers import TwoTasks
from .errors import an

if TYPE_CHECKING:
    from .cells import Cell


def data_refusal(cell: "Cell") -> str | None:
    """Why the members of a cell have no data, or none that they can be trained on."""
    data, student = cell.data, cell.student
    if data is None:
        if cell.is_closed:
            return None
        return (
            f"data: is missing; the population risk of {an(student.kind)} student{_pool(cell)} has no closed form: "
            "give a table [data] with samples = n, or with online = true"
        )
    if not student.from_samples or cell.inputs is None:
        return (
            f"data: got a table for {an(student.kind)} student and {an(cell.teacher.kind)} teacher, whose risk is not "
            "that of functions of x; leave it out, or take one of the students "
            + ", ".join(name for name, part in REGISTRY["student"].items() if part.from_samples)
        )
    if refusal := _lazy_refusal(cell):
        return refusal
    try:
        data.inputs.check(cell.inputs, cell.teacher)
    except ValueError as error:
        said = str(error)
        return f"data.inputs: {said}" if said.startswith("got ") else f"data.inputs.{said}"
    return _population_refusal(cell) or _stage_refusal(cell)


def _lazy_refusal(cell: "Cell") -> str | None:
    """Why a lazy comparator has no such data."""
    assert cell.data is not None
    if getattr(cell.student, "is_plain", True):
        return None
    if cell.is_closed:
        return (
            "data: got a table for a student with output_scale, recentred or linearised, whose risk is the exact one "
            "of N(0, I); leave it out, or these"
        )
    for field in ("adversary", "second"):
        if getattr(cell.data, field) is not None:
            return (
                f"data.{field}: got one for a student with output_scale, recentred or linearised, which is trained on "
                "one sample as it is; leave it out, or these"
            )
    return None


def _population_refusal(cell: "Cell") -> str | None:
    assert cell.data is not None
    data, kind = cell.data, cell.student.kind
    if not data.is_sampled and not cell.is_exact:
        why = data.inputs.exact_refusal(cell.student, cell.teacher) if cell.is_closed else ""
        return (
            f"data.samples: is missing; the population risk of {an(kind)} student{_pool(cell)} under "
            f"{data.inputs.kind} inputs has no closed form{f' {why}' if why else ''}: give "
            "samples = n, or online = true"
        )
    return None


def _stage_refusal(cell: "Cell") -> str | None:
    assert cell.data is not None
    for stage in cell.stages.stages:
        if refusal := _two_samples_refusal(cell, stage):
            return refusal
        if stage.grad_norm is not None and cell.data.is_stochastic:
            return (
                f"protocol.grad_norm: got {stage.grad_norm:g} in the stage {stage.name!r} with batches, whose "
                "gradients are small by chance; end it by loss or steps, or leave data.batch out"
            )
        if _of_gaussian(stage.penalty) and cell.data.inputs.kind != "gaussian":
            return (
                f"protocol.penalty: got 'bottleneck' in the stage {stage.name!r} under {cell.data.inputs.kind} inputs, "
                "whose information is not known; take gaussian inputs, or another penalty"
            )
        if isinstance(stage.update, Prune) and stage.update.of_gaussian and cell.data.inputs.kind != "gaussian":
            return (
                f"protocol: got a prune stage {stage.name!r} by the population loss of N(0, I) under "
                f'{cell.data.inputs.kind} inputs; take by = "mass" with keep or threshold'
            )
        if isinstance(stage.update, Ridge) and cell.data.adversary is not None:
            return (
                f"protocol: got a ridge stage {stage.name!r} with data.adversary, whose risk is no least squares; "
                "leave one of them out"
            )
        if isinstance(stage.update, Ridge) and cell.data.online:
            return (
                f"protocol: got a ridge stage {stage.name!r} with data.online = true, where there is no sample whose "
                "least squares it could solve; give samples = n, or take another protocol"
            )
    return None


def _two_samples_refusal(cell: "Cell", stage: Any) -> str | None:
    """Why a stage is of neither of two samples."""
    if cell.data is None or cell.data.second is None:
        return None
    if not isinstance(cell.teacher, TwoTasks):
        return (
            f"data.second: got a table with the teacher {cell.teacher.kind!r}, which has one task; take the teacher "
            "'two_tasks', or leave it out"
        )
    half = cell.teacher.neurons // 2
    first, second = (set(range(begin, begin + half)) for begin in (0, half))
    target = set(stage.target) if stage.targeted else first | second
    if stage.takes_steps and target not in (first, second):
        said = "no target" if not stage.targeted else f"the target {sorted(target)}"
        field = argument(cell.protocol["kind"], "target")
        return (
            f"{field}: got {said} in the stage {stage.name!r} with data.second, a sample of each task; take "
            f"all neurons of one task, {sorted(first)} or {sorted(second)}"
        )
    return None


def _of_gaussian(penalty: Any) -> bool:
    """Whether a penalty is one of x ~ N(0, I)."""
    return penalty.kind == "bottleneck" or any(map(_of_gaussian, getattr(penalty, "terms", ())))


def _pool(cell: "Cell") -> str:
    """What leaves a convolution or a network with biases without a closed form, as messages say it."""
    if cell.is_closed or not cell.student.exact:
        return ""
    if cell.teacher.has_biases:
        return f" with activation {cell.teacher.sigma.name} and biases (there is one for {', '.join(BIASED)})"
    return f" under {cell.teacher.pooling} pooling"
