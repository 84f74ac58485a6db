"""How results are said on a console: numbers with their intervals, tests, and how members ended."""

import numpy as np
import xarray as xr

from ensemble.console import console, say
from ensemble.store.schema import status_line
from ensemble.tables import Column, Form, label, number, tell

__all__ = ["Column", "Form", "console", "facts_of", "label", "number", "say", "say_log_rank", "say_status", "tell"]


def say_status(ds: xr.Dataset) -> None:
    """The dataset's title and how its members ended."""
    partial = "" if ds.attrs["complete"] else " — a partial dataset: some members of the grid were not run"
    say(f"{ds.attrs['title']}, {status_line(ds)}{partial}")


def facts_of(ds: xr.Dataset, **more: object) -> dict[str, object]:
    """What the JSON of a table says beside its rows."""
    return {
        "title": ds.attrs["title"],
        "study_hash": ds.attrs["study_hash"],
        "complete": int(ds.attrs["complete"]),
        **more,
    }


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
