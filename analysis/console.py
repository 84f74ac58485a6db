"""How results are said on a console: tables that keep their columns, numbers with their intervals."""

import math
from collections.abc import Iterator

import numpy as np
import xarray as xr
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ensemble.store.schema import status_line

from .members import axes

console = Console()


def say(text: str) -> None:
    """Plain text, never wrapped: lines stay whole in logs."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def say_status(ds: xr.Dataset) -> None:
    """The dataset's title and how its members ended."""
    partial = "" if ds.attrs["complete"] else " — a partial dataset: some members of the grid were not run"
    say(f"{ds.attrs['title']}, {status_line(ds)}{partial}")


def say_table(names: list[str], rows: list[list[str]], sections: bool = False) -> None:
    """A table; with `sections`, a line before every row that begins with a text."""
    table = Table(*names)
    for i, row in enumerate(rows):
        last = sections and (i + 1 == len(rows) or bool(rows[i + 1][0]))
        table.add_row(*(escape(text) for text in row), end_section=last)
    # Tables keep their columns when output is no terminal.
    (console if console.is_terminal else Console(width=280)).print(table)


def each_cell(ds: xr.Dataset, result: xr.Dataset) -> Iterator[tuple[list[str], xr.Dataset]]:
    """(labels in words, result) of every cell of a dataset."""
    names = axes(ds)
    for place in np.ndindex(*(ds.sizes[name] for name in names)):
        cell = result.isel(dict(zip(names, place, strict=True)))
        yield [label(cell[name].item()) for name in names], cell


def interval(cell: xr.Dataset, name: str, pattern: str) -> str:
    """A variable with its `_low` and `_high`."""
    middle, low, high = (number(float(cell[name + end]), pattern) for end in ("", "_low", "_high"))
    return f"{middle} [{low}, {high}]"


def number(value: float, pattern: str) -> str:
    """A number in a pattern; infinities as signs."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return pattern.format(value)


def label(value: object) -> str:
    """A label of an axis."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def say_marginal(pooled: xr.Dataset, axis: str, what: str) -> None:
    """The shares of `analysis.marginal`."""
    say(f"share of members with {what}, by {axis} (all other axes pooled):")
    for i in range(pooled.sizes[axis]):
        row = pooled.isel({axis: i})
        say(
            f"  {axis} = {label(row[axis].item())}: {float(row['share']):.0%} of {int(row['seeds'])} "
            f"[{float(row['low']):.0%}, {float(row['high']):.0%}]"
        )


def say_log_rank(found: xr.Dataset) -> None:
    """The tests of `analysis.log_rank`."""
    say(f"log-rank test that the cells along {found.attrs['along']} share one curve:")
    dims = [str(d) for d in found["p_value"].dims]
    for place in np.ndindex(*found["p_value"].shape):
        cell = found.isel(dict(zip(dims, place, strict=True)))
        where = ", ".join(f"{d} = {label(cell[d].item())}" for d in dims) or "all"
        say(
            f"  {where}: χ² = {float(cell['statistic']):.3g} ({int(cell['degrees'])}), p = {float(cell['p_value']):.2g}"
        )
