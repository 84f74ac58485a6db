"""Strict settings: rank and dtype promotion are errors, and so are the project's own warnings."""

import jax
import numpy as np
import pytest

import ensemble  # noqa: F401 (turns float64 on and sets the devices up before JAX starts)

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240601)
