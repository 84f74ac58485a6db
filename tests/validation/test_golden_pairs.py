"""Every start with every teacher, as recorded: each pair is a program of its own to compile (tests/test_golden.py)."""

import pytest

from tests.golden.cases import groups
from tests.test_golden import found_and_recorded

CASES = [(group, name) for group, cases in groups(slow=True).items() for name in cases]


@pytest.mark.parametrize(("group", "name"), CASES, ids=["-".join(case) for case in CASES])
def test_results_are_those_recorded(group, name):
    different = found_and_recorded(group, name)
    assert not different, "\n".join(different)
