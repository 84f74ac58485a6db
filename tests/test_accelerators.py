"""What runs on accelerators, on a CPU: all lanes of a call at once, lanes that stay on devices, several devices.

No test here has run on a card: they hold what does not depend on one (steps, records, rows that move, calls).
"""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
import xarray as xr

import ensemble as ens
from ensemble.engine import accelerator, devices
from ensemble.engine.kernels import base, resident, together
from ensemble.engine.pools import LanePool
from ensemble.launch import local
from ensemble.plan import groups, programs
from tests.helpers import assert_same_members, run_paused
from tests.studies import heavy_tailed, small

LANES = 8
"""In a call: fewer than most studies below have members."""
EVERY_FOURTH = list(range(0, 61, 4))


@pytest.fixture(autouse=True)
def as_on_an_accelerator(monkeypatch):
    """The engine takes this CPU for an accelerator."""
    monkeypatch.setattr(devices, "accelerated", lambda: True)
    monkeypatch.setattr(together, "_NUMBERS_A_CALL", 1)
    monkeypatch.setattr(together, "_FEWEST", LANES)
    monkeypatch.setattr(together, "STEPS_A_LOOK", 3)
    monkeypatch.setattr(programs, "_BATCH_ACCELERATOR", 64)


@pytest.fixture(scope="module")
def plain_heavy() -> xr.Dataset:
    """Before anything takes this CPU for an accelerator: module fixtures come first."""
    return ens.run(heavy_tailed(), engine="xla")


@pytest.fixture(scope="module")
def plain_small() -> xr.Dataset:
    return ens.run(small(records=EVERY_FOURTH), engine="xla")


def run(study: ens.Study) -> xr.Dataset:
    ds = ens.run(study, engine="xla")
    assert ds.attrs["engine"] == "xla"
    return ds


def test_stages_records_and_ends_are_those_of_the_tiles(plain_small, plain_heavy):
    # 60 steps of order-one arithmetic, each off by a few 1e-16, without amplification by more than 100.
    together_small = run(small(records=EVERY_FOURTH))
    for name in ("a", "W", "loss_history", "risk_history", "applied_decay_history", "grad_norm"):
        if name in plain_small:
            np.testing.assert_allclose(together_small[name], plain_small[name], atol=6e-13, rtol=0, err_msg=name)
    np.testing.assert_array_equal(together_small["applied_decay"], plain_small["applied_decay"])
    np.testing.assert_array_equal(together_small["applied_step_size"], plain_small["applied_step_size"])
    heavy = run(heavy_tailed())
    np.testing.assert_array_equal(heavy["status"], plain_heavy["status"])
    # A gradient norm that falls by a few per cent a step crosses its tolerance at the same step but for rounding.
    assert np.abs(heavy["stop_step"].values - plain_heavy["stop_step"].values).max() <= 1
    assert np.abs(heavy["loss"].values - plain_heavy["loss"].values).max() < 1e-12


@pytest.mark.parametrize("budget", [1, 7, 1000])
def test_budget_calls_and_refill_change_nothing(budget, monkeypatch):
    whole = run(small())
    monkeypatch.setattr(base, "_MOST_LANES_ACCELERATOR", 2 * LANES)
    monkeypatch.setattr(LanePool, "budget", lambda self, *_: budget)
    assert_same_members(whole, run(small(seeds=7)))


@pytest.mark.parametrize("rule", [{"loss": 1e-2}, {"max_angle": 1.3}])
def test_rules_that_measure_see_the_members_own_risk(rule, monkeypatch):
    protocol = {"kind": "halving_decay", "weight_decay": 0.02, "epochs": 2, "epoch_steps": 250} | rule
    study = small(protocol=protocol, axes={"separation": [0.8]}, seeds=6)
    ours = run(study)
    assert bool((ours["status"] == ens.STATUS["converged"]).any())
    monkeypatch.undo()
    np.testing.assert_array_equal(ours["stop_step"], ens.run(study, engine="xla")["stop_step"])


def test_stages_with_targets_of_their_own(monkeypatch):
    protocol = {"kind": "curriculum", "order": [1, 0], "stage_steps": 12, "epochs": 2, "epoch_steps": 8}
    study = small(protocol=protocol, axes={"separation": [0.8]})
    ours = run(study)
    monkeypatch.undo()
    np.testing.assert_allclose(ours["W"], ens.run(study, engine="xla")["W"], atol=6e-13, rtol=0)


def test_every_step_a_record():
    every = run(small(records=list(range(61)), axes={"separation": [0.8]}))
    some = run(small(records=EVERY_FOURTH, axes={"separation": [0.8]}))
    np.testing.assert_array_equal(some["risk_history"], every["risk_history"].isel(record=EVERY_FOURTH))


def test_members_in_flight_go_on_with_the_same_bits(monkeypatch):
    """Their weights are on the device: asked for between two calls, they are the newest."""
    study = heavy_tailed(seeds=12)
    whole = run(study)
    monkeypatch.setattr(base, "_MOST_LANES_ACCELERATOR", LANES)
    monkeypatch.setattr(LanePool, "budget", lambda self, *_: 40)
    ds, pauses = run_paused(study, "xla", every=3)
    assert pauses >= 3, "the members ended before they were paused"
    assert_same_members(ds, whole)


def test_only_changed_rows_move(monkeypatch):
    """A call whose members all go on uploads nothing and brings nothing but numbers."""
    moved = []
    for name in ("_with_rows", "_gather"):
        function = getattr(resident, name)
        monkeypatch.setattr(resident, name, lambda *a, n=name, f=function: (moved.append(n), f(*a))[1])
    monkeypatch.setattr(LanePool, "budget", lambda self, *_: 10)
    run(small(records=[], axes={"separation": [0.8]}))
    # 60 steps in 6 calls: weights are brought once, when all members end.
    assert moved == ["_gather"]


def test_out_of_memory_halves_a_call(monkeypatch):
    sizes, study = [], small(seeds=5)
    whole = run(study)
    init = resident.Resident.__init__

    def short(self, pool, run, count, size, tile):
        def call(device, lanes, record_steps, budget):
            sizes.append(len(lanes.moving.step))
            if sizes[-1] > LANES // 4:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")
            return run(device, lanes, record_steps, budget)

        init(self, pool, call, count, size, tile)

    monkeypatch.setattr(resident.Resident, "__init__", short)
    halved = run(study)
    assert set(sizes) == {LANES, LANES // 2, LANES // 4}
    # Another number of lanes is another program, which may sum in another order.
    np.testing.assert_allclose(halved["W"], whole["W"], atol=6e-13, rtol=0)


@pytest.mark.long
def test_several_accelerators_share_members_and_change_no_bit(tmp_path):
    program = (
        "import sys, jax, ensemble as ens\n"
        "from ensemble.engine import devices\n"
        "from ensemble.engine.kernels import together\n"
        "from tests.studies import small\n"
        "devices.accelerated = lambda: True\n"
        "together._NUMBERS_A_CALL, together._FEWEST, together.STEPS_A_LOOK = 1, 8, 3\n"
        "assert len(ens.places()) == len(jax.devices()) == int(sys.argv[2])\n"
        "ds = ens.run(small(axes={'separation': [0.4, 0.8]}, seeds=9, probes=['loss', 'max_angle']), engine='xla')\n"
        "ds.to_netcdf(sys.argv[1], encoding={'stage': {'dtype': 'S1'}})\n"
    )
    found = []
    for count in (1, 3):
        flags = f"--xla_force_host_platform_device_count={count}"
        environment = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": os.getcwd(), "JAX_PLATFORMS": "cpu"}
        file = tmp_path / f"{count}.nc"
        subprocess.run([sys.executable, "-c", program, file, str(count)], env=environment, check=True)
        found.append(xr.load_dataset(file))
    assert_same_members(found[0], found[1])


def test_the_fused_kernel_keeps_its_lanes_on_the_device(monkeypatch):
    study = small(axes={"separation": [0.8]})
    whole = ens.run(study, engine="fused")
    monkeypatch.setattr(LanePool, "budget", lambda self, *_: 13)
    monkeypatch.setattr(base, "_MOST_LANES_ACCELERATOR", 2)
    assert_same_members(whole, ens.run(study, engine="fused"))


def test_lanes_of_a_call_are_a_power_of_two_of_shapes_and_memory(monkeypatch):
    monkeypatch.undo()
    found = {}
    for width in (8, 32):
        (pool,) = groups(small(student={"neurons": width, "start": "balanced"}, axes={}))[0].pools
        found[width] = together.lanes_a_call(pool, 80 * 2**30), together.lanes_a_call(pool, 2**24)
    assert found[8][0] == 2**15 and found[32][0] == 2**11
    assert all(few < many and few & (few - 1) == 0 for many, few in found.values())


@pytest.mark.parametrize(
    ("environment", "driver", "said"),
    [
        ({"ACCEL": "cuda", "CUDA_VISIBLE_DEVICES": ""}, "570.86", "CUDA_VISIBLE_DEVICES is '', which hides every card"),
        ({"ACCEL": "cuda"}, None, "ACCEL: got cuda, but this machine has no NVIDIA driver"),
        ({"JAX_PLATFORMS": "cuda"}, "470.57", "JAX_PLATFORMS: got cuda, but the NVIDIA driver 470.57 is too old"),
        ({"ACCEL": "cuda"}, "570.86", "no card is used: JAX sees the CPU alone; see that the CUDA build of jax"),
    ],
)
def test_a_card_that_is_asked_for_and_missing_is_said(environment, driver, said, tmp_path):
    file = tmp_path / "version"
    if driver is not None:
        file.write_text(f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}.02  Wed Jul 14 2021\n")
    reason = accelerator.missing(environment, file)
    assert reason is not None and said in reason and "leave ACCEL out to run on the CPU" in reason
    assert accelerator.missing({"ACCEL": ""}, file) is None


def test_a_run_that_asks_for_a_card_does_not_fall_back(monkeypatch):
    monkeypatch.setenv("ACCEL", "cuda")
    with pytest.raises(ens.EngineError, match="ACCEL: got cuda, but"):
        ens.run(small())


def test_a_card_that_is_slow_in_float64_is_said(monkeypatch):
    class Card:
        platform, device_kind, compute_capability = "gpu", "NVIDIA GeForce RTX 4090", "8.9"

    assert "float64' on NVIDIA GeForce RTX 4090" in str(accelerator.slow_float64("float64", Card()))
    assert accelerator.slow_float64("float32", Card()) is None
    Card.compute_capability = "9.0"
    assert accelerator.slow_float64("float64", Card()) is None
    assert accelerator.slow_float64("float64") is None  # a CPU
    monkeypatch.setattr(local, "slow_float64", lambda precision: "precision: got 'float64' on a slow card")
    with pytest.warns(ens.StudyWarning, match="on a slow card"):
        run(small(axes={"separation": [0.8]}))  # the program of the tests above
