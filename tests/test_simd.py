"""The vector kernel's own arithmetic: lane by lane, against 50-digit numbers."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
from numba import njit

import ensemble as ens
from ensemble.engine.kernels.descent import _stage_values, arcsin_and_sine
from ensemble.engine.kernels.duals import DUALS
from ensemble.engine.kernels.steps import stage_values
from ensemble.engine.kernels.vectors import LANES, choose_greater, fma, load, root, splat, store
from ensemble.problem.activations import ACTIVATIONS
from tests.studies import tiny

mp.mp.dps = 50


@njit
def _both(x, arcsin, sine):
    for i in range(0, len(x), LANES):
        a, s = arcsin_and_sine(load(x, i))
        store(arcsin, i, a)
        store(sine, i, s)


@njit
def _fused(x, y, z, out):
    store(out, 0, fma(load(x, 0), load(y, 0), load(z, 0)))


@njit
def _plain(x, y, z, out):
    store(out, 0, load(x, 0) * load(y, 0) + load(z, 0))


@njit
def _chosen(x, out):
    store(out, 0, choose_greater(load(x, 0), splat(0.0), root(load(x, 0)), splat(-1.0)))


def test_arcsin_and_sine_within_two_ulp():
    near = np.logspace(-16, -1, 200)
    x = np.unique(np.concatenate([np.linspace(-1, 1, 1601), 1 - near, near - 1, near, -near, 0.5 + near / 10]))
    x = np.resize(np.clip(x, -1, 1), -(-len(x) // LANES) * LANES)
    arcsin, sine = np.empty_like(x), np.empty_like(x)
    _both(x, arcsin, sine)
    for point, a, s in zip(x, arcsin, sine, strict=True):
        exact = mp.mpf(float(point))
        for value, truth in ((a, mp.asin(exact)), (s, mp.sqrt((1 - exact) * (1 + exact)))):
            assert abs(mp.mpf(float(value)) - truth) <= 2 * max(float(np.spacing(abs(float(truth)))), 5e-324), point


def test_fma_rounds_once_and_nothing_else_is_fused():
    x = np.full(LANES, 1.0 + 2.0**-30)
    z = np.full(LANES, -1.0 - 2.0**-29)
    once, twice = np.empty(LANES), np.empty(LANES)
    _fused(x, x, z, once)
    _plain(x, x, z, twice)
    np.testing.assert_array_equal(once, 2.0**-60)
    np.testing.assert_array_equal(twice, 0.0)


def test_choose_greater_takes_the_second_for_nan():
    out = np.empty(LANES)
    _chosen(np.array([4.0, 0.0, -1.0, np.nan, 9.0, -0.0, np.inf, 1.0]), out)
    np.testing.assert_array_equal(out, [2.0, -1.0, -1.0, -1.0, 3.0, -1.0, np.inf, 1.0])


def test_four_numbers_give_each_activation_s_slopes():
    rho = np.linspace(-1, 1, 41)
    for name, (p0, p1, q0, q1) in DUALS.items():
        remainder, slope = ACTIVATIONS[name].kappa_slopes(jnp.asarray(rho))
        np.testing.assert_allclose(p0 + p1 * np.arcsin(rho), slope, atol=3e-16)
        np.testing.assert_allclose(q0 + q1 * np.sqrt((1 - rho) * (1 + rho)), remainder, atol=3e-16)


@njit
def _scheduled(step, start, sizes, size_every, decays, decay_every, out):
    for at in range(len(step)):
        _stage_values(at, at, step, start, sizes, size_every, decays, decay_every, out, 0, len(step))


def test_both_kernels_have_the_same_schedules_to_the_bit():
    """η and λ are written in XLA and for the vector kernel: steps × starts × halvings × values, up to 900 halvings."""
    steps = np.array([0, 1, 6, 7, 8, 13, 14, 999, 6300, 10**6, 2**31 - 2], np.int32)
    axes = (steps, [0, 1, 5], [0, 7, 10**4, 2**31 - 1], [0, 3, 10**5], [0.0, 0.05, 1 / 3, 1e-12])
    step, start, size_every, decay_every, decays = (grid.ravel() for grid in np.meshgrid(*axes))
    time = step - start
    known = time >= 0
    for every in (size_every, decay_every):
        known &= time <= 900 * np.where(every > 0, every, 2**31)
    step, start, size_every, decay_every = (x[known].astype(np.int32) for x in (step, start, size_every, decay_every))
    decays, sizes = decays[known], np.full(known.sum(), 0.3)
    out = np.zeros(2 * len(step))
    _scheduled(step, start, sizes, size_every, decays, decay_every, out)
    stage: Any = SimpleNamespace(
        start_step=start, step_size=sizes, step_size_every=size_every, decay=decays, decay_every=decay_every
    )
    in_xla = jax.jit(lambda arrays: stage_values(*_as_rows(arrays)))
    expected = in_xla({"step": step, **vars(stage)})
    np.testing.assert_array_equal(out.reshape(2, -1), expected)
    assert len(step) > 500 and len(np.unique(out)) > 30


def _as_rows(arrays) -> tuple[Any, Any, Any]:
    """A program without optax schedules, and the fields of a lane and a stage that a schedule looks at."""
    moving, stage = SimpleNamespace(step=arrays["step"]), SimpleNamespace(**arrays)
    return SimpleNamespace(schedules=()), moving, stage


def test_neurons_that_vanish_are_no_divergence():
    """Under a decay above κ₁ all weights shrink by 0.8 a step: past 10⁻¹⁵⁴, where squares of norms lose their digits
    and inner products become 0, down to the least number there is."""
    stage = {"name": "all", "steps": 2500, "layers": "both", "step_size": 0.1, "weight_decay": 2.0}
    study = tiny(axes={}, seeds=8, records=0, protocol={"kind": "stages", "stages": [stage]})
    ds = ens.run(study, engine="simd")
    assert set(ds["status"].values) == {ens.STATUS["max_steps"]} and set(ds["stop_step"].values) == {2500}
    assert np.ptp(ds["loss"].values) == 0.0
