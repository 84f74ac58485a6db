"""Sample complexity: the n at which half of the seeds recover, as a power of the dimension.

The power law is fitted to places of boundaries (`boundary`), which come with confidence sets. Cells share their seeds'
draws, so that these sets are not independent: the interval of the exponent asks nothing of that. With sets of
simultaneous level 1 − α (each of 1 − α/columns, Bonferroni), every line ln n = ln C + p ln d through all of them is
believed, and the exponents of these lines are an interval of level 1 − α wherever the law holds.
"""

import numpy as np
import xarray as xr
from scipy.optimize import linprog

from ..selection import require_axis
from ..statistics import LEVEL, require_level, require_sizes
from .boundary import boundary


def sample_complexity(
    ds: xr.Dataset,
    along: str,
    measure: str,
    below: float,
    *,
    samples: str = "samples",
    at: dict[str, object] | None = None,
    level: float = LEVEL,
) -> xr.Dataset:
    """The n at which half of the seeds have `measure` < `below`, along another axis, and the power law of it.

        n_½(d) = C d^p

    **Arguments:** a dataset with the axes `samples`, of numbers n, and `along`, of numbers d > 0, two or more of each;
    any other axis needs a value in `at`. `level` of the exponent's interval.

    **Returns:**

    - over `along`: `boundary`, `low`, `high`, `seeds` as `boundary` has them, the sets of a level at which all hold at
      once; `fitted`, C d^p;
    - `exponent` p and `exponent_low`, `exponent_high`, its least and largest value over all power laws that pass
      through every set: −∞ or +∞ where sets do not bound it; NaN where none does. `exponent` is that of least
      squares of ln n_½, weighted by the inverse squared widths of the sets in ln n, over places inside the grid; NaN
      for fewer than two;
    - `constant` C of that fit; `is_power_law`, whether a power law passes through every set: false refutes it.

    **Raises:** `ValueError` as `boundary`, for an axis that is not there, and where values of `along` are texts, not
    positive, or fewer than two.
    """
    require_level(level)
    require_axis(ds, "along", along)
    require_axis(ds, "samples", samples)
    if along == samples:
        raise ValueError(f"along: got {along!r}, which is the axis of samples; give that of the dimension")
    sizes = ds[along].values
    require_sizes("along", along, sizes)
    if not (ds[samples].dtype.kind in "fiu" and ds[samples].min() > 0):
        raise ValueError(f"samples: got {samples!r} with values that are not positive numbers; give an axis of n")
    found = boundary(ds, along, samples, measure, below, at, level=1.0 - (1.0 - level) / len(sizes))
    position = np.log(found[along].values.astype(float))
    with np.errstate(divide="ignore", invalid="ignore"):
        low, place, high = (np.log(found[name].values.astype(float)) for name in ("low", "boundary", "high"))
    # A set beyond the grid says that the place is not inside it.
    ends = np.log(ds[samples].values.min()), np.log(ds[samples].values.max())
    low = np.minimum(np.where(np.isnan(low), -np.inf, low), ends[1])
    high = np.maximum(np.where(np.isnan(high), np.inf, high), ends[0])
    exponent, constant = _weighted(position, place, high - low)
    least, most = _through_all(position, low, high)
    said = {
        "exponent": (exponent, "exponent p of the fitted power law"),
        "exponent_low": (least, f"lower end of the exponent's {level:.0%} interval"),
        "exponent_high": (most, f"upper end of the exponent's {level:.0%} interval"),
        "constant": (np.exp(constant), "constant C of the fitted power law"),
        "is_power_law": (not np.isnan(least), "whether a power law passes through every set"),
    }
    made = found[["boundary", "low", "high", "seeds"]]
    made = made.assign({name: ((), value, {"units": "1", "long_name": text}) for name, (value, text) in said.items()})
    units = found["boundary"].attrs["units"]
    fitted = np.exp(constant + exponent * position)
    made["fitted"] = (along, fitted, {"units": units, "long_name": "fitted power law C d^p"})
    made.attrs |= {"level": level, "samples_range": [float(v) for v in (ds[samples].min(), ds[samples].max())]}
    return made


def _weighted(position: np.ndarray, place: np.ndarray, width: np.ndarray) -> tuple[float, float]:
    """(p, ln C) of least squares; sets of no width count as those of the narrowest other one."""
    known = np.isfinite(place) & np.isfinite(width)
    if known.sum() < 2:
        return np.nan, np.nan
    widths = width[known]
    positive = widths[widths > 0]
    widths = np.where(widths > 0, widths, positive.min() if len(positive) else 1.0)
    p, constant = np.polyfit(position[known], place[known], 1, w=1.0 / widths)
    return float(p), float(constant)


def _through_all(position: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    """The least and the largest p of lines low ≤ ln C + p·position ≤ high; NaN where there is none."""
    rows = np.stack([position, np.ones_like(position)], axis=1)
    limits = np.concatenate([high, -low])
    bound = np.isfinite(limits)
    A, b = np.concatenate([rows, -rows])[bound], limits[bound]
    if not len(b):
        return -np.inf, np.inf
    ends = []
    for sign in (1.0, -1.0):
        solved = linprog([sign, 0.0], A_ub=A, b_ub=b, bounds=[(None, None)] * 2)
        if solved.status == 2:
            return np.nan, np.nan
        ends.append(sign * solved.fun if solved.status == 0 else -sign * np.inf)
    return ends[0], ends[1]
