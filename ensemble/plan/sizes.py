"""Sizes before work: what a study's members take at once, so that what cannot be held is refused before it is tried."""

import math

from ..memory import in_words, memory
from ..problem.students import AbstractSizedStudent
from ..study import Point, Study, StudyError
from .programs import BATCH, CACHED

_OVERLAPS = 4
"""Arrays (neuron, neuron + teacher_neuron) that measuring the loss of a member holds at once, as XLA compiles it."""


def refuse_wide(study: Study) -> None:
    """**Raises:** `StudyError` where one batch of a cell's members is more than this process may have.

    The estimate is a lower bound: weights of a batch as they are drawn, and the overlaps of those that are measured
    together. A student that does not say its sizes is not looked at.
    """
    room = memory()
    for point in study.points:
        _refuse_samples(point, room)
        student, space = point.cell.student, study.space(point.cell)
        if not isinstance(student, AbstractSizedStudent) or space is None:
            continue
        sizes = student.sizes(point.cell.teacher, space)
        neurons, others = sizes.get("neuron", 1), sizes.get("teacher_neuron", 0)
        weights = (neurons + others) * (sizes.get("input", 1) + 1)
        need = 8.0 * max(BATCH * weights, _OVERLAPS * CACHED * neurons * (neurons + others))
        if need > room:
            at = ", ".join(f"{name} = {value}" for name, value in point.labels.items())
            said = ", ".join(f"{size:,} {name}" for name, size in sizes.items())
            raise StudyError(
                f"student.neurons: got members of {said}{f' (at {at})' if at else ''}: a batch of them takes "
                f"{in_words(need)} or more, and this process may have {in_words(room)}; lower the neurons or the inputs"
            )


def _refuse_samples(point: Point, room: float) -> None:
    """Members are drawn, advanced and measured sixteen at a time at least: so many samples are held twice."""
    cell = point.cell
    if cell.data is None or cell.inputs is None:
        return
    a_sample = 16.0 * CACHED * (cell.inputs + 1)
    if a_sample * cell.data.held_at_once <= room:
        return
    field = "batch" if cell.data.online else "samples"
    at = ", ".join(f"{name} = {value}" for name, value in point.labels.items())
    fewer = f"at most {int(room / a_sample):,} fit"
    raise StudyError(
        f"data.{field}: got {cell.data.held_at_once:,} of {cell.inputs:,} inputs{f' (at {at})' if at else ''}: "
        f"{CACHED} members' take {in_words(a_sample * cell.data.held_at_once)} or more, and this process may have "
        f"{in_words(room)}; {fewer}" + ("" if cell.data.online else ", and online = true holds one batch alone")
    )


def refuse_many(study: Study, bytes_a_member: float, where: str) -> None:
    """**Raises:** `StudyError` where so many bytes of every member are more than this process may have.

    **Arguments:** what is held of one member; where it is held, as the message says it.
    """
    need, room = study.members * bytes_a_member, memory()
    if need > room:
        sizes = (*(len(axis.values) for axis in study.axes.values()), study.seeds)
        raise StudyError(
            f"seeds: got {math.prod(sizes):,} members ({' × '.join(f'{size:,}' for size in sizes)}), of which {where} "
            f"takes {in_words(need)}, and this process may have {in_words(room)}; take fewer seeds or cells"
        )
