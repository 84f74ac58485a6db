"""Which members count, what a probe of them is, and what the axes are: what every reduction asks first."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import jax
import numpy as np
import xarray as xr

from ensemble import PROBES, STATUS, Study, TwoLayer
from ensemble.study import Cell

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
    spread = [dim for dim in ds["status"].dims if dim in _INNER]
    if spread:
        raise ValueError(
            f"status: got members spread over {spread[0]!r}, as `where` does with a condition on it; choose along "
            f"{spread[0]!r} with isel"
        )
    if "seed" not in ds["status"].dims:
        ds = ds.expand_dims("seed").transpose(*axes(ds), "seed", ...)
    masked = {
        name: ds[name].fillna(fill).astype(int).assign_attrs(ds[name].attrs)
        for name, fill in _WHOLE.items()
        if name in ds and ds[name].dtype.kind == "f"
    }
    bare = {
        name: ds[name].assign_attrs({"units": "1", "long_name": name} | ds[name].attrs)
        for name in axes(ds)
        if not {"units", "long_name"} <= set(ds[name].attrs)
    }
    return ds.assign(masked).assign_coords(bare) if masked or bare else ds


def finished(ds: xr.Dataset) -> xr.DataArray:
    """Members with a result: converged, at their last step, or diverged."""
    return standard(ds)["status"] >= STATUS["converged"]


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
    return tuple(str(d) for d in ds["status"].dims if d != "seed")


def require_threshold(below: float) -> None:
    """**Raises:** `ValueError` for a threshold that is not positive: no measure is below it but by rounding."""
    if not below > 0:
        raise ValueError(f"below: got {below}; measures are sizes, give a positive threshold")


def like(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the known one that is most like it, if any is."""
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def require_axis(ds: xr.Dataset, argument: str, axis: str) -> None:
    """**Raises:** `ValueError` that lists the axes where `axis`, the value of an argument, is none."""
    if axis not in axes(ds):
        there = ", ".join(axes(ds)) or "none"
        raise ValueError(f"{argument}: got {axis!r}, which is no axis; the axes are {there}{like(axis, axes(ds))}")


def with_units(value: float, units: str) -> str:
    """A number in words."""
    return f"{value:g}{'' if units == '1' else f' {units}'}"


def cells(ds: xr.Dataset) -> np.ndarray:
    """The study's cell of every grid point, as an array of objects over the axes.

    An axis that was selected away must have left its coordinate, as `ds.sel(axis=value)` does.

    **Raises:** `ValueError` where it did not, and for an axis that the study does not have: `concat` keeps the study of
    its first dataset alone, which says nothing of the others.
    """
    study = Study.from_json(ds.attrs["study"])
    for name in axes(ds):
        if name not in study.axes:
            raise ValueError(
                f"axes: got {name!r}, which the dataset's study does not have, so that nobody knows how its members "
                f"were made; take one of the datasets that were joined, with sel({name}=…)"
            )
    for name in study.axes:
        if name not in ds.coords:
            raise ValueError(f"axes: got no coordinate {name!r}; select it with sel or isel, and without drop=True")
    known = {tuple(point.labels.values()): point.cell for point in study.points}
    found = np.empty([ds.sizes[name] for name in axes(ds)], object)
    values = {name: np.atleast_1d(ds[name].values).tolist() for name in study.axes}
    for place in np.ndindex(*found.shape):
        at = dict(zip(axes(ds), place, strict=True))
        found[place] = known[tuple(values[name][at.get(name, 0)] for name in study.axes)]
    return found


def require_penalty(found: np.ndarray, what: str, served: tuple[str, ...] = ("l2", "path_norm")) -> None:
    """**Raises:** `ValueError` where cells were run under a penalty that `what` does not serve."""
    for penalty in (stage.penalty for cell in found.flat for stage in cell.stages.stages):
        if penalty.kind not in served:
            reason = "" if penalty.total_variation else f" ({penalty.kind} {penalty.over_measures})"
            raise ValueError(
                f"penalty: got {penalty.kind!r}; {what} serve {' and '.join(served)} alone{reason}: select other cells"
            )


def require_population(found: np.ndarray, what: str) -> None:
    """**Raises:** `ValueError` where cells were run on samples or under other inputs: `what` are those of N(0, I)."""
    for data in (cell.data for cell in found.flat if not of_population(cell)):
        trained = "members trained on samples" if data.is_sampled else f"{data.inputs.kind} inputs"
        raise ValueError(
            f"data: got {trained}; {what} are known of the population risk of N(0, I) alone: select other cells"
        )


def of_population(cell: Cell) -> bool:
    """Whether members are trained on the population risk of N(0, I)."""
    return cell.data is None or not (cell.data.is_sampled or cell.data.inputs.kind != "gaussian")


def all_plain(found: np.ndarray) -> bool:
    """Whether the students of all cells are networks as their weights say: none with an output scale, recentred or
    linearised."""
    return all(getattr(cell.student, "is_plain", True) for cell in found.flat)


def require_plain(found: np.ndarray, what: str) -> None:
    """**Raises:** `ValueError` where cells have students whose function is not that of their weights alone."""
    if not all_plain(found):
        raise ValueError(
            f"student: got output_scale, recentred or linearised; {what} are of the network itself: select other cells"
        )


def shared_teacher(cell: Cell) -> TwoLayer | None:
    """The teacher that all seeds of a cell have; None where seeds draw their own."""
    if cell.teacher.known() is None or getattr(cell.teacher, "output_weights", None) == "random":
        return None
    return cell.teacher.draw(jax.random.key(0), cell.teacher.plane())


def select(ds: xr.Dataset, at: dict[str, object]) -> xr.Dataset:
    """The dataset at some values of some axes.

    **Raises:** `ValueError` for an axis or a value that is not there.
    """
    ds = standard(ds)
    for name, value in at.items():
        if name in PARTS and name in ds.dims:
            ds = ds.isel({name: _part(name, value, ds.sizes[name])})
            continue
        if name not in axes(ds):
            there = ", ".join(axes(ds)) or "none"
            raise ValueError(f"at: got the axis {name!r}; the axes are {there}{like(name, axes(ds))}")
        values = ds[name].values.tolist()
        matches = [v for v in values if v == value or str(v) == str(value) or _as_number(value) == v]
        if not matches:
            raise ValueError(f"at: got {name} = {value!r}; its values are {values}")
        ds = ds.sel({name: matches[0]})
    return ds


def _part(name: str, value: object, count: int) -> int:
    """The place of a layer, or another part; `ValueError` for a number that is none."""
    number = _as_number(value)
    if number is None or number != int(number) or not 0 <= number < count:
        raise ValueError(f"at: got {name} = {value!r}; there are {count}, from 0 to {count - 1}")
    return int(number)


def only_axes(
    ds: xr.Dataset, x: str, y: str | None, at: dict[str, object] | None = None, over: str | None = None
) -> xr.Dataset:
    """The dataset with no axes but `x`, perhaps `y`, and perhaps `over`; any other at the value that `at` gives.

    An axis of one value needs none.

    **Raises:** `ValueError` for an axis or a value that is not there, one axis named twice, an axis left open, and
    `over` without `y`.
    """
    if y is None and over is not None:
        raise ValueError(f"over: got {over!r} without y; small multiples are maps over x and y")
    named = {name: axis for name, axis in (("x", x), ("y", y), ("over", over)) if axis is not None}
    for name, axis in named.items():
        require_axis(ds, name, axis)
    for name in ("y", "over"):
        if name in named and list(named.values()).count(named[name]) > 1:
            raise ValueError(f"{name}: got {named[name]!r} for two of {', '.join(named)}; take different ones")
    ds = select(ds, at or {})
    for axis in axes(ds):
        if axis not in named.values():
            if ds.sizes[axis] == 1:
                ds = ds.isel({axis: 0})
                continue
            values = ds[axis].values.tolist()
            raise ValueError(f"at: the axis {axis!r} is open; choose one of its values {values}")
    return ds


def open_axis(ds: xr.Dataset, along: str | None = None) -> str | None:
    """The one axis with more than one value: `along`, or the only one there is.

    **Raises:** `ValueError` for an axis that is not there, and where another one is open.
    """
    if along is not None:
        require_axis(ds, "along", along)
    rest = [name for name in axes(ds) if name != along and ds.sizes[name] > 1]
    if along is None and len(rest) == 1:
        return rest[0]
    if rest:
        raise ValueError(f"at: the axis {rest[0]!r} is open; choose one of its values {ds[rest[0]].values.tolist()}")
    return along


def one_member(ds: xr.Dataset) -> tuple[xr.Dataset, dict[str, Any]]:
    """(dataset, labels) of the one member that is left; its first finished seed where seeds are open.

    **Raises:** `ValueError` where weights were not stored, an axis is open, or no member is finished.
    """
    if "W" not in ds:
        raise ValueError("W: a picture of neurons needs the weights; run the study with `store_weights = true`")
    if "seed" not in ds.coords:
        raise ValueError("seed: got a member without its label; select it with sel or isel, and without drop=True")
    ds = standard(ds)
    name = open_axis(ds)
    if name is not None:
        raise ValueError(f"at: the axis {name!r} is open; choose one of its values {ds[name].values.tolist()}")
    ds = ds.isel({name: 0 for name in axes(ds)})
    done = np.flatnonzero(finished(ds).values)
    if not len(done):
        raise ValueError("seed: got no finished member in this cell; finish the run first")
    ds = ds.isel(seed=int(done[0]))
    names = Study.from_json(ds.attrs["study"]).axes
    # Neurons beyond those of the cell are zeros.
    sizes = {"neuron": "student_neurons", "teacher_neuron": "teacher_neurons"}
    own = {dim: slice(0, int(ds[size])) for dim, size in sizes.items() if size in ds}
    return ds.isel(own).load(), {**{name: ds[name].item() for name in names}, "seed": int(ds["seed"].item())}


def is_log_spaced(values: np.ndarray) -> bool:
    """Whether the positive values span a factor ≥ 8 in steps that are more even in the logarithm."""
    positive = np.sort(values[values > 0])
    if len(positive) < 3 or np.any(values < 0) or positive[-1] < 8 * positive[0]:
        return False
    ratios, differences = np.diff(np.log(positive)), np.diff(positive)
    return float(ratios.std() / ratios.mean()) < float(differences.std() / differences.mean())


def _as_number(value: object) -> float | None:
    try:
        return float(value)  # pyright: ignore[reportArgumentType] (anything else is refused by the except)
    except (TypeError, ValueError):
        return None
