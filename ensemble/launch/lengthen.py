"""More steps for the members of a finished run, in another directory."""

from collections.abc import Callable, Iterator
from pathlib import Path

import xarray as xr

from ..plan import groups
from ..store import (
    FINISHED,
    STATUS,
    Results,
    RunDirectory,
    Survey,
    end_is_all,
    flights_of_ended,
    open_box,
)
from ..study import Study, StudyError, longer
from .local import SECONDS_BETWEEN_KEEPS, run
from .report import Report
from .session import opened


def lengthen(
    path: str | Path,
    more_steps: int,
    out: str | Path,
    *,
    on_progress: Callable[[Report], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    overwrite: bool = False,
    keep_every: float = SECONDS_BETWEEN_KEEPS,
    engine: str = "auto",
) -> xr.Dataset:
    """Gives the members of a finished run more steps: those that took all of theirs go on from where they ended.

    The run in `out` is an ordinary one of the study with the larger cap, to the bit of one that was run at once:
    members that converged or diverged are taken over as they are. It can be stopped and gone on with by the same call.
    The run at `path` stays as it is.

    **Arguments:**

    - `path`: a finished run directory, with stored weights.
    - `more_steps`: by how much the cap of every member is raised: `max_steps` where it is what ends members, else the
      steps of the protocol's last stage, or its epochs. Schedules go on as they are. Records of before stay; log-spaced
      ones go on at the distance of the last two.
    - `out`: another run directory.
    - `on_progress`, `say`, `overwrite`, `keep_every`, `engine`: as for `run`.

    **Returns:** the dataset, opened lazily from `out`.

    **Raises:** `StudyError` where the run is not finished; where a member's weights are not all that it goes on with
    (an update with a memory, a penalty of where the stage began, weights that were not stored); where the protocol has
    no number of steps to raise (an axis or a time sets it), or `out` holds another study.
    """
    path, out = Path(path), Path(out)
    if not RunDirectory.exists(path):
        raise StudyError(f"study: {path} is no run directory; give one that is finished, as the run wrote it")
    if out.resolve() == path.resolve():
        raise StudyError(f"out: got {out}, the run that is to have more steps, which stays as it is; take another one")
    source = RunDirectory.open(path)
    study = longer(source.study, more_steps)
    for group in groups(study):
        if reason := end_is_all(group, study):
            steps = max(study.member_cap(point.cell) for point in study.points)
            raise StudyError(
                f"more_steps: got {more_steps:,}, but members of {path} cannot go on from their ends: {reason}; run "
                f"the study with {steps:,} steps into another directory: its first steps have the same bits"
            )
    if overwrite or not RunDirectory.exists(out):
        _take_over(source, study, out, overwrite, say)
    return run(study, out, on_progress=on_progress, say=say, keep_every=keep_every, engine=engine)


def _take_over(source: RunDirectory, study: Study, out: Path, overwrite: bool, say: Callable[[str], None]) -> None:
    """Makes the directory of the longer study, of all that is known of its members."""
    found = source.survey()
    if missing := len(source.boxes.keys() - found.stored.keys()):
        raise StudyError(
            f"study: {source.path} is not finished: {missing} of its {len(source.boxes)} shards are missing; finish it "
            "with the command that began it"
        )
    going_on = anew = 0
    with opened(out, study, overwrite, say, list(source.boxes.values())) as (directory, _):
        directory.sessions = [*source.sessions]
        directory.save()
        facts = _last(source)
        all_groups = groups(study)
        for number, results in _prolonged(source, found, directory):
            if (results.status >= FINISHED).all():
                directory.write_shard(number, results, facts)
                continue
            directory.write_partial({number: results}, [], facts)
            flights = [flights_of_ended(study, group, results) for group in all_groups]
            ended = sum(len(one.members) for one in flights if one is not None)
            going_on, anew = going_on + ended, anew + int((results.status == STATUS["running"]).sum()) - ended
    say(f"{out}: {going_on:,} members of {source.path} go on from where they ended")
    if anew:
        say(f"{out}: {anew:,} ended before their last stage, and are taken anew from the start")


def _last(source: RunDirectory) -> dict[str, str | int | float]:
    """What the source's last session says of versions and machine."""
    work = {"wall_time", "member_steps", "lane_steps"}
    return {k: v for k, v in source.sessions[-1].items() if k not in work} if source.sessions else {}


def _prolonged(source: RunDirectory, found: Survey, directory: RunDirectory) -> Iterator[tuple[int, Results]]:
    """The boxes of a directory, which are those of the source in their order, or parts of them."""
    parts = iter(directory.boxes.items())
    for number, box in source.boxes.items():
        old = Results(source.study, box)
        with open_box(source, found, number) as ds:
            old.adopt(ds)
        left = box.size
        while left:
            mine, part = next(parts)
            results = Results(directory.study, part)
            results.prolong(old)
            left -= part.size
            yield mine, results
