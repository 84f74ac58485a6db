"""The engine: exact dynamics, whatever lane, neighbour, budget or order a member had."""

import itertools

import jax
import numpy as np
import pytest
import xarray as xr

import ensemble as ens
import ensemble.engine.kernels.base as kernels
import ensemble.engine.kernels.xla as xla
from ensemble.engine import TRACES, EngineError, Watch, places, run_workloads
from ensemble.engine.kernels import Simd
from ensemble.engine.kernels.descent import advance_blocks
from ensemble.engine.kernels.duals import DUALS
from ensemble.engine.lanes import empty_lanes
from ensemble.engine.pools import LanePool
from ensemble.plan import groups, workload
from ensemble.store import Box, Collection
from tests.helpers import assert_same_members, run_paused, seldom
from tests.studies import PROBES, descend, heavy_tailed, small

ENGINE = {"name": "auto"}


def run(study: ens.Study) -> xr.Dataset:
    """The study on the kernel that the module's tests are on."""
    return ens.run(study, engine=ENGINE["name"])


@pytest.fixture(scope="module", params=["simd", "xla"], autouse=True)
def backend(request):
    """Every test here runs on both kernels; what `simd` does not serve runs on `xla` either way."""
    ENGINE["name"] = "xla" if request.param == "xla" else "auto"
    yield request.param
    ENGINE["name"] = "auto"


@pytest.fixture(scope="module")
def small_run(backend) -> xr.Dataset:
    ds = run(small())
    assert ds.attrs["engine"] == backend
    return ds


@pytest.fixture(scope="module")
def heavy_run(backend) -> xr.Dataset:
    return run(heavy_tailed())


def test_descent_equals_an_independent_numpy_loop(small_run):
    # One step of size η moves a weight by η × gradient; 60 steps keep the rounding of the two orders of summation
    # apart by far less than 1e-12.
    halving = {"kind": "halving_decay", "weight_decay": 0.05, "epochs": 3, "epoch_steps": 20}
    start = run(small(protocol=halving | {"step_size": 1e-300}))  # moves nothing, and compiles nothing
    cell = {"weight_decay": 0.05, "separation": 0.8, "seed": 2}
    first, last = start.sel(cell), small_run.sel(cell)
    a, W, _ = descend(
        first["a"].values,
        first["W"].values,
        last["teacher_a"].values,
        last["teacher_W"].values,
        "abs_centred",
        steps=60,
        step_size=0.2,
        decay=lambda t: 0.05 / 2 ** (t // 20),
    )
    np.testing.assert_allclose(last["a"], a, atol=1e-12)
    np.testing.assert_allclose(last["W"], W, atol=1e-12)
    # Companion: without the halving the weights are visibly others.
    a, _, _ = descend(
        first["a"].values, first["W"].values, last["teacher_a"].values, last["teacher_W"].values,
        "abs_centred", steps=60, step_size=0.2, decay=lambda t: 0.05,
    )  # fmt: skip
    assert np.abs(last["a"].values - a).max() > 1e-4


def test_stop_rule_stops_at_the_same_step_as_numpy(heavy_run):
    start = run(heavy_tailed(protocol={"kind": "plain", "layers": "first", "step_size": 1e-300, "steps": 3000}))
    for seed in (0, 5):
        first, last = start.sel(seed=seed), heavy_run.sel(seed=seed)
        _, W, steps = descend(
            first["a"].values,
            first["W"].values,
            last["teacher_a"].values,
            last["teacher_W"].values,
            "relu",
            steps=3000,
            step_size=0.2,
            decay=lambda t: 0.0,
            grad_norm=1e-6,
            layers=("W",),
        )
        assert int(last["stop_step"]) == steps
        np.testing.assert_allclose(last["W"], W, atol=1e-9)
        assert float(last["grad_norm"]) <= 1e-6


def test_a_member_alone_equals_itself_among_many(heavy_run):
    every = small(probes=PROBES)
    assert_same_members(run(every.replace(seeds=1).only(weight_decay=[0.05], separation=[1.2])), run(every))
    for seeds in (1, 7):
        assert_same_members(run(heavy_tailed(seeds=seeds)), heavy_run)


def test_later_seeds_and_points_change_no_earlier_member(small_run):
    more = run(small(seeds=5, axes={"weight_decay": [0.0, 0.01, 0.05], "separation": [0.4, 0.8, 1.0, 1.2]}))
    assert_same_members(small_run, more)


def test_order_of_points_changes_nothing(small_run):
    turned = run(small(axes={"separation": [1.2, 0.4, 0.8], "weight_decay": [0.05, 0.0]}))
    assert_same_members(turned.transpose(*small_run["status"].dims, ...), small_run)


@pytest.mark.parametrize("budget", [3, 17, 1000])
def test_budget_and_refill_change_nothing(heavy_run, monkeypatch, budget):
    # Fewer lanes than members, so that lanes are refilled.
    monkeypatch.setattr(kernels, "_MOST_LANES", 16)
    monkeypatch.setattr(LanePool, "budget", lambda self, *_: budget)
    many = run(heavy_tailed(seeds=64, records=6))
    assert_same_members(heavy_run, many)
    assert int((many["status"] == ens.STATUS["converged"]).sum()) == 64


def test_members_in_flight_go_on_with_the_same_bits(heavy_run, monkeypatch):
    """Stopped between two calls, and gone on from what the engine says of the members in flight."""
    monkeypatch.setattr(kernels, "_MOST_LANES", 16)
    monkeypatch.setattr(LanePool, "budget", lambda self, *_: 40)
    study = heavy_tailed()
    ds, pauses = run_paused(study, ENGINE["name"], every=8)
    assert pauses >= 3, "the members ended before they were paused"
    assert_same_members(ds, heavy_run)


def test_groups_run_side_by_side():
    """Where one group leaves cores without work the next begins, and no member's bits know of it."""
    axes = {"width": {"field": "student.neurons", "values": [4, 5, 6]}, "separation": [0.4, 0.8]}
    widths = small(axes=axes, probes=["loss", "max_angle"])
    began, finished, filled = [], [], []

    def works(study):
        collection = Collection(study, {0: Box.whole(study)}, lambda number, results: filled.append(results))
        for group in groups(study):
            began.append(len(finished))
            members = np.array([study.seeds * c + s for c in group.cells for s in range(study.seeds)])
            yield workload(study, group, members, collection.sink([0]), engine=ENGINE["name"])

    def count(work):
        finished[:] = range(work.finished)

    done = run_workloads(works(widths), Watch(count))
    assert began == [0, 0, 0], "so few members leave room: all groups begin before any member ends"
    assert done.finished == widths.members and done.member_steps == 60 * widths.members
    (results,) = filled
    assert_same_members(run(widths.only(width=[5])), results.dataset({}).isel(neuron=slice(5)))
    # A group that fills every core is left alone until it no longer does.
    many = widths.replace(seeds=kernels._MOST_LANES)
    began.clear()
    finished.clear()
    run_workloads(itertools.islice(works(many), 2), Watch(count))
    assert began[0] == 0 and began[1] > kernels._MOST_LANES


def test_out_of_memory_on_the_device_shrinks_the_plan(backend, monkeypatch):
    if backend == "simd":
        pytest.skip("the kernel allocates on the host, once")
    study = heavy_tailed(seeds=8 * 32 * len(places()), protocol={"kind": "plain", "step_size": 0.2, "steps": 9})
    whole = run(study)
    # As on an accelerator: all lanes of a device in one call.
    init = xla.Xla.__init__

    def at_once(self, pool, members):
        init(self, pool, members)
        self.lanes_a_call = self.count // self.devices

    monkeypatch.setattr(xla.Xla, "__init__", at_once)
    assert_same_members(run(study), whole)
    sizes = []
    program = xla.advance_program

    def short_of_memory(*arguments):
        def call(device, lanes, record_steps, budget):
            sizes.append(len(lanes.moving.step))
            if sizes[-1] > 3 * 32:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")
            return program(*arguments)(device, lanes, record_steps, budget)

        return call

    monkeypatch.setattr(xla, "advance_program", short_of_memory)
    assert_same_members(run(study), whole)
    assert set(sizes) == {8 * 32, 4 * 32, 2 * 32}

    def broken(*arguments):
        def call(*_):
            raise jax.errors.JaxRuntimeError("INTERNAL: something else")

        return call

    monkeypatch.setattr(xla, "advance_program", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        run(study)


def test_steps_are_heavy_tailed_and_lanes_are_left(heavy_run):
    steps = heavy_run["stop_step"].values
    assert steps.max() > 1.5 * np.median(steps), "the fixture no longer tests what it is for"
    assert heavy_run.attrs["member_steps"] == steps.sum()
    assert 0.0 < heavy_run.attrs["lane_efficiency"] <= 1.0


def test_one_compilation_a_static_shape(backend):
    study = small(
        name="traces",
        probes=["loss"],
        student={"neurons": 5, "start": "balanced"},
        axes={
            "weight_decay": [0.0, 0.05],
            "step_size": [0.1, 0.2],
            "epoch_steps": [10, 15],
            "width": {"field": "student.neurons", "values": [9, 10]},
        },
    )
    before = len(TRACES)
    run(study)
    run(study.replace(records=3))
    assert len(groups(study)) == 2
    if backend == "xla":
        # One program; a trace of it for each shape of lanes.
        assert len(TRACES[before:]) == 2 and len(set(TRACES[before:])) == 1
    else:
        # One compilation serves every shape that there is.
        assert TRACES[before:] == [] and len(advance_blocks.signatures) == 1


@pytest.mark.parametrize("activation", seldom(DUALS, "abs", "linear", "relu_even"))
def test_kernels_agree_to_rounding(activation, backend):
    if backend == "xla":
        pytest.skip("compares the two kernels once")
    teacher = {"kind": "separated_pairs", "activation": activation, "neurons": 4, "inputs": 7, "separation": 0.7}
    study = small(teacher=teacher, student={"neurons": 6, "extra_neurons": 1, "start": "balanced"}, max_steps=40)
    study = study.replace(probes=["loss", "grad_norm"])
    fast = run(study)
    plain = ens.run(study, engine="xla")
    assert (fast.attrs["engine"], plain.attrs["engine"]) == ("simd", "xla")
    # 40 steps of order-one arithmetic, each off by a few 1e-16, without amplification by more than 100.
    for name in ("a", "W", "loss_history", "grad_norm"):
        np.testing.assert_allclose(fast[name], plain[name], atol=4e-13, rtol=0, err_msg=name)
    assert np.abs(fast["W"].values - fast["W"].mean().values).max() > 0.1


def test_engine_can_be_chosen_and_refuses():
    with pytest.raises(EngineError, match="engine: got 'fast'; it is auto, simd, fused, xla"):
        ens.run(small(), engine="fast")
    serves = r"serves plain descent of two-layer students on the exact population risk .* in float64 on a CPU"
    with pytest.raises(EngineError, match=serves):
        ens.run(small(precision="float32"), engine="simd")


def test_statuses_and_a_diverging_member_harms_no_other():
    def axes(step_sizes, tolerances):
        return {"step_size": step_sizes, "stop_at": {"field": "protocol.grad_norm", "values": tolerances}}

    with pytest.warns(ens.StudyWarning, match="got step_size = 50 in stage 'local'.*above 1.6 descent cannot rest"):
        study = heavy_tailed(seeds=4, axes=axes([0.2, 50.0], [0.1, 1e-300]), max_steps=400)
    ds = run(study)
    status = ds["status"]
    assert set(np.unique(status.sel(step_size=50.0))) == {ens.STATUS["diverged"]}
    assert set(np.unique(status.sel(step_size=0.2, stop_at=1e-300))) == {ens.STATUS["max_steps"]}
    assert set(np.unique(ds["stop_step"].sel(step_size=0.2, stop_at=1e-300))) == {400}
    calm = run(heavy_tailed(seeds=4, axes=axes([0.2], [0.1]), max_steps=400))
    assert_same_members(calm, ds)
    for name in ("loss", "risk", "max_angle", "W", "loss_history"):
        assert bool(np.isfinite(ds[name]).all()), name


def test_max_steps_caps_every_member_in_any_stage():
    ds = run(small(protocol={"kind": "zhou_ge", "epochs": 2, "epoch_steps": 20}, max_steps=1))
    assert set(np.unique(ds["stop_step"])) == {1}
    reached = ds["stage_end_step"].isel(seed=0, weight_decay=0, separation=0).values
    np.testing.assert_array_equal(reached, [1, -1, -1, -1])
    assert bool(ds["loss_stage"].sel(stage="local").isnull().all())


def test_zhou_ge_stages(rng):
    ds = run(small(protocol={"kind": "zhou_ge", "epochs": 2, "epoch_steps": 30, "fit_decay": 1e-3}))
    assert ds["stage"].values.tolist() == ["early", "fit", "balance", "local"]
    np.testing.assert_array_equal(ds["stage_end_step"].isel(seed=0, weight_decay=0, separation=0), [1, 1, 1, 61])
    # Balancing keeps the function and puts every |a_i| at ‖w_i‖.
    np.testing.assert_allclose(ds["loss_stage"].sel(stage="balance"), ds["loss_stage"].sel(stage="fit"), atol=1e-14)
    assert float(ds["imbalance_stage"].sel(stage="balance").max()) < 1e-14
    # Ridge is the minimum of ½E(f−f*)² + (λ/2)‖a‖² over a: the gradient on the output layer vanishes.
    assert float(ds["grad_norm_stage"].sel(stage="fit").max()) < 1e-12
    assert float(ds["grad_norm_stage"].sel(stage="early").min()) > 1e-3


def test_fit_by_descent_approaches_the_ridge_solution():
    ridge = {"kind": "zhou_ge", "epochs": 1, "epoch_steps": 1, "fit_decay": 0.05, "first_step_size": 4.0}
    descent = ridge | {"fit": "descent", "fit_steps": 4000, "fit_step_size": 0.3}
    exact, slow = run(small(protocol=ridge)), run(small(protocol=descent))
    for name in ("loss_stage", "risk_stage"):
        np.testing.assert_allclose(slow[name].sel(stage="fit"), exact[name].sel(stage="fit"), rtol=1e-6)


def test_fixed_first_layer_moves_no_row():
    short, long = (run(small(protocol={"kind": "fixed_first_layer", "steps": steps})) for steps in (1, 50))
    np.testing.assert_array_equal(short["W"], long["W"])
    assert float(np.abs(short["a"] - long["a"]).min()) > 0.0


def test_loss_and_angle_rules():
    base = {"kind": "halving_decay", "weight_decay": 0.02, "epochs": 4, "epoch_steps": 500}
    by_loss = run(small(protocol=base | {"loss": 1e-3}))
    converged = by_loss["status"] == ens.STATUS["converged"]
    assert bool(converged.any())
    assert float(by_loss["loss"].where(converged).max()) <= 1e-3
    assert set(np.unique(by_loss["stop_step"].where(converged, 0)) % 100) == {0}
    by_angle = run(small(protocol=base | {"max_angle": 0.1}))
    converged = by_angle["status"] == ens.STATUS["converged"]
    assert bool(converged.any())
    assert float(by_angle["max_angle"].where(converged).max()) <= 0.1


def test_optax_schedule_of_the_step_size():
    schedule = {"kind": "optax", "name": "linear_schedule"}
    schedule["arguments"] = {"init_value": 1.0, "end_value": 0.0, "transition_steps": 60}
    protocol = {"kind": "plain", "step_size": 0.2, "steps": 60, "step_size_schedule": schedule}
    ours = run(small(protocol=protocol, axes={"separation": [0.8]}))
    plain = run(small(protocol={"kind": "plain", "step_size": 0.2, "steps": 60}, axes={"separation": [0.8]}))
    half = run(small(protocol={"kind": "plain", "step_size": 0.1, "steps": 60}, axes={"separation": [0.8]}))
    # A step size that falls linearly to 0 goes as far as half of it: closer to that than to the whole.
    near = np.abs(ours["loss"].values - half["loss"].values)
    assert np.all(near < np.abs(ours["loss"].values - plain["loss"].values))


def test_records_hold_the_member_at_their_steps(small_run):
    steps = small_run["step"].values
    assert steps[0] == 0 and steps[-1] == 60 and np.all(np.diff(steps) > 0) and len(steps) >= 8
    middle = int(steps[-3])
    cut = run(small(max_steps=middle))
    at = small_run["loss_history"].isel(record=-3)
    np.testing.assert_array_equal(cut["loss"], at)
    np.testing.assert_array_equal(small_run["loss_history"].isel(record=-1), small_run["loss"])
    # A member that stopped stays where it is.
    np.testing.assert_array_equal(cut["loss_history"].isel(record=-1), cut["loss"])


def test_more_records_than_snapshot_slots():
    every = run(small(records=list(range(61)), axes={"separation": [0.8]}))
    some = run(small(records=[0, 13, 40], axes={"separation": [0.8]}))
    np.testing.assert_array_equal(some["risk_history"], every["risk_history"].isel(record=[0, 13, 40]))


def test_float32_shares_the_draws_and_stays_near(small_run):
    single = run(small(precision="float32"))
    assert single["W"].dtype == np.float32
    # Sixty contracting steps of float32 rounding (6e-8 each, of order-one weights).
    np.testing.assert_allclose(single["W"], small_run["W"], atol=1e-5)
    np.testing.assert_array_equal(single["teacher_W"], small_run["teacher_W"].astype(np.float32))


def test_kernel_refuses_lanes_of_another_shape(backend):
    if backend == "xla":
        pytest.skip("XLA checks shapes itself")
    (pool,) = groups(small())[0].pools
    (other,) = groups(small(teacher=small().teacher.model_copy(update={"inputs": 5})))[0].pools
    kernel = Simd(pool, 8)
    with pytest.raises(ValueError, match=r"lanes: got W \(8, 4, 5\)"):
        kernel.advance(empty_lanes(kernel.count, other.like), np.array([0], np.int32), 1)
