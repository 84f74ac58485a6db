"""The time of records: what makes flow, descent and schedules comparable."""

import jax.numpy as jnp
import numpy as np
import xarray as xr

from ensemble.dynamics.stages import Stage

from ..members import axes, standard
from ..problems import cells


def record_times(ds: xr.Dataset) -> xr.DataArray:
    """The time Σ η of every record of every member: over the steps that it had taken there.

    Of gradient flow it is the time of the flow. Stages that a rule ended count the steps that they took; updates that
    take no step take no time; after its end a member's time stands still.

    **Arguments:** a dataset with records.

    **Returns:** over axes, `seed` and `record`; a coordinate for `ds.assign_coords(time=…)`.

    **Raises:** `ValueError` for a dataset without records.
    """
    ds = standard(ds)
    if "step" not in ds or "record" not in ds["step"].dims:
        raise ValueError("step: got a dataset without records; run the study with `records` above 0")
    dims = (*axes(ds), "seed", "record")
    steps = ds["step"].values.astype(np.int64)
    ends = ds["stage_end_step"].transpose(*axes(ds), "seed", "stage")
    times = np.zeros((*ends.shape[:-1], len(steps)))
    for place, cell in np.ndenumerate(cells(ds)):
        begin = np.zeros(ends.shape[-2], np.int64)
        for stage in cell.stages.stages:
            if not stage.takes_steps:
                continue
            ended = ends[place].sel(stage=stage.name).values.astype(np.int64)
            # One that it never ended took steps as far as records go, and later ones none.
            end = np.where(ended >= 0, ended, begin + stage.length)
            total = np.concatenate([[0.0], np.cumsum(_step_sizes(stage))])
            taken = np.clip(steps[None, :], begin[:, None], end[:, None]) - begin[:, None]
            times[place] += total[taken]
            begin = end
    coords = {name: ds[name] for name in (*axes(ds), "seed", "step") if name in ds.coords}
    return xr.DataArray(times, coords, dims, "time", {"units": "1", "long_name": "time Σ η at the record"})


def _step_sizes(stage: Stage) -> np.ndarray:
    """η of every step of a stage."""
    if stage.step_size_schedule is None:
        return np.full(stage.length, stage.step_size)
    return stage.step_size * np.asarray(stage.step_size_schedule(jnp.arange(stage.length)))
