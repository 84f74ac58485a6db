"""Questions that several tests ask."""

import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import analysis.__main__
import ensemble as ens
import ensemble.__main__
from ensemble.engine import Watch, run_workloads
from ensemble.plan import groups, workload
from ensemble.store import FINISHED, Box, Collection, Results


def seldom(names: Iterable[str], *long: str) -> list[Any]:
    """Parameters of a test over a registry, of which `make validate` alone has those named `long`: their neighbours
    stand for them. A new part is looked at every time."""
    return [pytest.param(name, marks=pytest.mark.long) if name in long else name for name in names]


def assert_same_members(ds: xr.Dataset, other: xr.Dataset) -> None:
    """Every variable of `ds` is bit for bit that of `other` at the same labels."""
    assert set(ds.data_vars) == set(other.data_vars)
    for name in ds.data_vars:
        labels = {d: ds[d].values for d in ds[name].dims if d in ds.coords and d != "stage"}
        np.testing.assert_array_equal(ds[name].values, other[name].sel(labels).values, err_msg=name)


def assert_identical(ds: xr.Dataset, expected: xr.Dataset) -> None:
    """Every variable of the one is bit for bit that of the other, at the same place."""
    assert set(ds.variables) == set(expected.variables)
    for name in expected.variables:
        np.testing.assert_array_equal(ds[name].values, expected[name].values, err_msg=str(name))


def called(module: str, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """`python -m module arguments`, in this process: another one takes seconds to import what this one has."""
    app = {"ensemble": ensemble.__main__.app, "analysis": analysis.__main__.app}[module]
    words = [str(argument) for argument in arguments]
    done = CliRunner().invoke(app, words, prog_name=f"python -m {module}")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert not check or done.exit_code == 0, done.stdout + done.stderr
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


def shards(path: Path) -> list[Path]:
    """The shards of a run directory, by number."""
    return sorted(p for p in (path / "shards").iterdir() if p.suffix == ".nc")


def run_paused(study: ens.Study, engine: str, every: int) -> tuple[xr.Dataset, int]:
    """(results, pauses) of a study of one group, stopped after every so many calls of the engine.

    It goes on from what the engine says of the members in flight.
    """

    class Pause:
        calls, flights = 0, ()

        def progress(self, work):
            self.calls += 1

        def wants_stop(self):
            return self.calls >= every

        wants_flights = wants_stop

        def keep(self, flights):
            self.flights = tuple(flights)

        def asked(self):
            return Watch(self.progress, self.wants_stop, self.wants_flights, self.keep)

    (group,) = groups(study)
    results = Results(study)
    collection = Collection(study, {0: Box.whole(study)}, lambda number, results: None)
    collection.adopt(0, results)
    pauses, before = 0, ()
    while np.any(results.status < FINISHED):
        watch, left = Pause(), np.flatnonzero(results.status < FINISHED)
        run_workloads([workload(study, group, left, collection.sink([*group.cells]), before, engine)], watch.asked())
        before = watch.flights
        for flights in before:
            assert np.all(results.status[flights.members] == ens.STATUS["running"])
        pauses += 1
    return results.dataset({}), pauses


def wait_for(what, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def until(tab, condition: str) -> None:
    """Waits from here: the page's own policy forbids to evaluate texts in it."""
    for _ in range(400):
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(25)
    raise AssertionError(condition)


def compiled_both_ways(f, *arguments):
    """Its values as users compile it, and by a compiler that optimises nothing: it rounds otherwise."""
    for options in ({}, {"xla_backend_optimization_level": "0", "xla_cpu_use_fusion_emitters": False}):
        yield jax.jit(f, compiler_options=options)(*arguments)
