"""Differences to one value of an axis, seed by seed: what seeds have in common cancels."""

from typing import Any

import numpy as np
import xarray as xr

from ..members import like
from ..statistics import LEVEL, over_seeds, quantiles, require_level, wilson


def paired(
    values: xr.DataArray, along: str, against: Any, *, among: xr.DataArray | None = None, level: float = LEVEL
) -> xr.Dataset:
    """How much larger a measure is than at one value of an axis, over the seeds that both cells have.

        paired(robust_loss(ds, [1.0])["robust_loss"], "training", "halving")

    **Arguments:** `values` of members, over axes, `seed` and what else a result has; `along`: an axis, and `against`:
    its value that the others are compared with; `among`: which members count, by default all whose value is finite,
    and never others.

    **Returns:** over the dimensions of the values without `seed`, and `along` without `against`: `value`, `low`,
    `high`: the median over pairs of the difference to the member of the same seed, with an order-statistic interval;
    `seeds`: how many pairs; `positive`, the share of pairs above 0, with Wilson's `positive_low`, `positive_high`.

    **Raises:** `ValueError` for an axis or a value of it that is not there, and for an axis of one value.
    """
    require_level(level)
    values = over_seeds(values)
    names = [str(name) for name in values.dims if name != "seed"]
    if along not in names:
        there = ", ".join(names) or "none"
        raise ValueError(f"along: got {along!r}, which is no axis; the axes are {there}{like(along, names)}")
    known = values[along].values.tolist()
    if against not in known:
        raise ValueError(f"against: got {against!r}, which is no value of {along!r}; its values are {known}")
    if len(known) < 2:
        raise ValueError(f"against: got {against!r}, the one value of {along!r}; compare it with another one")
    counts = np.isfinite(values) if among is None else np.isfinite(values) & over_seeds(among)
    values = values.where(counts)
    differences = values.drop_sel({along: against}) - values.sel({along: against}, drop=True)
    attributes = {"units": values.attrs.get("units", "1"), "long_name": f"difference to {along} = {against}"}
    made = summarised(differences.assign_attrs(attributes), level)
    made.attrs = {"along": along, "against": against, "level": level}
    return made


def summarised(differences: xr.DataArray, level: float) -> xr.Dataset:
    """Medians over seeds and shares above 0 of differences, NaN of pairs that are none; as `paired` returns them."""
    known = differences.notnull()
    made = quantiles(differences, (0.5,), known, level).isel(quantile=0, drop=True)
    above = ((differences > 0) & known).sum("seed")
    low, high = wilson(above.values, made["seeds"].values, level)
    made["positive"] = above / made["seeds"].where(made["seeds"] > 0)
    made["positive_low"], made["positive_high"] = (above.copy(data=end) for end in (low, high))
    words = {"positive": "share of seeds above 0"}
    words |= {f"positive_{end}": f"its {level:.0%} Wilson interval, {end} end" for end in ("low", "high")}
    for name, said in words.items():
        made[name].attrs = {"units": "1", "long_name": said}
    return made
