"""Devices: how many compiled programs a process keeps, and how many cores call them."""

import gc
import os
import subprocess
import sys
import weakref

import jax.numpy as jnp
import xarray as xr

from ensemble.engine import Compiled, kept, places
from tests.helpers import assert_same_members


def test_a_process_keeps_a_bounded_number_of_programs():
    """Memory regions of programs are bounded by the system: a thousand structures would crash a process."""

    @kept
    def program(number: int) -> Compiled:
        return Compiled(lambda x: x + number)

    limit = program.cache_info().maxsize
    first = program(0)
    assert program(0) is first and float(first(places()[0], jnp.zeros(()))) == 0.0
    alive = [weakref.ref(first)]
    del first
    alive += [weakref.ref(program(number)) for number in range(1, limit + 1)]
    gc.collect()
    assert alive[0]() is None and all(ref() is not None for ref in alive[1:])
    assert float(program(0)(places()[0], jnp.ones(()))) == 1.0


def test_the_number_of_cores_changes_nothing(tmp_path):
    """Processes of their own, as a machine with so many cores would have."""
    program = (
        "import sys, ensemble as ens\n"
        "from tests.studies import small\n"
        "for engine in ('simd', 'xla'):\n"
        "    ds = ens.run(small(), engine=engine)\n"
        "    ds.to_netcdf(sys.argv[1] + engine, encoding={'stage': {'dtype': 'S1'}})\n"
    )
    for cores in (1, 3):
        environment = os.environ | {"GD_ATLAS_CORES": str(cores), "PYTHONPATH": os.getcwd()}
        subprocess.run([sys.executable, "-c", program, tmp_path / f"{cores}"], env=environment, check=True)
    for engine in ("simd", "xla"):
        one, three = (xr.load_dataset(tmp_path / f"{cores}{engine}") for cores in (1, 3))
        assert_same_members(one, three)
        assert one.attrs["engine"] == engine
