"""The command line of the analysis: `summary`, `phase` and `minima` of a run directory."""

import json
import math
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import xarray as xr
from rich.console import Console
from rich.table import Table

from ensemble import StoreError, open_dataset
from ensemble.store.schema import status_line

from . import minima as find_minima
from . import phase as make_phase
from . import summary as make_summary
from .members import axes
from .phase import marginal
from .plots import phase_picture, save

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
console = Console()

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="run directory, or a netCDF file of one")]
Measure = Annotated[str, typer.Option(help="probe, such as max_angle or loss")]
Below = Annotated[float, typer.Option(help="threshold in the probe's units")]


@app.command()
def summary(directory: Directory, measure: Measure = "max_angle", below: Below = 0.02) -> None:
    """Per cell: shares of each status, quantiles of loss and angles, convergence times; 95% intervals."""
    ds = open_dataset(directory)
    result = make_summary(ds, measure, below).load()
    names = axes(ds)
    columns = [m for m in ("loss", "mean_angle", "max_angle") if m in result]
    table = Table(*names, "seeds", "converged", "diverged", *(f"median {m}" for m in columns), "median time", "never")
    for index in np.ndindex(*(ds.sizes[a] for a in names)):
        cell = result.isel(dict(zip(names, index, strict=True)))
        middle = cell.sel(quantile=0.5)
        table.add_row(
            *(_value(cell[a].item()) for a in names),
            str(int(cell["seeds"])),
            *(_interval(cell.sel(outcome=o), "status_share", "{:.2f}") for o in ("converged", "diverged")),
            *(_interval(middle, m, "{:.2g}") for m in columns),
            _interval(middle, "time", "{:.0f}"),
            _interval(cell, "censored", "{:.2f}"),
        )
    _wide(console).print(table)
    _say_status(ds)
    _say(f"time: {result['time'].attrs['long_name']}; brackets: 95% intervals over seeds")


@app.command()
def phase(
    directory: Directory,
    x: Annotated[str, typer.Option(help="axis to the right")],
    y: Annotated[str, typer.Option(help="axis upwards")],
    measure: Measure,
    below: Below,
    out: Annotated[Path, typer.Option(help="picture to write (.png, .pdf, .svg); the dataset goes beside it")],
    at: Annotated[list[str] | None, typer.Option(metavar="AXIS=VALUE", help="value of another axis")] = None,
) -> None:
    """Share of members with MEASURE below VALUE over two axes, as a picture and as a dataset."""
    ds = open_dataset(directory)
    chosen = dict(_parse_at(text) for text in at or [])
    result = make_phase(ds, x, y, measure, below, chosen).load()
    save(phase_picture(result), out)
    numbers = out.with_suffix(".nc")
    result.to_netcdf(numbers, engine="netcdf4")
    _say_status(ds)
    units = ds[measure].attrs["units"]
    what = f"{measure} < {below:g}{'' if units == '1' else ' ' + units}"
    if not chosen:
        _say_marginal(ds, x, measure, below, what)
    share = result["share"]
    _say(
        f"cells in which most seeds have {what}: {int((share > 0.5).sum())} of {share.size}; "
        f"largest half-width of a 95% interval: {float(result['half_width'].max()):.2f}"
    )
    _say(f"picture: {out}\nnumbers: {numbers}")


@app.command()
def minima(
    directory: Directory,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON, one object a cell")] = False,
    relative: Annotated[float, typer.Option(help="relative gap between families")] = 1e-6,
    absolute: Annotated[float, typer.Option(help="absolute gap, and the loss that counts as 0")] = 1e-12,
) -> None:
    """Families of final losses per cell, each with its share and Wilson interval."""
    ds = open_dataset(directory)
    result = find_minima(ds, relative, absolute)
    cells = [_cell_families(result, ds, index) for index in np.ndindex(*(ds.sizes[a] for a in axes(ds)))]
    if as_json:
        print(json.dumps({"relative": relative, "absolute": absolute, "cells": cells}, indent=1))
        return
    table = Table(*axes(ds), "seeds", "family", "loss", "spread", "members", "share", "95% interval")
    for cell in cells:
        for i, family in enumerate(cell["families"]):
            labels = [_value(v) for v in cell["at"].values()]
            table.add_row(
                *(labels if i == 0 else [""] * len(labels)),
                str(cell["seeds"]) if i == 0 else "",
                "global" if family["is_global"] else str(i),
                f"{family['loss']:.6g}",
                f"{family['spread']:.1e}",
                str(family["count"]),
                f"{family['share']:.4f}",
                f"[{family['low']:.4f}, {family['high']:.4f}]",
                end_section=i == len(cell["families"]) - 1,
            )
    _wide(console).print(table)
    _say_status(ds)
    _say(f"a family: losses without a gap above max({absolute:g}, {relative:g} × loss); global: loss ≤ {absolute:g}")


def _cell_families(result: xr.Dataset, ds: xr.Dataset, index: tuple[int, ...]) -> dict:
    cell = result.isel(dict(zip(axes(ds), index, strict=True)))
    families = [
        {
            "loss": float(cell["loss"][i]),
            "spread": float(cell["spread"][i]),
            "count": int(cell["count"][i]),
            "share": float(cell["share"][i]),
            "low": float(cell["low"][i]),
            "high": float(cell["high"][i]),
            "is_global": bool(cell["is_global"][i]),
        }
        for i in range(cell.sizes["family"])
        if int(cell["count"][i])
    ]
    return {
        "at": {a: cell[a].item() for a in axes(ds)},
        "seeds": int(cell["seeds"]),
        "unconverged": int(cell["unconverged"]),
        "families": families,
    }


def _say(text: str) -> None:
    """Plain text, never wrapped: lines stay whole in logs."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _say_status(ds: xr.Dataset) -> None:
    partial = "" if ds.attrs["complete"] else " — a partial dataset: some members of the grid were not run"
    _say(f"{ds.attrs['title']}, {status_line(ds)}{partial}")


def _say_marginal(ds: xr.Dataset, x: str, measure: str, below: float, what: str) -> None:
    pooled = marginal(ds, x, measure, below).load()
    _say(f"share of members with {what}, by {x} (all other axes pooled):")
    for i in range(pooled.sizes[x]):
        row = pooled.isel({x: i})
        _say(
            f"  {x} = {_value(row[x].item())}: {float(row['share']):.0%} of {int(row['seeds'])} "
            f"[{float(row['low']):.0%}, {float(row['high']):.0%}]"
        )


def _interval(cell: xr.Dataset, name: str, form: str) -> str:
    value, low, high = (float(cell[name + s]) for s in ("", "_low", "_high"))
    return f"{_form(value, form)} [{_form(low, form)}, {_form(high, form)}]"


def _form(value: float, form: str) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return form.format(value)


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _wide(console: Console) -> Console:
    """Tables keep their columns when output is no terminal."""
    return console if console.is_terminal else Console(width=280)


def _parse_at(text: str) -> tuple[str, object]:
    name, separator, value = text.partition("=")
    if not separator:
        raise ValueError(f"--at: got {text!r}; write AXIS=VALUE")
    return name, value


def main() -> None:
    """The entry point; errors that a user can mend end with a message instead of a traceback."""
    try:
        app()
    except (ValueError, OSError, StoreError) as error:
        Console(stderr=True).print(f"error: {error}", highlight=False, markup=False, soft_wrap=True, style="red")
        sys.exit(2)


if __name__ == "__main__":
    main()
