"""The table of docs/analysis.md, section Scaling: exponents of θ² in ζ/λ by their window, over cells and root seeds.

`python -m benchmarks.scaling DIR …` prints it from runs of studies/scaling.toml, one directory a root seed.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

import analysis
import ensemble as ens


class Window(NamedTuple):
    """Which records are fitted, in which cells."""

    said: str
    how: dict[str, float]
    at: dict[str, object]


WINDOWS = (
    Window("ζ ≥ λ²", {"ratio": 1.0}, {}),
    Window("ζ ≥ 10 λ²", {"ratio": 10.0}, {}),
    Window("ζ ≥ λ², ζ < 0.03", {"ratio": 1.0, "under": 0.03}, {}),
    Window("ζ < 0.03, halving, λ₀ = 0.01", {"under": 0.03}, {"protocol": "halving", "weight_decay": 0.01}),
    Window("ζ < 0.03, halving, λ₀ = 0.03", {"under": 0.03}, {"protocol": "halving", "weight_decay": 0.03}),
    Window("ζ < 0.03, fixed", {"under": 0.03}, {"protocol": "fixed"}),
)


class Row(NamedTuple):
    """What a window's fits say; the ends of a range are those over cells and root seeds."""

    records: tuple[float, float]
    exponent: tuple[float, float]
    widest: tuple[float, float]
    """Of the intervals of the exponent."""
    constant: tuple[float, float]
    gradient: tuple[float, float]
    holds: int
    """Cells whose interval allows p ≥ 1."""


def fits(ds: xr.Dataset) -> dict[str, xr.Dataset]:
    """Every window's exponents, cell by cell, of one run."""
    gaps = analysis.optimality_gap(ds)
    return {w.said: analysis.scaling(ds.sel(w.at), gaps=gaps.sel(w.at), **w.how) for w in WINDOWS}


def row(fits: Sequence[xr.Dataset]) -> Row:
    """What a window's fits to several root seeds say together."""

    def every(name: str) -> np.ndarray:
        return np.concatenate([fit[name].values.ravel() for fit in fits])

    def span(name: str) -> tuple[float, float]:
        return float(every(name).min()), float(every(name).max())

    low, high = every("angle_exponent_low"), every("angle_exponent_high")
    widest = int((high - low).argmax())
    return Row(
        span("records"),
        span("angle_exponent"),
        (float(low[widest]), float(high[widest])),
        span("angle_constant"),
        span("gradient_exponent"),
        int(every("angle_holds").sum()),
    )


def table(rows: Mapping[str, Row]) -> str:
    """In Markdown."""
    head = ("window", "records a cell", "exponent of θ² in ζ/λ", "widest interval", "largest θ²λ/ζ, rad²")
    lines = [f"| {' | '.join([*head, 'exponent of ‖∇R_λ‖² in ζ'])} |", "|---|---|---|---|---|---|"]
    forms = ("{:.0f}–{:.0f}", "{:.3f}–{:.3f}", "[{:.3f}, {:.3f}]", "{:.2g}–{:.2g}", "{:.2f}–{:.2f}")
    for window, row in rows.items():
        cells = [form.format(*ends) for form, ends in zip(forms, row[:5], strict=True)]
        lines.append(f"| {' | '.join([window, *cells])} |")
    return "\n".join(lines)


def main(paths: Sequence[str]) -> None:
    runs = [fits(ens.open_dataset(Path(path))) for path in paths]
    rows = {window.said: row([run[window.said] for run in runs]) for window in WINDOWS}
    print(table(rows))
    print(f"cells whose interval allows p ≥ 1: {sum(row.holds for row in rows.values())}")


if __name__ == "__main__":
    main(sys.argv[1:])
