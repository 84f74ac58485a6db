"""Results as tables: a row a cell, a column a number, for pandas to write in any form."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr


def table(result: xr.Dataset, by: str | Sequence[str] = ()) -> pd.DataFrame:
    """A labelled result as a table of pandas, which has `to_latex`, `to_csv`, `to_json` and more.

        analysis.table(analysis.summary(ds)).to_latex(float_format="%.3g", escape=True)

    **Arguments:** the dataset that a function of `analysis` returns; `by`: further dimensions with a row for each of
    their points, such as `family` or `seed`.

    **Returns:** a table whose index are the labels of the dimensions that all variables have, the axes, and of `by`. A
    variable with other dimensions is one column for each of their labels: `loss[0.5]` is that of quantile 0.5. Its
    `attrs` hold `units` and `long_name` of every column.

    **Raises:** `ValueError` for a dimension that the result does not have.
    """
    by = (by,) if isinstance(by, str) else tuple(by)
    for dim in by:
        if dim not in result.dims:
            raise ValueError(
                f"by: got {dim!r}; the result's dimensions are {', '.join(map(str, result.dims)) or 'none'}"
            )
    everywhere = [dim for dim in result.dims if dim not in by and all(dim in v.dims for v in result.data_vars.values())]
    rows = [*everywhere, *by]
    shape = [result.sizes[dim] for dim in rows]
    columns, units, names = {}, {}, {}
    for name, array in result.data_vars.items():
        spread = [dim for dim in array.dims if dim not in rows]
        for place in np.ndindex(*(array.sizes[dim] for dim in spread)):
            one = array.isel(dict(zip(spread, place, strict=True)))
            said = ",".join(_label(array, dim, i) for dim, i in zip(spread, place, strict=True))
            column = f"{name}[{said}]" if spread else str(name)
            have = [dim for dim in rows if dim in one.dims]
            values = one.transpose(*have).values.reshape([result.sizes[d] if d in have else 1 for d in rows])
            columns[column] = np.broadcast_to(values, shape).ravel()
            units[column], names[column] = array.attrs.get("units", "1"), array.attrs.get("long_name", str(name))
    frame = pd.DataFrame(columns, index=_index(result, rows))
    frame.attrs = {"units": units, "long_name": names}
    return frame


def _index(result: xr.Dataset, rows: list) -> pd.Index:
    if not rows:
        return pd.RangeIndex(1)
    labels = [result[dim].values.tolist() if dim in result.coords else range(result.sizes[dim]) for dim in rows]
    return pd.MultiIndex.from_product(labels, names=[str(dim) for dim in rows])


def _label(array: xr.DataArray, dim, place: int) -> str:
    return str(array[dim].values[place].item()) if dim in array.coords else str(place)
