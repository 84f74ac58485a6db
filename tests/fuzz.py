"""Study files at random: valid pieces, and mutations of them, through the command's own path.

A study file is refused in lines that each say a field, or it is run: nothing else may happen.
"""

import copy
import datetime
import math
import re
import signal
import traceback
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w
from hypothesis import strategies as st
from typer.testing import CliRunner

import ensemble as ens
import ensemble.__main__ as commands

SECONDS = 30
"""What one case may take."""
MOST_WORK = 3000
"""Member-steps of a study that is run as it is; of a larger one, one member is run for a few steps."""

# -- valid pieces --------------------------------------------------------------------------------------

_PAIRS = {"kind": "separated_pairs", "activation": "abs_centred", "neurons": 2, "inputs": 4, "separation": 0.8}
_TEACHERS = [
    {"kind": "orthonormal", "activation": "abs_centred", "neurons": 2, "inputs": 4},
    {"kind": "equiangular", "activation": "relu", "neurons": 2, "inputs": 4, "separation": 0.8},
    {"kind": "random_separated", "activation": "abs", "neurons": 2, "inputs": 4, "rank": 3, "separation": 0.3},
    {"kind": "given", "activation": "abs_centred", "a": [1.0, 1.0], "W": [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]},
    {**_PAIRS, "rotation": "random", "output_weights": "alternating"},
    {**_PAIRS, "inputs": 50},
    {**_PAIRS, "activation": "erf"},
]
_STARTS = [
    "balanced",
    "symmetric",
    "xavier",
    {"kind": "balanced", "scale": 0.5},
    {"kind": "near_teacher", "distance": 0.1},
    {"kind": "given", "a": [1.0, -1.0], "W": [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]},
]
_HALVING = {"kind": "halving_decay", "weight_decay": 0.05, "epochs": 2, "epoch_steps": 5}
_STAGE = {"name": "one", "layers": "both", "step_size": 0.1, "weight_decay": 0.01, "steps": 4}
_PROTOCOLS = [
    {"kind": "zhou_ge", "epochs": 2, "epoch_steps": 4},
    {"kind": "zhou_ge", "epochs": 1, "epoch_steps": 4, "fit": "descent", "fit_steps": 3},
    {"kind": "fixed_decay", "steps": 6, "weight_decay": 0.1, "grad_norm": 1e-3},
    {"kind": "fixed_decay", "steps": 6, "weight_decay_schedule": {"kind": "halving", "every": 2}},
    {"kind": "plain", "steps": 6, "layers": "first", "step_size": 0.05},
    {"kind": "plain", "steps": 6, "loss": 1e-3, "max_angle": 0.1},
    {"kind": "fixed_first_layer", "steps": 6},
    {"kind": "stages", "stages": [_STAGE, {**_STAGE, "name": "two", "layers": "output"}]},
    {"kind": "stages", "stages": [_STAGE, {"name": "even", "update": "balance"}, {**_STAGE, "name": "two"}]},
]
_UPDATES = [
    "descent",
    "adam",
    "proximal",
    "ridge",
    {"kind": "momentum", "momentum": 0.5},
    {"kind": "optax", "name": "lion", "arguments": {"b1": 0.8}},
    {"kind": "optax", "name": "sgd", "arguments": {"learning_rate": 0.1}},
]
_SCHEDULES = [
    {"kind": "halving", "every": 3},
    {"kind": "optax", "name": "cosine_decay_schedule", "arguments": {"init_value": 1.0, "decay_steps": 5}},
    {
        "kind": "optax",
        "name": "piecewise_constant_schedule",
        "arguments": {"init_value": 1.0, "boundaries_and_scales": {"2": 0.5}},
    },
]
_AXES = {
    "weight_decay": [0.0, 0.05],
    "separation": [0.4, 0.8],
    "width": {"field": "student.neurons", "values": [2, 3]},
    "both": {"values": [1, 2], "fields": {"teacher.separation": [0.3, 0.4], "protocol.step_size": [0.1, 0.2]}},
    "start": {"field": "student.start", "values": ["balanced", "xavier"]},
    "layers": ["first", "both"],
    "momentum": [0.1, 0.5],
}
_FIELDS: dict[str, list[Any]] = {
    "teacher": _TEACHERS,
    "student": [{"neurons": 2, "start": start} for start in _STARTS] + [{"neurons": 3, "extra_neurons": 1}],
    "protocol": _PROTOCOLS,
    "records": [0, 1, 3, 1000, [0, 2, 5], []],
    "probes": [["loss"], ["mass", "angle", "owner"], ["gap"], []],
    "precision": ["float64", "float32"],
    "coordinates": ["full", "reduced", "auto"],
    "store_weights": [True, False],
    "max_steps": [1, 3, 100],
    "root_seed": [0, 7, 2**31 - 1],
    "seeds": [1, 2, 3],
    "active_threshold": [0.5, 1e-9],
    "record_certificate": [True],
    "question": ["?", "/*{content}*/"],
    "name": ["mine", "a-b.c"],
    "parts": [[]],
}


def base() -> dict[str, Any]:
    """Two cells of two seeds, ten steps: what most cases are made of, so that few programs are compiled."""
    return copy.deepcopy(
        {
            "seeds": 2,
            "records": 3,
            "probes": ["loss", "max_angle"],
            "teacher": _PAIRS,
            "student": {"neurons": 3, "start": "balanced"},
            "protocol": _HALVING,
            "axes": {"weight_decay": [0.0, 0.05]},
        }
    )


_NAMES = sorted(
    {
        *_FIELDS,
        *_AXES,
        *(name for piece in [*_TEACHERS, *_PROTOCOLS, _STAGE] for name in piece),
        *("kind", "update", "penalty", "decay", "keep_state", "start", "field", "fields", "values", "units", "steps"),
        *("loss", "loss_stage", "loss_history", "seed", "record", "input", "share", "step_size_schedule", "a", "W"),
        *("check_every", "layers", "inputs", "scale", "sep", "Neurons", "weight-decay", "", "é", "a.b", "0", "self"),
        *("momentum", "b1", "eps", "arguments", "stages", "update.kind", "__class__", "model_config", "text", "hash"),
    }
)
_NUMBERS = [0, 1, 2, 3, 5, -1, 1.0, 0.5, -0.5, 1e-300, 1e300, math.inf, -math.inf, math.nan, 2**31 - 1, 2**31, 2**32]
_NUMBERS += [2**63 - 1, 2**63, -(2**63), 10**30, 20_000, 10**6, 2 * 10**9, 10**400]
_TEXTS = [
    "",
    "x",
    "12",
    "0.1",
    "nan",
    "true",
    "balanced",
    "relu",
    "loss",
    "halving_decay",
    "all",
    "ä",
    "a\nb",
    "\x7f",
    "é" * 300,
]
_PATHS = [
    *("teacher", "student", "protocol", "teacher.kind", "teacher.separation", "student.start", "student.start.scale"),
    *("student.neurons", "protocol.stages.0.steps", "protocol.stages.9.steps", "protocol.stages.x", "protocol.update"),
    *(
        "seeds",
        "precision",
        "axes",
        "protocol.",
        ".",
        "teacher.separation.x",
        "protocol.weight_decay",
        "protocol.steps",
    ),
    *(
        "protocol.weight_decay_schedule",
        "protocol.update.momentum",
        "student.inputs",
        "teacher.inputs",
        "protocol.kind",
    ),
]


def scalars() -> st.SearchStrategy[Any]:
    dates = st.sampled_from([datetime.date(2020, 1, 1), datetime.time(1, 2), datetime.datetime(2020, 1, 1, 1)])
    return st.one_of(
        st.sampled_from(_NUMBERS), st.sampled_from(_TEXTS), st.booleans(), st.integers(), st.floats(), dates
    )


def junk() -> st.SearchStrategy[Any]:
    """Anything that TOML can say."""
    return st.recursive(
        scalars(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=3),
        max_leaves=5,
    )


def pieces() -> st.SearchStrategy[Any]:
    """Something that is right somewhere."""
    known = [*_TEACHERS, *_STARTS, *_PROTOCOLS, *_UPDATES, *_SCHEDULES, *_AXES.values(), _STAGE, [_STAGE]]
    return st.sampled_from(known).map(copy.deepcopy)


def values() -> st.SearchStrategy[Any]:
    return st.one_of(scalars(), scalars(), pieces(), junk())


def axes() -> st.SearchStrategy[Any]:
    """An axis, hardly ever a right one."""
    settings = st.dictionaries(st.sampled_from(_PATHS), st.lists(values(), max_size=3) | values(), max_size=2)
    table = st.fixed_dictionaries(
        {},
        optional={
            "values": st.lists(scalars(), max_size=3) | values(),
            "field": st.sampled_from(_PATHS) | values(),
            "fields": settings | values(),
            "units": values(),
        },
    )
    numbers = st.lists(st.sampled_from(_NUMBERS), min_size=1, max_size=3)
    return st.one_of(table, table, numbers, values(), st.sampled_from([*_AXES.values()]).map(copy.deepcopy))


# -- mutations -----------------------------------------------------------------------------------------


def places(table: Any, path: tuple = ()) -> list[tuple]:
    """Paths of everything in a table."""
    items = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
    return [p for key, inner in items for p in ((*path, key), *places(inner, (*path, key)))]


def holder(table: Any, path: tuple) -> Any:
    for key in path[:-1]:
        table = table[key]
    return table


def at(table: Any, path: tuple) -> Any:
    return holder(table, path)[path[-1]]


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """A study's table: right, or wrong in one to three places."""
    table = base()
    for name in draw(st.lists(st.sampled_from(sorted(_FIELDS)), max_size=2)):
        table[name] = copy.deepcopy(draw(st.sampled_from(_FIELDS[name])))
    if draw(st.integers(0, 3)) == 0:
        table["axes"] = draw(st.dictionaries(st.sampled_from(sorted(_AXES)), st.none(), max_size=2))
        table["axes"] = {name: copy.deepcopy(_AXES[name]) for name in table["axes"]}
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 1, 2, 2, 3]))):
        known = places(table)
        if not known:
            break
        path = draw(st.sampled_from(known))
        place = holder(table, path)
        kind = draw(
            st.sampled_from(["value", "value", "value", "drop", "add", "add", "axis", "wrap", "swap", "part", "text"])
        )
        if kind == "value":
            place[path[-1]] = draw(values())
        elif kind == "drop":
            del place[path[-1]]
        elif kind == "add" and isinstance(place, dict):
            place[draw(st.sampled_from(_NAMES))] = draw(values())
        elif kind == "axis":
            name = draw(st.sampled_from(_NAMES))
            table["axes"] = (table.get("axes") if isinstance(table.get("axes"), dict) else {}) | {name: draw(axes())}
        elif kind == "wrap":
            place[path[-1]] = draw(
                st.sampled_from([[place[path[-1]]], {"kind": place[path[-1]]}, [place[path[-1]]] * 2])
            )
        elif kind == "swap":
            other = draw(st.sampled_from(known))
            place[path[-1]] = copy.deepcopy(at(table, other))
        elif kind == "part" and isinstance(table.get("protocol"), dict):
            name, piece = draw(
                st.sampled_from(
                    [("update", u) for u in _UPDATES]
                    + [("step_size_schedule", s) for s in _SCHEDULES]
                    + [("penalty", "l2"), ("decay", "decoupled")]
                )
            )
            table["protocol"][name] = copy.deepcopy(piece)
        elif kind == "text" and isinstance(place[path[-1]], str):
            text = place[path[-1]]
            place[path[-1]] = (
                text[: len(text) // 2] + draw(st.sampled_from(["", "x", " ", "é"])) + text[len(text) // 2 + 1 :]
            )
    return table


@st.composite
def files(draw: st.DrawFn) -> str:
    """A study file: a table as TOML, now and then with a few characters changed."""
    text = tomli_w.dumps(draw(tables()))
    if draw(st.integers(0, 19)) == 0:
        where = draw(st.integers(0, len(text)))
        text = (
            text[:where]
            + draw(st.sampled_from(["", "=", "[", "]", '"', "\n", "\x00", "9" * 5000, "[[a]]\n"]))
            + text[where + draw(st.integers(0, 3)) :]
        )
    return text


# -- what must come of it ------------------------------------------------------------------------------


class Slow(Exception):
    """A case that took longer than it may."""


def _alarm(*_: Any) -> None:
    raise Slow(f"more than {SECONDS} s")


RUNNER = CliRunner()
_LINE = re.compile(r"error: (?P<where>\S+\.toml): (?P<rest>.+)|[\w.\- ]+: .+|\S.*")


class Outcome(NamedTuple):
    """What came of a study file: refused, planned or run; else `fault` says what."""

    said: str
    fault: str = ""


def outcome(text: str, folder: Path, runs: bool = True) -> Outcome:
    """Writes a study file, and has the command run it, within `SECONDS`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    before = signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ens.StudyWarning)
            return _outcome(path, folder / "out", runs)
    except Exception as error:
        return Outcome("", "".join(traceback.format_exception(error)))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _outcome(path: Path, out: Path, runs: bool) -> Outcome:
    shown = RUNNER.invoke(commands.app, ["show", str(path)])
    if shown.exit_code:
        return _refused(path, shown)
    study = ens.Study.from_toml(path)
    if not runs:
        return Outcome("planned")
    if study.members * max(study.member_cap(p.cell) for p in study.points) <= MOST_WORK and study.members <= 64:
        ran = RUNNER.invoke(commands.app, ["run", str(path), "--out", str(out)])
        return _refused(path, ran) if ran.exit_code else Outcome("run")
    try:
        study = study.replace(
            seeds=1,
            axes={},
            max_steps=min(study.max_steps or 5, 5),
            records=min(3, study.records if isinstance(study.records, int) else 3),
        )
        ens.run(study)
    except ens.StudyError as error:
        return Outcome(f"error: {error}")
    return Outcome("run in part")


def _refused(path: Path, result: Any) -> Outcome:
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return Outcome("", "".join(traceback.format_exception(*result.exc_info)))
    said = result.output.strip()
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    if result.exit_code != 2 or not lines or len(said) > 3000:
        return Outcome(said, f"exit {result.exit_code}")
    return Outcome(said)
