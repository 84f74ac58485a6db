"""What differs between two studies, and whether one extends the other.

Studies are compared by what they mean today, with every default filled in: a field that a later version added says in
an older study what its default says.
"""

from collections.abc import Iterator
from typing import Any

from ..study import Study, told
from ..study.errors import StudyError
from ..study.identity import WORDS, digests


def same_study(old: Study, new: Study) -> bool:
    """Whether two studies have the same members at the same places, whatever their words."""
    before, after = _meanings(old, new)
    return list(old.axes) == list(new.axes) and before == after


def _meaning(study: Study) -> dict[str, Any]:
    said = {name: value for name, value in study.resolved().items() if name not in WORDS}
    return said | {"parts": digests(said.get("parts", ()))}


def _meanings(old: Study, new: Study) -> tuple[dict[str, Any], dict[str, Any]]:
    """What two studies mean; a scale that only one says of an axis is no difference of members."""
    before, after = _meaning(old), _meaning(new)
    for name in before["axes"].keys() & after["axes"].keys():
        one, other = before["axes"][name], after["axes"][name]
        if ("scale" in one) != ("scale" in other):
            one.pop("scale", None)
            other.pop("scale", None)
    return before, after


def scales(study: Study) -> dict[str, str]:
    """The scales that a study says of its axes."""
    return {name: axis.scale for name, axis in study.axes.items() if axis.scale is not None}


@told()
def with_scales_of(old: Study, new: Study) -> Study:
    """A study with the scales of another's axes where it says none."""
    missing = {name: scale for name, scale in scales(old).items() if name in new.axes and new.axes[name].scale is None}
    if not missing:
        return new
    axes = {name: axis.model_copy(update={"scale": missing.get(name, axis.scale)}) for name, axis in new.axes.items()}
    return new.replace(axes=axes)


@told()
def in_order_of(old: Study, new: Study) -> Study:
    """A study with its axes in the order of another's, where they have the same: it says the same members."""
    if list(old.axes) == list(new.axes) or set(old.axes) != set(new.axes):
        return new
    return new.replace(axes={name: new.axes[name] for name in old.axes})


@told()
def obstacles(old: Study, new: Study) -> list[str]:
    """Why a study is no extension of another: one line a field.

    None where it only adds seeds or axis values, or has them in another order.
    """
    changed = difference(old, new)
    if list(old.axes) == list(new.axes) and new.seeds >= old.seeds:
        kept = {name: axis.values for name, axis in old.axes.items()}
        try:
            same = new.only(**kept).replace(seeds=old.seeds)
        except StudyError:
            return changed
        if same_study(old, same):
            # The same members; they must be recorded at the same steps and have the same stages, too.
            if (old.record_steps, old.stage_names) == (new.record_steps, new.stage_names):
                return []
            changed.append(
                f"records and stages, which follow from the values: {len(old.record_steps)} records up to step "
                f"{max(old.record_steps, default=0)} there, {len(new.record_steps)} up to "
                f"{max(new.record_steps, default=0)} here"
            )
    return changed


def difference(old: Study, new: Study) -> list[str]:
    """One line a field in which two studies differ."""

    def flat(prefix: str, value: object) -> Iterator[tuple[str, object]]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from flat(f"{prefix}.{key}" if prefix else str(key), inner)
        else:
            yield prefix, value

    before, after = (dict(flat("", meaning)) for meaning in _meanings(old, new))
    names = [*before, *(n for n in after if n not in before)]
    return [
        f"{n}: {before.get(n, 'absent')} there, {after.get(n, 'absent')} here"
        for n in names
        if before.get(n) != after.get(n)
    ]
