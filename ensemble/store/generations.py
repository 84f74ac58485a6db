"""Generations: the studies that a directory was asked for one after the other, and the boxes that each added."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..study import Study
from ..study.identity import identity_before
from .boxes import Box
from .changes import obstacles
from .manifest import GenerationEntry, Manifest


class Generation(NamedTuple):
    """A study that a directory was asked for, and the boxes that it added to those before it."""

    study: Study
    boxes: tuple[Box, ...]
    first: int
    """The number of the first of these boxes."""
    earlier: tuple[str, ...] = ()
    """Hashes that files of this very study may have beside its own."""


def generations_of(manifest: Manifest) -> list[Generation]:
    """**Raises:** `ValueError` and `StudyError` where entries are of no study, or do not fit to each other."""
    found: list[Generation] = []
    first = 0
    for entry in manifest.generations:
        study = Study.stored(entry.text)
        boxes = tuple(Box.from_runs(runs, study) for runs in entry.boxes)
        earlier = {*entry.earlier_hashes, entry.study_hash, identity_before(entry.text)} - {study.hash}
        # What a checksum vouches for need not be asked again.
        if manifest.layout_version == 1 and found and (changed := obstacles(found[-1].study, study)):
            raise ValueError(f"generation {len(found)}: is no extension of the one before: {'; '.join(changed)}")
        found.append(Generation(study, boxes, first, tuple(sorted(earlier))))
        first += len(boxes)
    if manifest.layout_version > 1:
        return found
    study = found[-1].study
    moved = [b if g.study is study else b.moved(g.study, study) for g in found for b in g.boxes]
    refuse_overlaps(dict(enumerate(moved)), study)
    return found


def refuse_overlaps(boxes: Mapping[int, Box], study: Study) -> None:
    there = np.zeros(study.members, bool)
    for box in boxes.values():
        members = box.members(study)
        if there[members].any():
            raise ValueError("boxes: got members that the directory has already; ask only for new ones")
        there[members] = True


def entries_of(generations: Sequence[Generation]) -> tuple[GenerationEntry, ...]:
    """What the manifest says of them."""
    return tuple(
        GenerationEntry(
            study=json.loads(g.study.text),
            study_hash=g.study.hash,
            earlier_hashes=g.earlier,
            boxes=tuple(tuple(tuple((a, b) for a, b in runs) for runs in box.runs()) for box in g.boxes),
        )
        for g in generations
    )
