"""Strict settings: rank and dtype promotion are errors, and so are the project's own warnings."""

import jax
import numpy as np
import pytest

# Importing the package turns float64 on and sets the devices up before JAX starts.
from ensemble.engine import granted_cores

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """A process a granted core, at most four: each takes 2 GB."""
    return min(granted_cores(), 4)


@pytest.fixture(autouse=True, scope="module")
def _few_compiled_programs():
    """One process runs hundreds of tests: their programs would use up the memory regions that Linux allows it."""
    yield
    jax.clear_caches()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240601)
