"""Two hundred study files at random, through the command: refused by a field's name, or run."""

from tests.fuzz import fuzz


def test_a_study_file_is_refused_in_a_line_or_run(tmp_path):
    found = fuzz(tmp_path, examples=200, most_structures=2)
    assert found["error:"] > 80 and found["run"] + found["planned"] > 30
