"""Factorisations in a program that every core calls: with a thread of XLA a core they wait for one another for ever."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import jax.numpy as jnp
import ensemble as ens
from ensemble.probes import transfer
from ensemble.problem.risks import kernel

def by_eigenvalues(student, teacher):
    sigma, W = student.activation, student.W
    K, b = kernel(sigma, W, W), kernel(sigma, W, teacher.W) @ teacher.a
    values, vectors = jnp.linalg.eigh(0.5 * (K + K.T))
    kept = values > len(b) * jnp.finfo(W.dtype).eps * values[-1]
    c = vectors.T @ b
    return -0.5 * jnp.sum(jnp.where(kept, c * c / jnp.where(kept, values, 1.0), 0.0))

of_readout = [probe for probe in transfer.TASK_PROBES if probe.measure is transfer.readout_loss]
assert len(of_readout) == 2
for probe in of_readout:
    probe.measure = staticmethod(by_eigenvalues)
ens.run(ens.Study.from_toml("studies/transfer.toml").replace(seeds=20))
print("ended")
"""


def test_a_probe_by_lapack_does_not_stand_still():
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=root, timeout=600, capture_output=True, text=True, check=False
    )
    assert done.stdout.endswith("ended\n"), done.stderr
