"""Members on samples have the same bits on one core and on all of them, where sums over samples are long."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

import ensemble as ens
from tests.test_samples import study


def digest_here() -> str:
    """Of every variable of two studies: large samples with a ridge stage, and large online batches."""
    teacher = {"kind": "orthonormal", "activation": "relu", "neurons": 4, "inputs": 40, "rotation": "random"}
    ridge = {"kind": "zhou_ge", "epochs": 1, "epoch_steps": 30, "first_step_size": 1.0}
    found = hashlib.sha256()
    for data, protocol in (
        ({"samples": 1500, "noise": 0.2}, ridge),
        ({"online": True, "batch": 300}, {"kind": "plain", "steps": 40, "step_size": 0.02}),
    ):
        student = {"neurons": 24, "start": "xavier"}
        ds = ens.run(study(data, seeds=6, teacher=teacher, student=student, protocol=protocol))
        for name in sorted(map(str, ds.data_vars)):
            found.update(np.ascontiguousarray(ds[name].values).tobytes())
    return found.hexdigest()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_cores_change_no_bit():
    code = "from tests.validation.test_cores_of_samples import digest_here; print(digest_here())"
    cores = sorted(os.sched_getaffinity(0))
    digests = set()
    for some in (cores[:1], cores):
        pinned = f"import os; os.sched_setaffinity(0, {set(some)}); {code}"
        done = subprocess.run([sys.executable, "-c", pinned], capture_output=True, text=True, check=True)
        digests.add(done.stdout.split()[-1])
    assert len(digests) == 1
