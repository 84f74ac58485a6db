"""Alignment: how close student neurons are to teacher directions, along the run and at stage ends."""

import xarray as xr

from .members import below as is_below
from .members import finished, history, probe, standard
from .statistics import quantiles, share


def recovered(ds: xr.Dataset, below: float = 0.02) -> xr.Dataset:
    """The share of seeds whose largest active angle ends below `below` radians, with Wilson intervals."""
    return share(is_below(ds, "max_angle", below), among=finished(ds))


def trajectory(ds: xr.Dataset, measure: str, q: tuple[float, ...] = (0.1, 0.5, 0.9)) -> xr.Dataset:
    """Quantiles over seeds of a probe at every record; coordinate `step`.

    **Raises:** `ValueError` where no history of the probe was recorded.
    """
    return quantiles(history(ds, measure), q, finished(ds))


def by_stage(ds: xr.Dataset, measure: str, q: tuple[float, ...] = (0.1, 0.5, 0.9)) -> xr.Dataset:
    """Quantiles over seeds of a probe at the end of every stage; members that never ended it do not count."""
    probe(ds, measure)
    ds = standard(ds)
    return quantiles(ds[f"{measure}_stage"], q, (ds["stage_end_step"] >= 0) & finished(ds))
