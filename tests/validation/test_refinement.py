"""Sets of boundaries whose members were placed by what those before them found, as `refine` does."""

import numpy as np
import pytest

from analysis.boundaries.boundary import fit_columns
from analysis.boundaries.refinement import allotted, drawn, known_columns

GRID = np.linspace(0.0, 1.0, 8)


def refined(places: np.ndarray, slope: float, budget: int, key: int) -> dict[str, np.ndarray]:
    """Columns of logistic shares: six members in each, then ten batches."""
    outcomes, generator = np.random.default_rng(key), np.random.default_rng(key + 1)
    members: list[list[tuple[float, bool]]] = [[] for _ in places]

    def run(column: int, heights: np.ndarray) -> None:
        chance = 1 / (1 + np.exp(-slope * (heights - places[column])))
        members[column] += zip(heights.round(9).tolist(), outcomes.random(len(heights)) < chance, strict=True)

    def counts() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        heights = np.unique([y for column in members for y, _ in column])
        inside = np.zeros((len(members), len(heights), max(map(len, members))), bool)
        counted = inside.copy()
        for i, column in enumerate(members):
            for seed, (y, success) in enumerate(column):
                at = i, np.searchsorted(heights, y), seed  # a column never uses a seed twice
                counted[at], inside[at] = True, success
        return heights, inside, counted

    for column in range(len(places)):
        run(column, np.repeat(GRID[[0, 4, 7]], 2))
    batch = (budget - 6 * len(places)) // 10
    while (left := budget - sum(map(len, members))) > 0:
        heights, inside, counted = counts()
        known = known_columns(heights, inside, counted, GRID)
        share = allotted(known.widths, counted.sum(axis=(1, 2)), 1.0, min(left, batch), 0.0, generator)
        for column in range(len(places)):
            run(column, drawn(known, column, int(share[column]), GRID, 0.0, generator))
    return fit_columns(*counts(), grid=GRID)


@pytest.mark.parametrize("slope", [5.0, 12.0, 40.0])
def test_refined_sets_cover(slope):
    covered = []
    for key in range(60):
        places = np.random.default_rng(key).uniform(0.2, 0.8, 4)
        fit = refined(places, slope, 160, key)
        covered += ((fit["low"] <= places) & (places <= fit["high"])).tolist()
    print(f"refined, slope {slope:g}: {np.mean(covered):.1%} of {len(covered)}")
    # 240 columns, standard error 1.4%: two of them below 95%; members are few, and wider is right.
    assert np.mean(covered) >= 0.92
