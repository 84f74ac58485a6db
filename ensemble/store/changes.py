"""What differs between two studies, and whether one extends the other."""

from collections.abc import Iterator

from ..study import Study
from ..study.errors import StudyError


def obstacles(old: Study, new: Study) -> list[str]:
    """Why a study is no extension of another: one line a field; none where it only adds seeds or axis values."""
    changed = difference(old, new)
    if list(old.axes) == list(new.axes) and new.seeds >= old.seeds:
        kept = {name: axis.values for name, axis in old.axes.items()}
        try:
            same = new.only(**kept).replace(seeds=old.seeds)
        except StudyError:
            return changed
        if same.hash == old.hash:
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

    before, after = dict(flat("", old.resolved())), dict(flat("", new.resolved()))
    names = [*before, *(n for n in after if n not in before)]
    return [
        f"{n}: {before.get(n, 'absent')} there, {after.get(n, 'absent')} here"
        for n in names
        if before.get(n) != after.get(n)
    ]
