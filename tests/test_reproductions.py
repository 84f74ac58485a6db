"""The registry of reproductions: every claim says all that the page says of it, and a cheap one is measured."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from benchmarks.reproductions.base import Measured, between, exactly, limit, verdict
from benchmarks.reproductions.claims.flow import distances
from benchmarks.reproductions.claims.stability import Balancing
from benchmarks.reproductions.measuring import KEPT, hashes, keep, kept, measured, rows_of, state
from benchmarks.reproductions.page import PAGE, page, with_interval
from benchmarks.reproductions.registry import CLAIMS


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_says_what_the_page_says_of_it(claim):
    for said in (claim.id, claim.claim, claim.source, claim.interval):
        assert said and said == said.strip() and "\n" not in said
    assert claim.file is None or Path(claim.file).exists()
    assert claim.studies(), "studies are validated as they are made"
    published = claim.published()
    assert published and all(value.says and value.low <= value.high for value in published.values())


def test_ids_are_one_claim_each_and_names_one_study():
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    known: dict[str, str] = {}
    for claim in CLAIMS:
        for name, digest in hashes(claim).items():
            assert known.setdefault(name, digest) == digest, f"two studies would share {name}'s directory"


def test_a_claim_is_measured_kept_and_goes_on(tmp_path):
    """Interrupted after its runs, it opens what is there; the page has its rows, and says of the others: not run."""
    claim, file = Balancing(), tmp_path / "kept.json"
    found = measured(claim, tmp_path)
    reports = []
    again = measured(claim, tmp_path, reports.append)
    assert again["rows"] == found["rows"] and not reports, "nothing is run twice"
    keep(claim, found, file)
    assert state(claim, kept(file)[claim.id]) == "measured"
    rows = rows_of(found)
    assert list(rows) == list(claim.published())
    assert all(verdict(claim.published()[row], values) == "inside" for row, values in rows.items())
    text = page(CLAIMS, kept(file))
    assert f"| {len(rows)} inside |" in text and text.count("| not run |") > len(CLAIMS)
    # Another study under the same name, and other rows, are no measurement of this claim.
    assert state(claim, found | {"studies": {"balancing": "0"}}) == "of an earlier study"
    assert state(claim, found | {"rows": {}}) == "of an earlier study"
    assert "of an earlier form of this claim" in page([claim], {claim.id: found | {"rows": {}}})


def test_a_value_outside_its_interval_is_printed_as_such():
    claim = Balancing()
    rows = {row: [2.0, 1.9, 2.1] for row in claim.published()}
    found = {"rows": rows, "studies": hashes(claim), "members": 1, "seeds": [1], "seconds": 1.0, "engine": "simd"}
    text = page([claim], {claim.id: found | {"date": "2026-01-01"}})
    assert f"{len(rows)} **outside**" in text and text.count("| **outside** |") == len(rows)


@pytest.mark.parametrize(
    ("published", "measured", "word"),
    [
        (exactly(1.0), (1.1, 0.9, 1.3), "inside"),
        (exactly(1.0), (1.1, 1.05, 1.3), "outside"),
        (between(0.0, 4.0, "at most 4"), (1.1, 0.9, 1.3), "inside"),
        (between(0.0, 4.0, "at most 4"), (3.9, 3.5, 4.3), "undecided"),
        (between(0.0, 4.0, "at most 4"), (5.0, 4.5, 5.3), "outside"),
        (exactly(1.0), (math.nan, math.nan, math.nan), "undecided"),
    ],
)
def test_verdicts(published, measured, word):
    assert verdict(published, Measured(*measured)) == word


def test_limits_of_what_halves():
    """f(h) = 3 + 2h + 5h²: the extrapolated value is nearer than its interval says."""
    found = limit(*(3 + 2 * h + 5 * h * h for h in (0.04, 0.02, 0.01)))
    assert found.low <= 3.0 <= found.high and found.high - found.low < 0.02


def test_distance_of_descent_from_flow():
    """At times that all step sizes have: of loss e^(−t) and descent's e^(−t) + cη² t e^(−t), the largest is cη²/e."""
    etas, c = (0.5, 0.25), np.array([1.0, 3.0])
    step = np.arange(0, 41)
    losses = np.full((2, 2, 2, 41), np.nan)  # update, step_size, seed, record; nothing is recorded after t = 10
    for i, eta in enumerate(etas):
        t = np.where(step * eta <= 10.0, step * eta, np.nan)
        losses[0, i] = np.exp(-t)
        losses[1, i] = np.exp(-t) * (1.0 + c[:, None] * eta**2 * t)
    coords = {"update": ["flow", "descent"], "step_size": list(etas), "step": ("record", step)}
    ds = xr.Dataset({"loss_history": (("update", "step_size", "seed", "record"), losses)}, coords)
    for eta, far in zip(etas, distances(ds, etas), strict=True):
        np.testing.assert_allclose(far, c * eta**2 / math.e, rtol=1e-12)


def test_numbers_have_the_digits_of_their_interval():
    assert with_interval(Measured(0.19779914, 0.195, 0.2)) == "0.1978 [0.1950, 0.2000]"
    assert with_interval(Measured(38.55, 37.96, 39.14)) == "38.5 [38.0, 39.1]"
    assert with_interval(Measured(0.0, -1e-7, 1e-7)) == "0 [-1e-07, 1e-07]"


def test_the_page_is_that_of_what_was_kept():
    """docs/reproductions.md is generated: `make reproductions` writes it from data/bench/reproductions.json."""
    assert PAGE.read_text() == page(CLAIMS, json.loads(KEPT.read_text()))
