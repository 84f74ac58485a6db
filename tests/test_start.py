"""A process starts soon: what only some studies need is imported where it is needed."""

import subprocess
import sys

SELDOM = {"diffrax", "distributed", "lineax", "matplotlib", "optax", "optimistix", "plotly"}
"""Libraries that a plain study never needs, in a run directory or in memory."""
FOR_A_RUN = {"netCDF4", "numba", "scipy"}
"""Those that the package itself does not need to be imported."""

STUDY = """
seeds = 2
records = 2

[teacher]
kind = "orthonormal"
activation = "relu"
neurons = 2
inputs = 4

[student]
neurons = 3

[protocol]
kind = "halving_decay"
epochs = 2
epoch_steps = 3
"""

SCRIPT = """
import sys
import ensemble
print(*{name.partition(".")[0] for name in sys.modules})
import gd_atlas
sys.argv[:1] = ["gd-atlas", "run"]
try:
    gd_atlas.main()
except SystemExit as end:
    assert not end.code, end.code
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_a_small_study_imports_only_what_it_uses(tmp_path):
    study = tmp_path / "study.toml"
    study.write_text(STUDY)
    command = [sys.executable, "-c", SCRIPT, study, "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    imported, *_, ran = (set(line.split()) for line in done.stdout.splitlines())
    assert "jax" in imported, imported
    assert imported.isdisjoint(SELDOM | FOR_A_RUN), imported & (SELDOM | FOR_A_RUN)
    assert "numba" in ran, "the study was to be run by the SIMD kernel"
    assert ran.isdisjoint(SELDOM), ran & SELDOM
