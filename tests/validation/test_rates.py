"""The table of docs/analysis.md: how often each law is told of histories whose law is known."""

import pytest

from tests.test_rates import HISTORIES, shares


@pytest.mark.parametrize("noise", [0.05, 0.2])
def test_laws_that_are_told(noise):
    for name, (right, _) in HISTORIES.items():
        row = []
        for records in (12, 40):
            for lag in (0.0, 0.5):
                found = shares(name, records, noise, lag, 2000)
                wrong = sum(found[law] for law in ("exponential", "power law") if law != right)
                row.append(" / ".join(f"{found[law]:.2f}" for law in found))
                assert wrong < (0.25 if name == "two exponentials, 1:1" and records == 12 else 0.15)
        print(f"| {name} | " + " | ".join(row) + " |")
