"""Which members count, and what a probe of them is: what every reduction asks first."""

from collections.abc import Iterable
from difflib import get_close_matches

import xarray as xr

from ensemble import PROBES, STATUS

_INNER = ("record", "stage", "neuron", "teacher_neuron", "input")
PARTS = ("mode", "layer", "layer_pair", "hidden_layer", "teacher_hidden_layer", "layer_mode")
"""Dimensions of probes of a network's parts: `at` chooses one of them by its number, from 0."""
_WHOLE = {"status": STATUS["not_run"], "stop_step": -1, "stage_end_step": -1}
"""Whole numbers of a member, and what they are where there is none."""


def standard(ds: xr.Dataset) -> xr.Dataset:
    """The dataset in the form that every reduction expects, whatever `sel`, `isel`, `concat` or `where` made of it.

    One seed is a dimension of one, behind the axes; a member that `where` left out is `not_run`; an axis that `concat`
    made has the units 1 and its own name.

    **Raises:** `ValueError` for what is no dataset of a study, and where members are spread over records, stages or
    neurons, as `ds.where(ds["step"] > 10)` does.
    """
    if "status" not in ds:
        raise ValueError("status: got a dataset without it; pass one of ensemble.run or ensemble.open_dataset")
    # `variables` alone: every reduction comes here, and an array of its own with all coordinates takes far longer.
    known = ds.variables
    spread = [dim for dim in known["status"].dims if dim in _INNER]
    if spread:
        raise ValueError(
            f"status: got members spread over {spread[0]!r}, as `where` does with a condition on it; choose along "
            f"{spread[0]!r} with isel"
        )
    if "seed" not in known["status"].dims:
        ds = ds.expand_dims("seed").transpose(*axes(ds), "seed", ...)
        known = ds.variables
    masked = {
        name: ds[name].fillna(fill).astype(int).assign_attrs(ds[name].attrs)
        for name, fill in _WHOLE.items()
        if name in known and known[name].dtype.kind == "f"
    }
    bare = {
        name: ds[name].assign_attrs({"units": "1", "long_name": name} | ds[name].attrs)
        for name in axes(ds)
        if name not in known or not {"units", "long_name"} <= set(known[name].attrs)
    }
    return ds.assign(masked).assign_coords(bare) if masked or bare else ds


def finished(ds: xr.Dataset) -> xr.DataArray:
    """Members with a result: converged, at their last step, or diverged."""
    return standard(ds)["status"] >= STATUS["converged"]


def sound(ds: xr.Dataset) -> xr.DataArray:
    """Members with a result that did not diverge."""
    status = standard(ds)["status"]
    return (status >= STATUS["converged"]) & (status != STATUS["diverged"])


def probe(ds: xr.Dataset, name: str) -> xr.DataArray:
    """The final values of a probe.

    **Raises:** `ValueError` that lists the probes there are.
    """
    if name not in ds:
        there = [p for p in PROBES if p in ds]
        way = f'; run the study with `probes = ["{name}", …]` to have it' if name in PROBES else like(name, there)
        raise ValueError(f"measure: got {name!r}, which this dataset does not hold; it has {', '.join(there)}{way}")
    return standard(ds)[name]


def history(ds: xr.Dataset, name: str) -> xr.DataArray:
    """The values of a probe at records.

    **Raises:** `ValueError` where the study kept none.
    """
    probe(ds, name)
    if f"{name}_history" not in ds:
        raise ValueError(
            f"measure: got {name!r}, of which no history was recorded; run the study with `records` above 0"
        )
    if "record" not in ds[f"{name}_history"].dims:
        raise ValueError(f"record: got one record of {name!r}; a history needs the dimension: isel(record=[…])")
    return standard(ds)[f"{name}_history"]


def applied_decay(ds: xr.Dataset, *, history: bool = False) -> xr.DataArray:
    """λ of every member's last step, or with `history` that of the step after each record, which is that of its `risk`.

    **Raises:** `ValueError` for a dataset of before λ was stored, and for a history where there are no records.
    """
    name = "applied_decay_history" if history else "applied_decay"
    if name not in ds:
        version = ds.attrs.get("schema_version", "unknown")
        raise ValueError(
            f"ds: got a dataset without {name} (schema version {version}): it was written before λ was stored, or "
            "without records; run the study again into another directory"
        )
    return standard(ds)[name]


def below(ds: xr.Dataset, measure: str, below: float) -> xr.DataArray:
    """Whether a member's final measure is < `below`; a diverged member never is.

    A measure of every teacher neuron or neuron must be below for all of them.

    **Raises:** `ValueError` for a measure that is not there, and a threshold that is not positive.
    """
    require_threshold(below)
    ds = standard(ds)
    inside = one_part(probe(ds, measure)) < below
    for dim in ("teacher_neuron", "neuron"):
        if dim in inside.dims:
            inside = inside.all(dim)
    return inside & (ds["status"] != STATUS["diverged"])


def one_part(values: xr.DataArray) -> xr.DataArray:
    """The values, as they are.

    **Raises:** `ValueError` for a probe of every layer, or of other parts, of which none was chosen.
    """
    for dim in PARTS:
        if dim in values.dims:
            raise ValueError(
                f"measure: got {values.name!r}, which has a value for each of {values.sizes[dim]} in {dim!r}; choose "
                f"one, with `isel({dim}=0)`"
            )
    return values


def largest(values: xr.DataArray) -> xr.DataArray:
    """A value a member: of a probe of every teacher neuron or neuron, the largest of them."""
    many = [dim for dim in ("teacher_neuron", "neuron") if dim in one_part(values).dims]
    return values.max(many, keep_attrs=True) if many else values


def axes(ds: xr.Dataset) -> tuple[str, ...]:
    """The dataset's grid axes."""
    return tuple(str(d) for d in ds.variables["status"].dims if d != "seed")


def require_threshold(below: float) -> None:
    """**Raises:** `ValueError` for a threshold that is not positive: no measure is below it but by rounding."""
    if not below > 0:
        raise ValueError(f"below: got {below}; measures are sizes, give a positive threshold")


def like(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the known one that is most like it, if any is."""
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def with_units(value: float, units: str) -> str:
    """A number in words."""
    return f"{value:g}{'' if units == '1' else f' {units}'}"
