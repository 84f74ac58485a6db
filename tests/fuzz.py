"""Study files at random: valid pieces, and mutations of them, through the command's own path.

A study file is refused in lines that each say a field, or it is run: nothing else may happen.
"""

import copy
import datetime
import inspect
import math
import re
import signal
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import ensemble as ens
import ensemble.__main__ as commands
from ensemble.parts import REGISTRY
from ensemble.plan import groups

SECONDS = 30
"""CPU time that one case may take."""
MOST_SECONDS = 120
"""Time that one case may take on a machine with other work: beyond it, it hangs."""
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


def _parts(table: dict[str, Any]) -> list[tuple[dict[str, Any], list[str]]]:
    """The tables of a study, each with the names of all its fields, used or not."""
    found: list[tuple[dict[str, Any], list[str]]] = [(table, list(ens.Study.model_fields))]
    inner = [("teacher", "teacher"), ("student", "student"), ("student.start", "start"), ("protocol.update", "update")]
    for path, role in inner:
        place: Any = table
        for key in path.split("."):
            place = place.get(key) if isinstance(place, dict) else None
        kind = place.get("kind", "two_layer") if isinstance(place, dict) else None
        if isinstance(kind, str) and kind in REGISTRY[role]:
            found.append((place, list(REGISTRY[role][kind].model_fields)))
    protocol = table.get("protocol")
    if isinstance(protocol, dict) and isinstance(kind := protocol.get("kind"), str) and hasattr(ens.protocols, kind):
        found.append((protocol, list(inspect.signature(getattr(ens.protocols, kind)).parameters)))
        stages = protocol.get("stages")
        fields = list(ens.Stage.model_fields)
        found += [(s, fields) for s in (stages if isinstance(stages, list) else ()) if isinstance(s, dict)]
    return found


def _set(draw: st.DrawFn, table: dict[str, Any], place: Any, key: Any) -> None:
    place[key] = draw(values())


def _drop(draw: st.DrawFn, table: dict[str, Any], place: Any, key: Any) -> None:
    del place[key]


def _add(draw: st.DrawFn, table: dict[str, Any], place: Any, key: Any) -> None:
    if isinstance(place, dict):
        place[draw(st.sampled_from(_NAMES))] = draw(values())


def _number(draw: st.DrawFn, table: dict[str, Any], place: Any, key: Any) -> None:
    """One of the fields that there are, mostly as a number."""
    part, names = draw(st.sampled_from(_parts(table)))
    part[draw(st.sampled_from(names))] = draw(st.sampled_from(_NUMBERS) | st.sampled_from(_NUMBERS) | values())


_EXTREMES: dict[str, list[Any]] = {
    "protocol": [
        *({"step_size": value} for value in (1e300, 1e-300, 5.0, 5)),
        *({"weight_decay": value} for value in (1e300, 1e-320, 0, 5)),
        *({"epochs": value} for value in (1, 10**6, 10**30)),
        *({"epoch_steps": value} for value in (1, 10**9, 2**31 - 1, 2**40)),
        *({"grad_norm": value} for value in (1e300, 1e-300)),
        *({"kind": "plain", "steps": value} for value in (1, 2**31 - 2, 2**31, 2**63)),
        *({"kind": "plain", "loss": value, "steps": 3} for value in (1e300, 1e-300)),
        *(
            {"kind": "fixed_decay", "steps": 3, "weight_decay_schedule": {"kind": "halving", "every": n}}
            for n in (1, 2**31, 2**70)
        ),
        *({"kind": "stages", "stages": [{**_STAGE, "check_every": n, "loss": 1e-3}]} for n in (1, 2**31, 2**70)),
        *({"kind": "stages", "stages": [{**_STAGE, "name": text}]} for text in ("ä b", " ", "x ", "\x00x", "é" * 300)),
        *(
            {"update": {"kind": "adam", **numbers}}
            for numbers in ({"eps": 0.0}, {"b1": 0.0, "b2": 0.0}, {"eps": 1e300})
        ),
    ],
    "teacher": [
        *({"inputs": value} for value in (2, 10**9, 2**53, 2**53 + 1, 10**30)),
        *({"neurons": value} for value in (4, 20_000, 10**30)),
        *({"separation": value} for value in (1e-12, 1e-300, 1.5707963)),
        {"output_weights": [1e300, 1e-300]},
        {"output_weights": [0.0, 0.0]},
    ],
    "student": [
        *({"neurons": value} for value in (1, 17, 20_000, 10**9, 10**30)),
        *({"start": {"kind": "balanced", "scale": value}} for value in (1e-160, 1e160, 1e300, 1e-300)),
        {"start": {"kind": "near_teacher", "distance": 1e300}},
        {"neurons": 2, "start": {"kind": "given", "a": [0.0, 1e300], "W": [[0.0] * 4, [1e-300] * 4]}},
    ],
    "": [
        *({"records": value} for value in (0, [], 100_000, [0, 10**12], [2**31 - 1], [2**31], [2**63], [3, 1, 3])),
        *({"seeds": value} for value in (1, 2 * 10**9, 2**32, 2**32 + 1, 10**30)),
        *({"axes": {"weight_decay": value}} for value in ([1], [1e-300, 1e300], [0, 2**62], [2**64])),
        *(
            {"axes": {"x": {"values": texts, "fields": {"protocol.weight_decay": [0.1, 0.2]}}}}
            for texts in (["", " "], ["x", "x "], ["a", "\x00"], ["ä", "é" * 300], [True, False])
        ),
        *({name: value} for name, value in (("active_threshold", 1e-300), ("root_seed", 2**31 - 1), ("max_steps", 1))),
        *({"question": text} for text in ("", "\x00", "é" * 70_000, "/*{content}*/")),
        {"axes": {name: [i / 300 + 0.01 for i in range(300)] for name in ("weight_decay", "separation", "step_size")}},
    ],
}
"""Changes at the edge of what can be: values as large, small or odd as a field takes, and a little beyond."""


def _extreme(draw: st.DrawFn, table: dict[str, Any], place: Any, key: Any) -> None:
    role = draw(st.sampled_from(sorted(_EXTREMES)))
    change = copy.deepcopy(draw(st.sampled_from(_EXTREMES[role])))
    if role == "":
        table.update(change)
    elif isinstance(table.get(role), dict):
        table[role] = {} if "kind" in change else table[role]
        table[role] |= change


def _axis(draw: st.DrawFn, table: dict[str, Any], place: Any, key: Any) -> None:
    known = table.get("axes") if isinstance(table.get("axes"), dict) else {}
    table["axes"] = {**known, draw(st.sampled_from(_NAMES)): draw(axes())}


def _wrap(draw: st.DrawFn, table: dict[str, Any], place: Any, key: Any) -> None:
    inner = place[key]
    place[key] = draw(st.sampled_from([[inner], {"kind": inner}, [inner, inner]]))


def _swap(draw: st.DrawFn, table: dict[str, Any], place: Any, key: Any) -> None:
    other = draw(st.sampled_from(places(table)))
    place[key] = copy.deepcopy(holder(table, other)[other[-1]])


def _part(draw: st.DrawFn, table: dict[str, Any], place: Any, key: Any) -> None:
    if isinstance(table.get("protocol"), dict):
        known = [("update", u) for u in _UPDATES] + [("step_size_schedule", s) for s in _SCHEDULES]
        name, piece = draw(st.sampled_from([*known, ("penalty", "l2"), ("decay", "decoupled")]))
        table["protocol"][name] = copy.deepcopy(piece)


def _spell(draw: st.DrawFn, table: dict[str, Any], place: Any, key: Any) -> None:
    if isinstance(text := place[key], str):
        half = len(text) // 2
        place[key] = text[:half] + draw(st.sampled_from(["", "x", " ", "é"])) + text[half + 1 :]


MUTATIONS = [
    _extreme,
    _extreme,
    _extreme,
    _set,
    _set,
    _number,
    _number,
    _number,
    _drop,
    _add,
    _axis,
    _wrap,
    _swap,
    _part,
    _spell,
]


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """A study's table: right, or wrong in one to three places."""
    table = base()
    for name in draw(st.lists(st.sampled_from(sorted(_FIELDS)), max_size=1)):
        table[name] = copy.deepcopy(draw(st.sampled_from(_FIELDS[name])))
    if draw(st.integers(0, 3)) == 0:
        names = draw(st.lists(st.sampled_from(sorted(_AXES)), max_size=2, unique=True))
        table["axes"] = {name: copy.deepcopy(_AXES[name]) for name in names}
    for mutate in draw(st.lists(st.sampled_from(MUTATIONS), max_size=3)) or [draw(st.sampled_from(MUTATIONS))]:
        if known := places(table):
            path = draw(st.sampled_from(known))
            mutate(draw, table, holder(table, path), path[-1])
    return table


_SCRIBBLES = ["", "=", "[", "]", '"', "\n", "\x00", "9" * 5000, "[[a]]\n", "[" * 5000]


@st.composite
def files(draw: st.DrawFn) -> str:
    """A study file: a table as TOML, now and then with a few characters changed."""
    text = tomli_w.dumps(draw(tables()))
    if draw(st.integers(0, 19)) == 0:
        where = draw(st.integers(0, len(text)))
        text = text[:where] + draw(st.sampled_from(_SCRIBBLES)) + text[where + draw(st.integers(0, 3)) :]
    return text


# -- what must come of it ------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What came of a study file: what was said; `fault` is empty where that is as it should be."""

    said: str
    fault: str = ""


class Fuzzed:
    """Runs study files through the command, in a folder of its own for each.

    `most_structures`: how many kinds of members are compiled and run; studies of further ones are planned only.
    """

    def __init__(self, folder: Path, most_structures: int):
        self.folder, self.most = folder, most_structures
        self.structures: set[Any] = set()
        self.count = 0

    def outcome(self, text: str) -> Outcome:
        self.count += 1
        folder = self.folder / str(self.count)
        folder.mkdir(parents=True)
        path = folder / "mine.toml"
        path.write_text(text, encoding="utf-8")
        before = signal.signal(signal.SIGALRM, _hangs)
        signal.alarm(MOST_SECONDS)
        begun = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ens.StudyWarning)
                found = self._outcome(path, folder / "out")
        except Exception as error:
            return Outcome("", "".join(traceback.format_exception(error)))
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        took = time.process_time() - begun
        return found if took <= SECONDS else Outcome(found.said, f"took {took:.0f} s")

    def _outcome(self, path: Path, out: Path) -> Outcome:
        shown = RUNNER.invoke(commands.app, ["show", str(path)])
        if shown.exit_code:
            return _refused(shown)
        study = ens.Study.from_toml(path)
        if not self._affords(study):
            return Outcome("planned")
        small = study.members <= 64 and max(map(study.member_cap, (p.cell for p in study.points))) <= MOST_WORK
        if small:
            ran = RUNNER.invoke(commands.app, ["run", str(path), "--out", str(out)])
            return _refused(ran) if ran.exit_code else Outcome("run")
        try:
            ens.run(study.replace(seeds=1, axes={}, max_steps=min(study.max_steps or 5, 5), records=(0, 1)))
        except ens.StudyError as error:
            return Outcome(f"error: {error}")
        return Outcome("run in part")

    def _affords(self, study: ens.Study) -> bool:
        probes = study.precision, study.stored_probes, study.recorded_probes, bool(study.record_steps)
        needed = {(group.structure, *probes) for group in groups(study)}
        if len(self.structures | needed) > self.most:
            return needed <= self.structures
        self.structures |= needed
        return True


def fuzz(folder: Path, examples: int, most_structures: int) -> Counter[str]:
    """Tries study files, the same ones every time; how many came to what.

    Raises an `AssertionError` with the smallest file that fails.
    """
    fuzzed, came = Fuzzed(folder, most_structures), Counter[str]()

    @settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(files())
    def tried(text: str) -> None:
        found = fuzzed.outcome(text)
        assert not found.fault, f"{found.fault}\n{text}"
        came[found.said.split()[0]] += 1

    tried()
    return came


def _hangs(*_: Any) -> None:
    raise TimeoutError(f"more than {MOST_SECONDS} s")


RUNNER = CliRunner()


def _refused(result: Any) -> Outcome:
    """What a command said that ended with a message: lines that begin with a field of the study, and nothing else."""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return Outcome("", "".join(traceback.format_exception(*result.exc_info)))
    said = result.output[result.output.find("error: ") :].strip()
    if result.exit_code != 2 or not said.startswith("error: ") or len(said) > 4000:
        return Outcome(said, f"exit {result.exit_code}: {said}")
    for line in said.removeprefix("error: ").splitlines():
        rest = re.sub(r"^\S+mine\.toml: ", "", line)
        field = re.split(r"[.:]", rest)[0]
        known = field in ens.Study.model_fields or "unknown field" in rest
        if not (known or rest.startswith(("is not valid TOML", "cannot be read"))):
            return Outcome(said, f"names no field: {line}")
    return Outcome(said)
