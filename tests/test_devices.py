"""Devices: how many compiled programs a process keeps, and how many cores call them."""

import gc
import os
import subprocess
import sys
import warnings
import weakref
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from jax._src.lru_cache import LRUCache
from jax.experimental.compilation_cache import compilation_cache

from ensemble.engine import Compiled, devices, kept, places
from ensemble.numerics import threads
from ensemble.plan.programs import measure_program
from ensemble.problem.penalties import L2
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


def test_programs_of_accelerators_and_of_cpus_are_kept_apart(monkeypatch):
    """A CPU's program that is taken for an accelerator's adds in another order: a member's last digits would depend on
    which of the two this process made first."""
    measure = measure_program(L2(), ("loss",))
    monkeypatch.setattr(devices, "accelerated", lambda: True)
    assert measure_program(L2(), ("loss",)) is not measure
    monkeypatch.undo()
    assert measure_program(L2(), ("loss",)) is measure


def test_a_program_is_on_disk_whole_or_not_at_all(tmp_path, monkeypatch):
    """JAX itself writes in place, and never again where a file is."""
    cache = LRUCache(str(tmp_path), max_size=-1)
    write = Path.write_bytes

    def full_disk(path, data):
        write(path, data[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        cache.put("one", b"program")
    monkeypatch.undo()
    assert cache.get("one") is None and not list(tmp_path.iterdir())
    (tmp_path / "one-cache").write_bytes(b"pro")  # as a process that was killed left it
    cache.put("one", b"program")
    assert cache.get("one") == b"program" and [path.name for path in tmp_path.iterdir()] == ["one-cache"]


@pytest.fixture
def programs_kept_in(tmp_path, monkeypatch):
    """JAX keeps all programs there, however soon they are compiled."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    for name, value in zip(names, (str(tmp_path), 0.0), strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_programs_that_cannot_be_read_are_compiled_and_stored_again(programs_kept_in):
    def compiled() -> np.ndarray:
        return np.asarray(jax.jit(lambda x: jnp.sin(x) + 1.25)(jnp.arange(3.0)))

    first, files = compiled(), [*programs_kept_in.glob("*-cache")]
    whole = {file: file.stat().st_size for file in files}
    assert files
    for file in files:
        os.truncate(file, whole[file] // 2)
    with pytest.warns(UserWarning, match="Error reading persistent compilation cache"):
        np.testing.assert_array_equal(compiled(), first)
    assert all(file.stat().st_size > whole[file] // 2 for file in files if "lambda" in file.name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(compiled(), first)


def test_the_number_of_cores_changes_nothing(tmp_path):
    """Processes of their own, as a machine with so many cores would have."""
    program = (
        "import sys, ensemble as ens\n"
        "from tests.studies import small\n"
        "decay = {'kind': 'halving_decay', 'weight_decay': 0.05, 'epochs': 3, 'epoch_steps': 20}\n"
        "adam = {'protocol': decay | {'update': 'adam'}, 'probes': ['loss'], 'data': {'samples': 9, 'batch': 4}}\n"
        "for name, engine, changes in (('plain', 'simd', {}), ('xla', 'xla', {}), ('adam', 'xla', adam)):\n"
        "    ds = ens.run(small(**changes), engine=engine)\n"
        "    ds.to_netcdf(sys.argv[1] + name, encoding={'stage': {'dtype': 'S1'}})\n"
    )
    for cores in (1, 3):
        # PJRT_NPROC: XLA's own threads, of which it has as many as the machine has cores.
        environment = os.environ | dict.fromkeys(("GD_ATLAS_CORES", "PJRT_NPROC"), str(cores))
        environment["PYTHONPATH"] = os.getcwd()
        subprocess.run([sys.executable, "-c", program, tmp_path / f"{cores}"], env=environment, check=True)
    for name in ("plain", "xla", "adam"):
        one, three = (xr.load_dataset(tmp_path / f"{cores}{name}") for cores in (1, 3))
        assert_same_members(one, three)
        assert one.attrs["engine"] == ("simd" if name == "plain" else "xla")


def test_options_that_xla_does_not_know_are_left_out():
    known = threads.on_the_calling_thread()
    assert known and threads.on_the_calling_thread(xla_no_such_option=True) == known
    with pytest.raises(jax.errors.JaxRuntimeError, match="not a valid bool"):
        threads.on_the_calling_thread(xla_cpu_multi_thread_eigen="neither")


def test_programs_that_factorise_wait_for_one_another():
    place = devices.places()[0]
    matrices = np.eye(3)[None].repeat(4, 0)
    for function, waits in ((jnp.linalg.eigvalsh, True), (jnp.fft.fft, True), (jnp.linalg.matrix_transpose, False)):
        program = devices.Compiled(function)
        program(place, matrices)
        assert program._waits is (waits and not devices.accelerated())
