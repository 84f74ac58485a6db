"""The weight decay λ that a member had: at its last step, and at every record, from its protocol and stage ends."""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ensemble import Stage

from .members import axes, cells, standard


def final_decay(ds: xr.Dataset) -> xr.DataArray:
    """λ of every member's last step, from the study's protocol and the steps at which its stages ended."""
    ds = standard(ds)
    dims = (*axes(ds), "seed")
    ends = ds["stage_end_step"].transpose(*dims, "stage").values
    used = np.zeros(ends.shape[:-1])
    for place, cell in np.ndenumerate(cells(ds)):
        stages = cell.stages.stages
        at = ends[place][:, _columns(ds, stages)]
        ended = np.maximum((at >= 0).sum(axis=1) - 1, 0)
        for s, stage in enumerate(stages):
            mine = ended == s
            begin = at[mine, s - 1] if s else 0
            used[(*place, mine)] = _decay(stage, np.maximum(at[mine, s] - begin - 1, 0))
    coords = {name: ds[name] for name in dims if name in ds.coords}
    return xr.DataArray(used, coords, dims, attrs={"units": "1", "long_name": "λ of the last step"})


def decay_history(ds: xr.Dataset) -> xr.DataArray:
    """λ of the step that follows each record, which is that of the record's `risk`; from the stop on, of the last step.

    **Returns:** over axes, seed and `record`.
    """
    ds = standard(ds)
    dims = (*axes(ds), "seed")
    ends = ds["stage_end_step"].transpose(*dims, "stage").values
    stop = ds["stop_step"].transpose(*dims).values
    steps = ds["step"].values
    used = np.repeat(final_decay(ds).values[..., None], len(steps), axis=-1)
    for place, cell in np.ndenumerate(cells(ds)):
        stages = cell.stages.stages
        at = ends[place][:, _columns(ds, stages)]
        for s, stage in enumerate(stages):
            begin = at[:, s - 1] if s else np.zeros(len(at), int)
            end = np.where(at[:, s] >= 0, at[:, s], stop[place])
            seed, record = np.nonzero((steps >= begin[:, None]) & (steps < end[:, None]) & (begin[:, None] >= 0))
            used[place][seed, record] = _decay(stage, steps[record] - begin[seed])
    coords = {name: ds[name] for name in (*dims, "step") if name in ds.coords}
    said = {"units": "1", "long_name": "λ of the step after the record"}
    return xr.DataArray(used, coords, (*dims, "record"), attrs=said)


def _columns(ds: xr.Dataset, stages: tuple[Stage, ...]) -> list[int]:
    names = ds["stage"].values.tolist()
    return [names.index(stage.name) for stage in stages]


def _decay(stage: Stage, time: np.ndarray) -> np.ndarray:
    """λ at steps counted from the stage's begin."""
    schedule = stage.weight_decay_schedule
    return stage.weight_decay * (
        np.ones(len(time)) if schedule is None else np.asarray(jax.vmap(schedule)(jnp.asarray(time)))
    )
