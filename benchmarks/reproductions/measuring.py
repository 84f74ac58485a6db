"""Running a claim's studies into their directories, and what is kept of what was measured."""

import datetime
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import xarray as xr

import ensemble as ens
from ensemble.store.provenance import commit_state, version

from .base import AbstractClaim, Measured

FOLDER = Path("data/reproductions")
KEPT = Path("data/bench/reproductions.json")


class Runs(Mapping[str, xr.Dataset]):
    """The datasets of a claim by the names of its studies, run when they are first asked for.

    A directory that holds members already goes on from there; one that is complete is verified and opened.
    """

    def __init__(self, claim: AbstractClaim, folder: Path, on_progress: Callable[[ens.Report], None]):
        self.studies = {study.name: study for study in claim.studies()}
        self.folder, self.on_progress = folder, on_progress
        self.opened: dict[str, xr.Dataset] = {}

    def __getitem__(self, name: str) -> xr.Dataset:
        if name not in self.opened:
            study = self.studies[name]
            self.opened[name] = ens.run(study, self.folder / name, on_progress=self.on_progress).load()
        return self.opened[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.studies)

    def __len__(self) -> int:
        return len(self.studies)


def measured(
    claim: AbstractClaim, folder: Path = FOLDER, on_progress: Callable[[ens.Report], None] = lambda _: None
) -> dict[str, Any]:
    """What is kept of a claim: its rows, and what they were measured on."""
    runs = Runs(claim, folder, on_progress)
    rows = claim.measure(runs)
    commit, dirty = commit_state()
    return {
        "rows": {row: list(map(float, values)) for row, values in rows.items()},
        "studies": hashes(claim),
        "members": sum(int(ds["status"].size) for ds in runs.opened.values()),
        "seeds": sorted({int(ds.sizes["seed"]) for ds in runs.opened.values()}),
        "seconds": sum(float(ds.attrs["wall_time"]) for ds in runs.opened.values()),
        "engine": ", ".join(sorted({str(ds.attrs["engine"]) for ds in runs.opened.values()})),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit + ("+" if dirty else ""),
        "jax": version("jax"),
        "backend": jax.default_backend(),
    }


@functools.cache
def hashes(claim: AbstractClaim) -> dict[str, str]:
    """SHA-256 of every study of a claim as it is written, by its name.

    Of what a claim asks for and not of what is filled in: a field that a later version adds makes no measurement an
    earlier one. Numbers that were computed count to twelve digits.
    """
    return {
        table["name"]: hashlib.sha256(json.dumps(_rounded(table), sort_keys=True).encode()).hexdigest()
        for table in claim.asked()
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.12g}") if isinstance(value, float) else value


def kept(file: Path = KEPT) -> dict[str, Any]:
    """What was measured, by claim."""
    return json.loads(file.read_text()) if file.exists() else {}


def keep(claim: AbstractClaim, found: dict[str, Any], file: Path = KEPT) -> None:
    """Puts a claim's measurement beside the others', in order of their names, so that files compare."""
    file.parent.mkdir(parents=True, exist_ok=True)
    said = kept(file) | {claim.id: found}
    file.write_text(json.dumps(dict(sorted(said.items())), indent=1, ensure_ascii=False) + "\n")


def state(claim: AbstractClaim, found: dict[str, Any] | None) -> str:
    """`measured`, `not run`, or `of an earlier study`: what was measured is of other members, or other rows."""
    if found is None:
        return "not run"
    same = found["studies"] == hashes(claim) and list(found["rows"]) == list(claim.published())
    return "measured" if same else "of an earlier study"


def rows_of(found: dict[str, Any]) -> dict[str, Measured]:
    return {row: Measured(*values) for row, values in found["rows"].items()}
