"""Strict settings: rank and dtype promotion are errors, and so are the project's own warnings."""

import os
import shutil
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr

# Importing the package turns float64 on and sets the devices up before JAX starts.
import ensemble
from ensemble.engine import granted_cores
from ensemble.store import directory
from tests.studies import tiny

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# Single operations, too: several processes compile the same thousands of them, and compile them again once they have
# dropped what they had.
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job has it ignored, and so would the processes that tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """A process a granted core and one more, since tests of clusters and kills wait; at most four: each takes 2 GB."""
    return min(granted_cores() + 1, 4)


LONGEST = (
    *("golden", "engine", "accelerators", "directory", "updates", "penalties", "certificate", "cluster"),
    *("pictures", "biases", "activations", "inputs", "combinations", "own_parts"),
)
"""Files of a minute or more: they begin first, so that no process is left alone with one of them at the end."""


def pytest_collection_modifyitems(items) -> None:
    def place(item) -> int:
        name = item.path.stem.removeprefix("test_")
        return LONGEST.index(name) if name in LONGEST else len(LONGEST)

    items.sort(key=place)  # files stay in one piece, and tests in their order


_MOST_REGIONS = 32_000
"""Of the 65 530 that Linux allows."""
_MOST_BYTES = 2.5e9


@pytest.fixture(autouse=True, scope="module")
def _few_compiled_programs():
    """One process runs hundreds of tests: all their programs would use up the memory regions that Linux allows it.

    Until half of them are taken, or what a process is to take, a file uses the programs of the files before it.
    """
    yield
    if _crowded():
        jax.clear_caches()


def _crowded() -> bool:
    own = Path("/proc/self")
    if not own.exists():
        return True
    resident = int((own / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resident > _MOST_BYTES or (own / "maps").read_bytes().count(b"\n") > _MOST_REGIONS


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240601)


# -- a small run directory, for tests of files -----------------------------------------------------------


@pytest.fixture
def two_members_a_shard(monkeypatch):
    """Directories of a few members have several shards."""
    monkeypatch.setattr(directory, "_MOST_MEMBERS", 2)


@pytest.fixture(scope="session")
def whole() -> xr.Dataset:
    """The dataset of `tiny()`."""
    return ensemble.run(tiny())


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """Its run directory, of three shards, which no test changes."""
    path = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory, "_MOST_MEMBERS", 2)
        ensemble.run(tiny(), out=path)
    return path


@pytest.fixture
def out(made, tmp_path) -> Path:
    """A copy of it, which a test may change."""
    return Path(shutil.copytree(made, tmp_path / "out"))


# -- a browser, for tests of pages -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine: `make browser` installs Debian's")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()
