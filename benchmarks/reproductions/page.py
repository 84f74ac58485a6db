"""docs/reproductions.md: a table of all claims, and the rows of each."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .base import AbstractClaim, Measured, verdict
from .measuring import rows_of, state

PAGE = Path("docs/reproductions.md")
HEAD = """# Published results, made again

This page is written by `make reproductions` (about an hour on 2 cores; what was begun goes on, and
`make reproductions ONLY=id` measures one claim). Every run is an ordinary run directory in data/reproductions, which
`gd-atlas` opens; what was measured is in data/bench/reproductions.json, and a claim is a class in
`benchmarks/reproductions/claims/`.

A published number is **inside** where it lies in the measured interval, a published range where the whole interval lies
in it; an interval that reaches over the end of a range is *undecided*. Nothing is left out: what is outside is printed
as such. Of intervals at 95%, one in twenty misses by chance.
"""


def page(claims: Sequence[AbstractClaim], kept: dict[str, Any]) -> str:
    """The text of the page."""
    lines = [HEAD, _counted(claims, kept), "", "| claim | source | verdict | study |", "|---|---|---|---|"]
    lines += [
        f"| [{claim.id}](#{claim.id}): {_escaped(claim.claim)} | {_escaped(claim.source)} | "
        f"{_summary(claim, kept.get(claim.id))} | {_study(claim)} |"
        for claim in claims
    ]
    for claim in claims:
        lines += ["", *_section(claim, kept.get(claim.id))]
    return "\n".join(lines) + "\n"


def _counted(claims: Sequence[AbstractClaim], kept: dict[str, Any]) -> str:
    count = Counter(word for claim in claims for word in _verdicts(claim, kept.get(claim.id)).values())
    said = ", ".join(f"{count[word]} {word}" for word in ("inside", "outside", "undecided", "not run") if count[word])
    return f"{len(claims)} claims of {count.total()} numbers: {said}."


def _verdicts(claim: AbstractClaim, found: dict[str, Any] | None) -> dict[str, str]:
    published = claim.published()
    if found is None or state(claim, found) != "measured":
        return dict.fromkeys(published, "not run")
    return {row: verdict(published[row], values) for row, values in rows_of(found).items()}


def _summary(claim: AbstractClaim, found: dict[str, Any] | None) -> str:
    count = Counter(_verdicts(claim, found).values())
    if state(claim, found) != "measured":
        return state(claim, found)
    return ", ".join(f"{n} {_marked(word)}" for word, n in count.items())


def _marked(word: str) -> str:
    return {"outside": "**outside**", "undecided": "*undecided*"}.get(word, word)


def _study(claim: AbstractClaim) -> str:
    return f"`{claim.file}`" if claim.file else f"`make reproductions ONLY={claim.id}`"


def _section(claim: AbstractClaim, found: dict[str, Any] | None) -> list[str]:
    lines = [f"## {claim.id}", "", claim.claim, "", f"Source: {claim.source}. Intervals: {claim.interval}."]
    if found is None:
        lines[-1] += " Not run."
    else:
        lines[-1] += " " + _measured_on(found)
    if found is not None and state(claim, found) != "measured":
        lines += ["", "**What was measured is of an earlier form of this claim: run it again.**"]
        found = None
    lines += ["", claim.note] if claim.note else []
    lines += ["", "| | published | measured | verdict |", "|---|---|---|---|"]
    verdicts, values = _verdicts(claim, found), {} if found is None else rows_of(found)
    for row, published in claim.published().items():
        said = with_interval(values[row]) if row in values else "–"
        lines.append(f"| {_escaped(row)} | {_escaped(published.says)} | {said} | {_marked(verdicts[row])} |")
    return lines


def _measured_on(found: dict[str, Any]) -> str:
    if not found["members"]:
        return f"Solved, without members, {found['date']}."
    seeds = " and ".join(map(str, found["seeds"]))
    return (
        f"{found['members']:,} members, {seeds} {'seed' if seeds == '1' else 'seeds'} a cell, "
        f"{found['seconds']:,.0f} s ({found['engine']}), {found['date']}."
    )


def with_interval(values: Measured) -> str:
    """`estimate [low, high]` with two digits of the interval's width, and at most twelve of the number."""
    estimate, low, high = values
    width = high - low
    largest = max(abs(x) for x in values if math.isfinite(x)) if any(map(math.isfinite, values)) else 0.0
    if not math.isfinite(width) or largest == 0.0 or width == 0.0:
        return f"{estimate:.6g} [{low:.6g}, {high:.6g}]"
    decimals = 1 - math.floor(math.log10(width))
    digits = math.floor(math.log10(largest)) + 1 + decimals
    decimals -= max(0, digits - 12)
    if largest < 1e-3 or decimals < 0:
        digits = max(1, min(12, digits))
        return f"{estimate:.{digits}g} [{low:.{digits}g}, {high:.{digits}g}]"
    return f"{estimate:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
