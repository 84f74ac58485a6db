"""Transfer between two tasks: what the first gave to the second, and what the second took, against fresh starts."""

from typing import Any

import numpy as np
import xarray as xr

from ensemble.problem.teachers import TwoTasks

from ..members import axes, sound, standard
from ..problems import cells
from ..selection import require_axis
from ..statistics import LEVEL, require_level
from .paired import summarised

GAINS = {
    "forward_transfer": "loss against the second task of the fresh start minus that after the first task",
    "steps_saved": "steps that the fresh start takes for the second task minus those after the first task",
    "forgetting": "growth of the loss against the first task since it was learned",
    "retained": "loss against the first task of the fresh start minus that after both tasks",
    "features_found": "least loss against the second task over output weights: the fresh start's minus that after both",
    "features_lost": "growth of the least loss against the first task over output weights since it was learned",
}
"""What is gained or lost, in words; the last two where a study measures `first_task_readout` and `second_task_readout`.
"""
_LOSSES = ("first_task_loss", "second_task_loss")
_READOUTS = ("first_task_readout", "second_task_readout")


def transfer(ds: xr.Dataset, along: str | None = None, fresh: Any = None, *, level: float = LEVEL) -> xr.Dataset:
    """What learning a first task changed of a second one, and the second of the first, paired with fresh starts.

    A seed's start, teacher and samples are the same whatever comes before the second task, so that its differences are
    paired: what seeds have in common cancels.

    **Arguments:** `ds`: of a study of the teacher `two_tasks` that measures `first_task_loss` and `second_task_loss`;
    `along`: the axis of what comes before the second task, and `fresh`: its value at which nothing does; by default the
    one axis, and the one value of it, at which no cell learns the first task. The second
    task is each cell's last stage that takes steps; the first one is learned at the end of the last stage before it
    with the first half of the teacher as its `target`.

    **Returns:** over the axes (without `fresh`), `seed` and `transfer_gain`: `transfer`, NaN where a member or its
    fresh start has no result or diverged; and over the axes and `transfer_gain`: `value`, `low`, `high`: its median
    over seeds with an order-statistic interval, `seeds`, and `positive`, the share of seeds above 0, with Wilson's
    `positive_low`, `positive_high`. The gains:

    - `forward_transfer`: the second task's loss of the fresh start minus the member's own; above 0 the first helped;
    - `steps_saved`: steps of its last stage that the fresh start took, minus the member's own: of stages that end by
      a rule; where a member did not meet it, its steps are all there were;
    - `forgetting`: the first task's loss at the end minus the one when it was learned;
    - `retained`: the first task's loss of the fresh start minus the member's own: what is kept that never was learned
      by chance;
    - `features_found`, `features_lost`: `forward_transfer` and `forgetting` of the least loss over all output weights.

    **Raises:** `ValueError` for another teacher, measures that are not there, an axis or a value that is not there,
    where no other value is left to compare, and where `along` or `fresh` is left out and the study does not say it.
    """
    require_level(level)
    ds = standard(ds)
    if along is not None:
        require_axis(ds, "along", along)
    _require(ds)
    if along is None or fresh is None:
        along, found = _fresh_start(ds, along)
        fresh = found if fresh is None else fresh
    values = ds[along].values.tolist()
    if fresh not in values:
        raise ValueError(f"fresh: got {fresh!r}, which is no value of {along!r}; its values are {values}")
    if len(values) < 2:
        raise ValueError(f"fresh: got {fresh!r}, the one value of {along!r}; transfer is compared with another one")
    ends = _ends(ds)
    own, start = ends.drop_sel({along: fresh}), ends.sel({along: fresh}, drop=True)
    gains = {
        "forward_transfer": start["second_task_loss"] - own["second_task_loss"],
        "steps_saved": start["steps"] - own["steps"],
        "forgetting": own["first_task_loss"] - own["first_task_loss_learned"],
        "retained": start["first_task_loss"] - own["first_task_loss"],
    }
    if all(name in ends for name in _READOUTS):
        gains["features_found"] = start["second_task_readout"] - own["second_task_readout"]
        gains["features_lost"] = own["first_task_readout"] - own["first_task_readout_learned"]
    words = {"units": "1", "long_name": "what is gained or lost"}
    members = (
        xr.concat(list(gains.values()), "transfer_gain")
        .transpose(*axes(ds), "seed", "transfer_gain")
        .rename("transfer")
    )
    members = members.assign_coords(transfer_gain=("transfer_gain", list(gains), words))
    members.attrs = {"units": "1", "long_name": "difference to the fresh start of the same seed, or to before"}
    made = summarised(members, level).assign(transfer=members)
    made.attrs = {"along": along, "fresh": fresh, "level": level}
    return made


def _fresh_start(ds: xr.Dataset, along: str | None) -> tuple[str, Any]:
    """The axis with one value at which no cell learns the first task while all do at the others, and that value.

    **Raises:** `ValueError` where no axis, or more than one, is such.
    """
    names, stages = axes(ds), [str(name) for name in ds["stage"].values]
    learned = np.vectorize(lambda cell: _places(cell, stages)[0] is not None, otypes=[bool])(cells(ds))
    found = []
    for i, name in enumerate(names):
        each = np.moveaxis(learned, i, 0).reshape(ds.sizes[name], -1)
        never = ~each.any(axis=1)
        if never.sum() == 1 and each[~never].all() and along in (None, name):
            found.append((name, ds[name].values[never].tolist()[0]))
    if len(found) != 1:
        missing = "along" if along is None else "fresh"
        raise ValueError(
            f"{missing}: is missing, and the study does not say it: transfer compares with the one value of an axis at "
            f"which no first task is learned, and {'no axis has' if not found else 'several axes have'} such a value; "
            f"give along and fresh, the axes are {', '.join(names) or 'none'}"
        )
    return found[0]


def _ends(ds: xr.Dataset) -> xr.Dataset:
    """What every member has at the end and, with `_learned`, when it had learned the first task; and its last steps."""
    dims, found = (*axes(ds), "seed"), cells(ds)
    names = [str(name) for name in ds["stage"].values]
    measures = [name for name in (*_LOSSES, *_READOUTS) if f"{name}_stage" in ds]
    at_ends = {name: ds[f"{name}_stage"].transpose(*dims, "stage").values for name in measures}
    end_step = ds["stage_end_step"].transpose(*dims, "stage").values
    shape = tuple(ds.sizes[dim] for dim in dims)
    arrays = {name: np.full(shape, np.nan) for name in (*measures, *(f"{m}_learned" for m in measures), "steps")}
    for place, cell in np.ndenumerate(found):
        learned, before, last = _places(cell, names)
        for name in measures:
            arrays[name][place] = at_ends[name][place][:, last]
            if learned is not None:
                arrays[f"{name}_learned"][place] = at_ends[name][place][:, learned]
        begun = 0 if before is None else end_step[place][:, before]
        arrays["steps"][place] = end_step[place][:, last] - begun
    good = sound(ds)
    good = good.drop_vars("stage", errors="ignore").transpose(*dims).values
    coords = {name: ds[name] for name in dims if name in ds.coords}
    return xr.Dataset({name: (dims, np.where(good, x, np.nan)) for name, x in arrays.items()}, coords=coords)


def _places(cell: Any, names: list[str]) -> tuple[int | None, int | None, int]:
    """Where among the dataset's stages a cell's first task was learned, the stage before its last one stands, and its
    last one that takes steps."""
    half = cell.teacher.neurons // 2
    stages = cell.stages.stages
    last = max(i for i, stage in enumerate(stages) if stage.takes_steps)

    def of_first(stage: Any) -> bool:
        return stage.takes_steps and stage.targeted and all(neuron < half for neuron in stage.target)

    before = [i for i in range(last) if of_first(stages[i])]
    learned = names.index(stages[before[-1]].name) if before else None
    return learned, names.index(stages[last - 1].name) if last else None, names.index(stages[last].name)


def _require(ds: xr.Dataset) -> None:
    """**Raises:** `ValueError` where a dataset has no two tasks, or not both losses."""
    if not all(isinstance(cell.teacher, TwoTasks) for cell in cells(ds).flat):
        kinds = sorted({cell.teacher.kind for cell in cells(ds).flat} - {"two_tasks"})
        raise ValueError(f"teacher: got {' and '.join(kinds)}; transfer is between two tasks: take teacher two_tasks")
    for name in _LOSSES:
        if f"{name}_stage" not in ds:
            raise ValueError(f"{name}: transfer needs it; run the study with it among its `probes`")
