"""The studies whose results are frozen: together they use every part that a study can name.

A case is a study and the engine that runs it. `simd` runs what the vector kernel serves; `reference` runs every
study. Horizons are a few hundred steps at most: rounding is amplified where descent passes a saddle, and on another
processor a longer run could be compared with nothing. Studies share static shapes (m = 4, m* = 2, d = 4 where they
can), and what differs only in its start, teacher or stages is an axis of one study, so that few programs are compiled.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

import ensemble as ens
from ensemble.probes import CERTIFICATE
from tests.studies import USUAL

SHIPPED = Path(__file__).parents[2] / "studies"


class Case(NamedTuple):
    """A study, and the engine that is to run it: `simd` or `reference`."""

    study: ens.Study
    engine: str


def run_with(study: ens.Study, engine: str, **arguments: Any) -> xr.Dataset:
    """`ens.run` of a study by the engine of that name; the one place that knows how an engine is asked for."""
    return ens.run(study, engine=engine, **arguments)


def _study(name: str, **fields: Any) -> ens.Study:
    """A study of the shape that most cases share: 4 students, 2 teachers, 4 inputs, 2 seeds, 5 records."""
    table: dict[str, Any] = {
        "name": name,
        "seeds": 2,
        "records": 5,
        "store_weights": True,
        "probes": USUAL,
        "teacher": _PAIR,
        "student": {"neurons": 4, "start": "balanced"},
        "protocol": {"kind": "fixed_decay", "weight_decay": 0.01, "step_size": 0.2, "steps": 60},
    }
    return ens.Study.model_validate(table | fields)


_OF_TEACHER = {"activation": "abs_centred", "neurons": 2, "inputs": 4}
_PAIR = {"kind": "separated_pairs", "separation": 0.8, **_OF_TEACHER}

_TEACHERS: dict[str, dict[str, Any]] = {
    "orthonormal": {"kind": "orthonormal", **_OF_TEACHER},
    "separated_pairs": _PAIR | {"output_weights": "alternating"},
    "equiangular": {"kind": "equiangular", "separation": 0.7, **_OF_TEACHER, "output_weights": [1.5, -0.5]},
    "random_separated": {
        "kind": "random_separated",
        "rank": 3,
        "separation": 0.5,
        **_OF_TEACHER,
        "output_weights": "random",
    },
    "given": {
        "kind": "given",
        "activation": "abs_centred",
        "a": [1.0, -0.75],
        "W": [[0.6, 0.8, 0.0, 0.1], [-0.2, 0.3, 0.9, 0.0]],
    },
}


def _given_start(neurons: int, inputs: int) -> dict[str, Any]:
    rng = np.random.default_rng(neurons * inputs)
    W = np.round(rng.normal(size=(neurons, inputs)) / np.sqrt(inputs), 3)
    return {"kind": "given", "a": [0.75, -0.5, 0.25, 1.0][:neurons], "W": W.tolist()}


def _starts(neurons: int, inputs: int) -> dict[str, dict[str, Any]]:
    return {
        "symmetric": {"kind": "symmetric", "scale": 0.5},
        "balanced": {"kind": "balanced", "scale": 1.25},
        "xavier": {"kind": "xavier"},
        "near_teacher": {"kind": "near_teacher", "distance": 0.3},
        "given": _given_start(neurons, inputs),
    }


def _axis(field: str, settings: dict[str, Any]) -> dict[str, Any]:
    """An axis whose labels are the names of the settings that one field takes."""
    return {"values": list(settings), "fields": {field: list(settings.values())}}


# -- the studies that ship, with the protocols that they say ------------------------------------------


def _shipped(name: str, max_steps: int, **cells: list) -> ens.Study:
    study = ens.Study.from_toml(SHIPPED / f"{name}.toml").only(**cells)
    return study.replace(seeds=2, records=5, max_steps=max_steps, store_weights=True, probes=USUAL)


def _shipped_studies() -> dict[str, ens.Study]:
    return {
        "recovery": _shipped("recovery", 200, weight_decay=[0.0, 0.03], separation=[0.4]),
        "spurious_minima": _shipped("spurious_minima", 300, k=[7]),
        "stages": _shipped("stages", 150),
        "width": _shipped("width", 300, width=[4, 8], weight_decay=[0.0, 0.03]),
    }


# -- parts --------------------------------------------------------------------------------------------


def _parts() -> dict[str, ens.Study]:
    given = {"kind": "given", "activation": "relu", "a": [1.0, -0.75]}
    rng = np.random.default_rng(3)
    far = {**given, "W": np.round(rng.normal(size=(2, 1000)) / 30, 3).tolist()}
    pair = _PAIR | {"activation": "relu", "inputs": 1000}
    wide = _starts(4, 1000)
    of_given = {name: wide[name] for name in ("balanced", "given")}
    axes = {"start": _axis("student.start", wide)}
    return {
        "starts_and_teachers": _study("starts_and_teachers", axes={"pair": _pairs()}),
        "reduced": _study("reduced", axes=axes, teacher=pair, root_seed=5, **_SHORT),
        "reduced_given_teacher": _study(
            "reduced_given_teacher", axes={"start": _axis("student.start", of_given)}, teacher=far, **_SHORT
        ),
        "activations": _study(
            "activations",
            axes={
                "activation": {"field": "teacher.activation", "values": ["relu", "abs", "relu_even", "linear"]},
                "layers": {"field": "protocol.layers", "values": ["first", "output", "both"]},
            },
            protocol={"kind": "plain", "step_size": 0.1, "steps": 60},
        ),
    }


def _pairs() -> dict[str, Any]:
    """Every start with two teachers, every teacher with two starts: each pair is a program of its own to compile."""
    starts, teachers = _starts(4, 4), list(_TEACHERS)
    chosen = [(s, teachers[(i + k) % len(teachers)]) for i, s in enumerate(starts) for k in (0, 2)]
    fields = {"student.start": [starts[s] for s, _ in chosen], "teacher": [_TEACHERS[t] for _, t in chosen]}
    return {"values": [f"{s}, {t}" for s, t in chosen], "fields": fields}


def _every_pair() -> dict[str, ens.Study]:
    """Every start with every teacher, from a root seed at which no member passes so near a saddle that bits matter."""
    axes = {"start": _axis("student.start", _starts(4, 4)), "teacher": _axis("teacher", _TEACHERS)}
    return {"every_pair": _study("every_pair", axes=axes, root_seed=1)}


_SHORT: dict[str, Any] = {"protocol": {"kind": "fixed_decay", "weight_decay": 0.01, "step_size": 0.1, "steps": 40}}


# -- protocols ----------------------------------------------------------------------------------------

_OPENING = {"first_step_size": 20.0, "fit_decay": 2e-3, "fit_steps": 30, "fit_step_size": 0.01}


def _protocols() -> dict[str, ens.Study]:
    """Every protocol of its own kind; what has only numbers of its own shares the programs."""
    local = {"weight_decay": 0.05, "step_size": 0.1}
    epochs = {"epochs": 3, "epoch_steps": 20}
    protocols = {
        "zhou_ge": {"kind": "zhou_ge", **local, **epochs, "first_step_size": 20.0},
        "zhou_ge_descent": {"kind": "zhou_ge", **local, **epochs, **_OPENING, "fit": "descent"},
        "halving_decay": {"kind": "halving_decay", **local, **epochs},
        "fixed_decay": {"kind": "fixed_decay", **local, "steps": 60},
        "halving_steps": {
            "kind": "fixed_decay",
            **local,
            "steps": 60,
            "step_size_schedule": {"kind": "halving", "every": 25},
            "weight_decay_schedule": {"kind": "halving", "every": 15},
        },
        "plain": {"kind": "plain", "step_size": 0.1, "steps": 60},
        "fixed_first_layer": {"kind": "fixed_first_layer", **local, "steps": 60},
        "fixed_first_layer_descent": {"kind": "fixed_first_layer", **local, **_OPENING, "steps": 30, "fit": "descent"},
        "stages": {"kind": "stages", "stages": _FOUR_STAGES},
    }
    return {"protocols": _study("protocols", axes={"protocol": _axis("protocol", protocols)}, root_seed=11)}


_FOUR_STAGES: list[dict[str, Any]] = [
    {"name": "first", "layers": "first", "step_size": 0.2, "steps": 20},
    {
        "name": "ruled",
        "step_size": 0.2,
        "weight_decay": 0.1,
        "weight_decay_schedule": {"kind": "halving", "every": 10},
        "steps": 200,
        "grad_norm": 0.1,
    },
    {"name": "ridge", "update": "ridge", "layers": "output", "weight_decay": 0.01},
    {"name": "last", "layers": "both", "step_size": 0.1, "weight_decay": 0.01, "steps": 20},
]


# -- rules, divergence, precision ---------------------------------------------------------------------


def _ruled(**rule: Any) -> dict[str, Any]:
    """A rule in the middle of three stages, beside halving schedules of step size and decay."""
    middle = {
        "name": "middle",
        "step_size": 0.3,
        "step_size_schedule": {"kind": "halving", "every": 60},
        "weight_decay": 0.08,
        "weight_decay_schedule": {"kind": "halving", "every": 12},
        "steps": 150,
        "check_every": 5,
        **rule,
    }
    first = {"name": "first", "layers": "first", "step_size": 0.2, "steps": 10}
    last = {"name": "last", "layers": "output", "step_size": 0.1, "weight_decay": 0.01, "steps": 10}
    return {"kind": "stages", "stages": [first, middle, last]}


def _gradient_rules() -> dict[str, ens.Study]:
    protocols = {
        "at_the_end": {
            "kind": "halving_decay", "weight_decay": 0.05, "step_size": 0.2, "epochs": 4, "epoch_steps": 40,
            "grad_norm": 0.03,
        },
        "in_the_middle": _ruled(grad_norm=0.05),
    }  # fmt: skip
    return {
        "gradient_rules": _study("gradient_rules", axes={"rule": _axis("protocol", protocols)}, seeds=4),
        "divergence": _study(
            "divergence",
            axes={"step_size": [0.2, 6.0, 60.0]},
            protocol={"kind": "fixed_decay", "weight_decay": 0.1, "step_size": 0.2, "steps": 60},
        ),
    }


def _slow_rules() -> dict[str, ens.Study]:
    """Rules and schedules that `simd` does not serve."""
    settings = {
        "loss": _ruled(loss=0.02),
        "max_angle": _ruled(max_angle=0.35),
        "all": _ruled(loss=0.005, max_angle=0.2, grad_norm=0.02),
        "zhou_ge": {
            "kind": "zhou_ge", "epochs": 3, "epoch_steps": 40, "first_step_size": 20.0, "max_angle": 0.2, "loss": 1e-4,
        },
    }  # fmt: skip
    return {
        "slow_rules": _study("slow_rules", axes={"rule": _axis("protocol", settings)}, active_threshold=0.05, seeds=3)
    }


def _optax(name: str, **arguments: Any) -> dict[str, Any]:
    return {"kind": "optax", "name": name, "arguments": arguments}


def _schedules() -> dict[str, ens.Study]:
    common = {"kind": "fixed_decay", "weight_decay": 0.05, "step_size": 0.2, "steps": 60}
    cosine = _optax("cosine_decay_schedule", init_value=1.0, decay_steps=60, alpha=0.1)
    steps = _optax("piecewise_constant_schedule", init_value=1.0, boundaries_and_scales={"20": 0.5, "40": 0.25})
    exponential = _optax("exponential_decay", init_value=1.0, transition_steps=20, decay_rate=0.5)
    settings = {
        "step_size": common | {"step_size_schedule": cosine},
        "weight_decay": common | {"weight_decay_schedule": steps},
        "both_beside_a_rule": common
        | {"step_size_schedule": exponential, "weight_decay_schedule": cosine, "grad_norm": 0.05},
        "plain": {"kind": "plain", "step_size": 0.1, "steps": 60, "step_size_schedule": cosine},
    }
    return {"schedules": _study("schedules", axes={"schedule": _axis("protocol", settings)})}


def _other() -> dict[str, ens.Study]:
    """What only the reference serves: activations that are not homogeneous, float32."""
    smooth = {
        "activation": {"field": "teacher.activation", "values": ["erf", "square"]},
        "layers": {"field": "protocol.layers", "values": ["first", "output", "both"]},
    }
    protocol = {"kind": "plain", "step_size": 0.05, "steps": 60}
    float32 = {
        "zhou_ge": {"kind": "zhou_ge", "epochs": 2, "epoch_steps": 20, "first_step_size": 20.0, "step_size": 0.1},
        "halving_decay": {"kind": "halving_decay", "epochs": 2, "epoch_steps": 20, "step_size": 0.1},
    }
    return {
        "smooth": _study("smooth", axes=smooth, protocol=protocol),
        "float32": _study("float32", axes={"protocol": _axis("protocol", float32)}, precision="float32"),
    }


def _certified() -> dict[str, ens.Study]:
    """The certificate, at records and at the end, of stages with and without decay."""
    return {
        "certified": _study(
            "certified",
            probes=("loss", "risk", *CERTIFICATE),
            record_certificate=True,
            records=(0, 7, 40),
            axes={"weight_decay": [0.0, 0.02]},
            protocol={"kind": "halving_decay", "weight_decay": 0.02, "epochs": 2, "epoch_steps": 20},
        )
    }


BOTH = (_shipped_studies, _parts, _protocols, _gradient_rules, _certified)
"""Groups of studies that both engines run."""

REFERENCE = (_slow_rules, _schedules, _other)
"""Groups of studies that the vector kernel does not serve."""

SLOW = (_every_pair,)
"""Groups of studies that both engines run, with many programs to compile: for `make validate`."""


@functools.cache
def _made(make: Callable[[], dict[str, ens.Study]]) -> dict[str, ens.Study]:
    """Both engines run the same studies, which take a while to validate."""
    return make()


@functools.cache
def groups(slow: bool | None = None) -> dict[str, dict[str, Case]]:
    """The cases by group, each in the file of that name; `slow`: only those of `make validate`, or all others."""
    found: dict[str, dict[str, Case]] = {}
    for engine, makers in (("simd", (*BOTH, *SLOW)), ("reference", (*BOTH, *REFERENCE, *SLOW))):
        for make in makers:
            if slow is not None and slow != (make in SLOW):
                continue
            studies = _made(make).items()
            found[f"{engine}_{make.__name__.strip('_')}"] = {name: Case(study, engine) for name, study in studies}
    return found
