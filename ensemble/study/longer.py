"""A study whose members may take more steps: the cap raised, and records that go on where they ended."""

import math
from typing import Any

import numpy as np

from .errors import StudyError
from .study import Study

_MOST_RECORDS = 100_000


def longer(study: Study, more_steps: int) -> Study:
    """The study whose members may take `more_steps` more, in the last stage of their protocol.

    Raised is `max_steps` where it is what ends members, else the steps (or epochs) of the last stage, and `max_steps`
    with them. Records of before stay; where the last of them was the last step, they go on log-spaced, at the distance
    of the last two.

    **Raises:** `StudyError` where the protocol has no such steps, or an axis sets them.
    """
    if type(more_steps) is not int or more_steps < 1:
        raise StudyError(f"more_steps: got {more_steps!r}; give a whole number of steps, at least 1")
    changes: dict[str, Any] = {}
    cap = study.max_steps
    if cap is not None:
        changes["max_steps"] = cap + more_steps
    if cap is None or any(point.cell.stages.steps < cap + more_steps for point in study.points):
        changes["protocol"] = _longer_protocol(study, more_steps)
    last = max(map(study.member_cap, (point.cell for point in study.points)))
    if study.records != 0:
        changes["records"] = _records(study.record_steps, last, last + more_steps)
    made = study.replace(**changes)
    for before, after in zip(study.points, made.points, strict=True):
        if made.member_cap(after.cell) != study.member_cap(before.cell) + more_steps:
            raise StudyError(
                f"more_steps: got {more_steps:,}, but max_steps ends some of the members earlier and others not; set "
                "the steps in the study file, and run it into another directory"
            )
    return made


def _longer_protocol(study: Study, more_steps: int) -> dict[str, Any]:
    """The protocol's table with a longer last stage."""
    table = study.resolved()["protocol"]
    if table["kind"] == "stages":
        *_, place = table["stages"]
        fields, path = ("steps",), f"protocol.stages.{len(table['stages']) - 1}"
    elif "epochs" in table:
        place, fields, path = table, ("epochs", "epoch_steps"), "protocol"
    else:
        place, fields, path = table, ("steps",), "protocol"
    for name, axis in study.axes.items():
        for field in {f"{path}.{field}" for field in fields} & axis.settings(0).keys():
            raise StudyError(
                f"more_steps: got {more_steps:,}, but the axis {name!r} sets {field}, so that steps are what cells "
                "differ in; add longer values to the axis, with `records` as a list of steps"
            )
    if place.get("time") is not None:
        raise StudyError(
            f"more_steps: got {more_steps:,}, but the last stage ends at a time, {path}.time = {place['time']:g}; set "
            "a longer one, and run the study into another directory"
        )
    if not study.points[0].cell.stages.stages[-1].takes_steps:
        raise StudyError(
            f"more_steps: got {more_steps:,}, but the last stage of the protocol takes no step; set the steps of the "
            "stage that is to be longer, and run the study into another directory"
        )
    each = place["epoch_steps"] if "epochs" in fields else 1
    if more_steps % each:
        raise StudyError(
            f"more_steps: got {more_steps:,}, but the protocol {table['kind']} is of whole epochs; give a multiple of "
            f"epoch_steps = {each:,}"
        )
    place[fields[0]] += more_steps // each
    return table


def _records(old: tuple[int, ...], last: int, new_last: int) -> tuple[int, ...]:
    """Old records with those that go on log-spaced, where there was one of the last step."""
    room = _MOST_RECORDS - len(old)
    if old[-1] != last or room < 1:
        return old
    before = old[-2] if len(old) > 1 and old[-2] > 0 else last / 2
    count = max(1, round(math.log(new_last / last) / math.log(last / before)))
    beyond = np.geomspace(last, new_last, min(count, room) + 1)[1:].round().astype(int)
    return tuple(sorted({*old, *beyond.tolist()}))
