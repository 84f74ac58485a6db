"""Every registered teacher, start, activation and protocol: a member's bits depend on nothing but the member.

Each case takes the next of every list, so that all are in some case; every pair would be hundreds of programs.
"""

from itertools import cycle, islice
from typing import Any

import numpy as np
import pytest

import ensemble as ens
import ensemble.engine.kernels.base as kernels
from ensemble.dynamics.protocols import PROTOCOLS
from ensemble.engine.pools import LanePool
from ensemble.parts import REGISTRY, is_own
from ensemble.problem.starts import AbstractStart
from ensemble.problem.teachers import AbstractTwoLayerTeacher
from tests.helpers import assert_same_members

TEACHERS: dict[str, dict[str, Any]] = {
    "orthonormal": {},
    "separated_pairs": {"separation": 0.8},
    "equiangular": {"separation": 0.7},
    "random_separated": {"rank": 3, "separation": 0.5},
    "two_tasks": {"task_angle": 0.5},
    "given": {"a": [1.0, -0.75], "W": [[0.6, 0.8, 0.0, 0.1], [-0.2, 0.3, 0.9, 0.0]]},
}
STARTS: dict[str, dict[str, Any]] = {
    "symmetric": {},
    "balanced": {},
    "xavier": {},
    "near_teacher": {"distance": 0.3},
    "given": {
        "a": [0.75, -0.5, 0.25, 1.0],
        "W": [[0.5, 0.1, -0.2, 0.3], [0.2, -0.4, 0.1, 0.0], [-0.3, 0.2, 0.6, 0.1], [0.0, 0.3, -0.1, 0.4]],
    },
}
_STAGES = [
    {"name": "by norm", "step_size": 0.1, "steps": 30, "grad_norm": 0.1},
    {"name": "with decay", "step_size": 0.05, "steps": 20, "weight_decay": 0.02},
]
PROTOCOL_FIELDS: dict[str, dict[str, Any]] = {
    "zhou_ge": {"epochs": 2, "epoch_steps": 15, "first_step_size": 5.0},
    "halving_decay": {"epochs": 2, "epoch_steps": 20, "grad_norm": 0.02},
    "fixed_decay": {"steps": 40, "grad_norm": 0.02},
    "plain": {"steps": 40, "grad_norm": 0.05},
    "fixed_first_layer": {"steps": 30, "first_step_size": 5.0},
    "curriculum": {"order": [1, 0], "stage_steps": 12, "epochs": 2, "epoch_steps": 8},
    "gradual_unfreezing": {"parts": 3, "stage_steps": 12, "epochs": 2, "epoch_steps": 8},
    "stages": {"stages": _STAGES},
}


def own(role: str, base: type = object) -> list[str]:
    """What the package registers of a role, of two-layer problems."""
    return [n for n, part in REGISTRY[role].items() if is_own(part) and (base is object or issubclass(part, base))]


WITH_NUMBERS: dict[str, dict[str, Any]] = {
    "leaky_relu": {"slope": 0.2},
    "polynomial": {"coefficients": [0.1, 0.5, 0.2]},
    "silu": {"largest_norm": 2.0, "error": 1e-9},
}
"""Activations that are chosen by a table."""
ALIKE = {"sin": "erf", "gelu": "erf", "h2": "polynomial", "h3": "polynomial", "tanh": "silu", "sigmoid": "silu"}
ALIKE |= {"softplus": "silu"}
"""What an activation has in common with another one but its formula: that one stands for both."""
EXAMPLES = {"teacher": TEACHERS, "start": STARTS, "protocol": PROTOCOL_FIELDS}
NAMES = {
    "teacher": own("teacher", AbstractTwoLayerTeacher),
    "start": own("start", AbstractStart),
    "activation": [name for name in own("activation") if name not in ALIKE],
    "protocol": [*PROTOCOLS],
}
ROWS = islice(zip(*map(cycle, NAMES.values()), strict=True), max(map(len, NAMES.values())))
# Balancing rescales neurons, which is refused where that changes the function.
CASES = [
    (t, s, a, "stages" if p in ("zhou_ge", "fixed_first_layer") and not REGISTRY["activation"][a].homogeneous else p)
    for t, s, a, p in ROWS
]


def study(teacher: str, start: str, activation: str, protocol: str, seeds: int = 5) -> ens.Study:
    sigma = {"kind": activation} | WITH_NUMBERS[activation] if activation in WITH_NUMBERS else activation
    shape = {} if teacher == "given" else {"neurons": 2, "inputs": 4}
    return ens.Study.model_validate(
        {
            "name": "combination",
            "seeds": seeds,
            "records": [0, 5, 25],
            "probes": ["loss", "max_angle"],
            "store_weights": True,
            "teacher": {"kind": teacher, "activation": sigma, **shape, **TEACHERS[teacher]},
            "student": {"neurons": 4, "start": {"kind": start, **STARTS[start]}},
            "protocol": {"kind": protocol, **PROTOCOL_FIELDS[protocol]},
        }
    )


@pytest.mark.parametrize("role", EXAMPLES)
def test_every_registered_name_has_an_example(role):
    assert set(EXAMPLES[role]) == set(NAMES[role]), f"a new {role} needs an example here, to be tested"


def test_every_registered_name_is_in_a_case():
    for role, names in zip(NAMES, zip(*CASES, strict=True), strict=True):
        assert set(names) == set(NAMES[role])


@pytest.mark.parametrize("case", CASES, ids=", ".join)
def test_seeds_alone_refill_and_budget_change_nothing(case, monkeypatch):
    ds = ens.run(study(*case))
    assert np.all(ds["status"] >= ens.STATUS["converged"])
    assert_same_members(ens.run(study(*case, seeds=1)), ds)
    monkeypatch.setattr(kernels, "_MOST_LANES", 16)
    monkeypatch.setattr(LanePool, "budget", lambda self, *_: 7)
    assert_same_members(ds, ens.run(study(*case, seeds=40)))
