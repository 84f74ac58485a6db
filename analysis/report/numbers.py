"""Numbers as the page's JSON holds them."""

import base64
import math
from typing import Any

import numpy as np
import xarray as xr

Number = float | str | None


def exact(value: Any) -> Number:
    """A number with all its digits; infinities as texts, which JSON has no numbers for, and NaN as null."""
    value = float(value)
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return value


def number(value: Any) -> Number:
    """The same of four digits, which is what a curve needs."""
    value = exact(value)
    return float(f"{value:.4g}") if isinstance(value, float) else value


def numbers(values: np.ndarray) -> list[Number]:
    return [number(value) for value in values]


def interval(found: xr.Dataset, names: tuple[str, str, str], place: tuple[int, ...]) -> list[Number]:
    """A value and the ends of its interval, of one cell."""
    return [exact(found[name][place]) for name in names]


def packed(values: np.ndarray) -> str:
    """Numbers as the page's script reads many of them: their little-endian bytes in base64."""
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode()
