"""The weight decay λ that a member had: at its last step, and at every record, as the dataset says it."""

import xarray as xr


def final_decay(ds: xr.Dataset) -> xr.DataArray:
    """λ of every member's last step.

    **Raises:** `ValueError` for a dataset of before λ was stored.
    """
    return _stored(ds, "applied_decay")


def decay_history(ds: xr.Dataset) -> xr.DataArray:
    """λ of the step that follows each record, which is that of the record's `risk`; from the stop on, of the last step.

    **Returns:** over axes, seed and `record`.

    **Raises:** `ValueError` for a dataset of before λ was stored, or without records.
    """
    return _stored(ds, "applied_decay_history")


def _stored(ds: xr.Dataset, name: str) -> xr.DataArray:
    if name not in ds:
        raise ValueError(
            f"ds: got a dataset without {name} (schema version {ds.attrs.get('schema_version', 'unknown')}): it was written before λ was "
            "stored, or without records; run the study again into another directory"
        )
    return ds[name].transpose(..., *(d for d in ds["status"].dims), *(d for d in ds[name].dims if d not in ds["status"].dims))
