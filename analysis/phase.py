"""Phase diagrams: the share of seeds below a threshold over two axes."""

import xarray as xr

from .members import axes, below, finished, probe, select
from .statistics import share


def phase(
    ds: xr.Dataset, x: str, y: str, measure: str, value: float, at: dict[str, object] | None = None
) -> xr.Dataset:
    """The share of members with `measure` < `value` over the axes `x` and `y`.

    **Arguments:** a dataset of a study with these axes; any other axis needs a value in `at`. A diverged
    member is not below; an unfinished one does not count.

    **Returns:** `share`, `low`, `high`, `half_width` (95% Wilson) and `seeds`, with dimensions (y, x).

    **Raises:** `ValueError` for a measure, an axis or a value that is not there, and for an axis left open.
    """
    probe(ds, measure)
    for name, axis in (("x", x), ("y", y)):
        if axis not in axes(ds):
            raise ValueError(f"{name}: got {axis!r}, which is no axis; the axes are {', '.join(axes(ds)) or 'none'}")
    if x == y:
        raise ValueError(f"y: got {y!r} for both axes; take two different ones")
    ds = select(ds, at or {})
    for axis in axes(ds):
        if axis not in (x, y):
            values = ds[axis].values.tolist()
            raise ValueError(f"at: the axis {axis!r} is open; choose one of its values {values} with --at {axis}=…")
    result = share(below(ds, measure, value), among=finished(ds)).transpose(y, x)
    result.attrs = {
        "measure": measure,
        "below": value,
        "measure_long_name": ds[measure].attrs["long_name"],
        "measure_units": ds[measure].attrs["units"],
        "study_hash": ds.attrs["study_hash"],
        "study": ds.attrs["study"],
    }
    return result


def marginal(ds: xr.Dataset, axis: str, measure: str, value: float) -> xr.Dataset:
    """The share of members with `measure` < `value` along one axis, all other axes pooled with the seeds.

    The interval treats all members of a value of the axis as one sample; it says how well the pooled
    share is known, not how cells differ.
    """
    inside, counted = below(ds, measure, value), finished(ds)
    pooled = [*(a for a in axes(ds) if a != axis), "seed"]
    flat = {"member": pooled}
    inside, counted = (v.stack(flat).drop_vars(["member", *pooled]).rename(member="seed") for v in (inside, counted))
    return share(inside, among=counted)
