"""Every registered update on every model that there is, and every penalty: bits depend on nothing but the member."""

import contextlib
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import ensemble as ens
import ensemble.engine.kernels.base as kernels
import tests.test_attention
import tests.test_biases
import tests.test_conv
import tests.test_deep
import tests.test_deep_linear
from ensemble.dynamics.updates import AbstractSteppedUpdate
from ensemble.engine.pools import LanePool
from ensemble.launch import local
from ensemble.parts import REGISTRY, is_own
from tests.helpers import assert_same_members, run_paused

UPDATES = [n for n, part in REGISTRY["update"].items() if issubclass(part, AbstractSteppedUpdate) and is_own(part)]
MODELS = ["two_layer", "factors"]
OTHERS = {
    "deep": (tests.test_deep.study, "adam"),
    "conv": (tests.test_conv.study, "momentum"),
    "attention": (tests.test_attention.study, "adam"),
    "biased": (tests.test_biases.study, "momentum"),
    "deep_linear": (tests.test_deep_linear.study, "nesterov"),
}
"""Students of other architectures, each under one update that keeps a state: the studies are those of their tests."""
PENALISED = {
    "path_norm": "descent",
    "elastic": "momentum",
    "group_lasso": "proximal",
    "l1": "fista",
    "bottleneck": "momentum",
    "sum": "proximal",
}
"""Every other penalty than l2, under one of the updates that it has."""
FIELDS: dict[str, dict] = {
    "optax": {"name": "lion"},
    "sum": {"terms": [{"kind": "l1", "strength": 0.5}, {"kind": "l2"}]},
}
CASES = [(k, m, "l2") for k in UPDATES for m in MODELS] + [(k, "two_layer", p) for p, k in PENALISED.items()]
CASES += [(update, model, "l2") for model, (_, update) in OTHERS.items()]
BROKEN = {"two_layer": "student.start.scale", "factors": "student.scale", "conv": "student.start.scale"}
BROKEN |= {"biased": "student.start.scale", "deep_linear": "student.start.scale"}
BROKEN |= {"deep": "student.start.gain", "attention": "student.start.gain"}
"""The number that makes a member's gradient infinite at its first step."""


def test_every_model_is_tested():
    assert {"two_layer", *OTHERS} == {name for name, part in REGISTRY["student"].items() if is_own(part)}


def test_every_penalty_is_tested():
    assert {"l2", *PENALISED} == {name for name, part in REGISTRY["penalty"].items() if is_own(part)}


def study(kind: str, model: str, penalty: str = "l2", **changes) -> ens.Study:
    """Members that end after different numbers of steps, beside some that diverge at once."""
    update = {"kind": kind} | FIELDS.get(kind, {})
    common = {"update": update, "penalty": {"kind": penalty} | FIELDS.get(penalty, {}), "weight_decay": 0.01}
    # Sign and Lion move every weight by η in each step: they meet no rule, and end by their steps.
    stages = [
        {"name": "first", "step_size": 0.03, "steps": 13, **common},
        {"name": "then", "step_size": 0.02, "steps": 40, "grad_norm": 0.05, **common},
    ]
    if model == "two_layer":
        teacher = {"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 3}
        table = {"teacher": teacher, "student": {"neurons": 3, "start": "balanced"}}
    elif model in OTHERS:
        whole = OTHERS[model][0]()
        table = {"teacher": whole.teacher, "student": whole.student, "data": whole.data, "probes": whole.probes}
    else:
        table = {
            "teacher": {"kind": "low_rank", "eigenvalues": [1.0, 1.0, 0.0, 0.0]},
            "student": {"kind": "factors", "rank": 2, "scale": 0.3},
        }
        ens.Study.from_toml(Path(__file__).parent / "own" / "factorisation.toml")
    scale = {"field": BROKEN[model], "values": [0.3, 1e170]}
    fields = {"name": "registry", "seeds": 4, "records": [0, 5, 20], "store_weights": True}
    protocol = {"kind": "stages", "stages": stages}
    made = ens.Study.model_validate(fields | table | {"protocol": protocol, "axes": {"scale": scale}})
    return made.replace(**changes) if changes else made


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request):
    return request.param, ens.run(study(*request.param), engine="xla")


def test_a_member_that_diverges_harms_no_other(case):
    _, ds = case
    assert np.all(ds["status"].sel(scale=1e170) == ens.STATUS["diverged"])
    assert np.all(ds["stop_step"].sel(scale=1e170) == 0)
    good = ds.sel(scale=0.3)
    assert np.all(good["status"] >= ens.STATUS["converged"]) and np.all(good["status"] != ens.STATUS["diverged"])
    measured = "loss_history" if "loss_history" in ds else "train_loss_history"
    assert np.all(np.isfinite(good[measured])) and np.all(good["stop_step"] >= 13)


@pytest.mark.parametrize("budget", [3, 1000])
def test_neighbours_refill_and_budget_change_nothing(case, budget, monkeypatch):
    parts, ds = case
    monkeypatch.setattr(kernels, "_MOST_LANES", 16)  # fewer lanes than members
    monkeypatch.setattr(LanePool, "budget", lambda self, *_: budget)
    assert_same_members(ds, ens.run(study(*parts, seeds=60), engine="xla"))


def test_a_member_alone_has_the_same_bits(case):
    parts, ds = case
    alone = ens.run(study(*parts, seeds=1).only(scale=[0.3]), engine="xla")
    assert_same_members(alone, ds)


@pytest.mark.long  # on disk, below, is every time
def test_stopped_and_gone_on_with(case):
    """State of the update included: paused in both stages, and gone on from what the engine says of those in flight."""
    parts, ds = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LanePool, "budget", lambda self, *_: 9)
        again, pauses = run_paused(study(*parts), "xla", every=1)
    assert pauses >= 3
    for name in again.data_vars:
        xr.testing.assert_equal(again[name].drop_attrs(), ds[name].drop_attrs())


def test_stopped_on_disk_and_gone_on_with(case, tmp_path, monkeypatch):
    """As a signal stops it: members in flight, states of updates included, are read back of a file."""
    parts, ds = case
    stopped = threading.Event()
    monkeypatch.setattr(local, "stop_on_signal", lambda: contextlib.nullcontext(stopped))
    monkeypatch.setattr(LanePool, "budget", lambda self, *_: 9)
    with pytest.raises(KeyboardInterrupt):
        ens.run(study(*parts), out=tmp_path, engine="xla", on_progress=lambda report: stopped.set())
    with ens.open_dataset(tmp_path) as partial:
        assert np.any(partial["status"] == ens.STATUS["running"])
    stopped.clear()
    assert_same_members(ds, ens.run(study(*parts), out=tmp_path, engine="xla").load())
    sessions = json.loads((tmp_path / "manifest.json").read_text())["sessions"]
    assert len(sessions) == 2 and 0 < sessions[1]["member_steps"] < sum(s["member_steps"] for s in sessions)
