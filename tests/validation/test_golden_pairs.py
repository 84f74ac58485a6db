"""What takes long to compile of tests/test_golden.py: every start with every teacher, and the other engine."""

import pytest

from tests.golden.cases import groups
from tests.test_golden import LONG, found_and_recorded

CASES = [(group, name) for group, cases in groups().items() if "every_pair" in group or group in LONG for name in cases]


@pytest.mark.parametrize(("group", "name"), CASES, ids=["-".join(case) for case in CASES])
def test_results_are_those_recorded(group, name):
    different = found_and_recorded(group, name)
    assert not different, "\n".join(different)
