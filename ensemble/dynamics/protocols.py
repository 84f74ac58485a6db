"""The classical protocols by name, for Python (`ens.protocols.zhou_ge(…)`) and TOML (`kind = "zhou_ge"`).

    zhou_ge             early feature learning, fit, balance, local convergence under a halving λ
    halving_decay       descent on both layers under a halving λ, from the start as it is
    fixed_decay         descent on both layers under one λ
    plain               descent without weight decay
    fixed_first_layer   the first two stages of zhou_ge, then the output layer alone
    curriculum          teacher neurons one after another, then halving_decay
    gradual_unfreezing  student neurons step by step, then halving_decay
    stages              any list of stages

Each that descends on both layers takes an `update`, a `penalty` and `decay`, as a stage does; arguments that are fields
of a stage are handed on to it.
"""

# pyright: reportInvalidTypeForm=false
# `Update` and `Penalty` are types that the registry makes.

import functools
import inspect
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveFloat, TypeAdapter, validate_call

from ..parts import REGISTRY, is_lenient
from ..problem.penalties import L2
from ..spec import RADIANS, STEPS, Whole, in_path, nearest, no_number, refusal_of, shortened
from .schedules import Halving, Schedule
from .stages import Decay, Layers, Penalty, Protocol, Stage, Update, steps_beside
from .updates import Balance, Descent, Flow, Ridge

Steps = Annotated[int, Field(ge=1, le=2**62), STEPS]
Times = Annotated[int, Field(ge=1, lt=2**31)]
Angle = Annotated[PositiveFloat | None, RADIANS]
_DESCENT, _L2 = Descent(), L2()
_STEPS = 16_000
_OPENING = ("first_step_size", "fit", "fit_decay", "fit_steps", "fit_step_size")
Build = TypeVar("Build", bound=Callable[..., Protocol])


def _named(build: Build) -> Build:
    """Validates the arguments of a protocol's function, and has the protocol remember them by name."""

    @functools.cache
    def checked() -> Callable[..., Protocol]:
        # Made when it is first called: to make those of all protocols takes as long as to import pydantic.
        return validate_call(config=ConfigDict(allow_inf_nan=False))(build)

    @functools.wraps(build)
    def named(**arguments: Any) -> Protocol:
        return checked()(**arguments).called(build.__name__, arguments)

    return cast(Build, named)


def _opening(
    first_step_size: float,
    fit: Literal["ridge", "descent"],
    fit_decay: float,
    fit_steps: int,
    fit_step_size: float,
) -> tuple[Stage, ...]:
    """Early feature learning and the fit of the output layer (stages 1 and 2 of theory.md §5)."""
    # Decay 1/η in the one large step removes the start exactly: W ← W − η(∇L + W/η) = −η∇L.
    early = Stage(name="early", layers="first", step_size=first_step_size, weight_decay=1.0 / first_step_size, steps=1)
    common: dict[str, Any] = {"name": "fit", "layers": "output", "weight_decay": fit_decay}
    if fit == "ridge":
        return early, Stage(update=Ridge(), **common)
    return early, Stage(step_size=fit_step_size, steps=fit_steps, **common)


@_named
def zhou_ge(
    *,
    weight_decay: NonNegativeFloat = 0.05,
    step_size: PositiveFloat = 0.2,
    epochs: Times = 8,
    epoch_steps: Annotated[Times, STEPS] = 2000,
    first_step_size: PositiveFloat = 30.0,
    fit: Literal["ridge", "descent"] = "ridge",
    fit_decay: NonNegativeFloat = 1e-3,
    fit_steps: Times = 1000,
    fit_step_size: PositiveFloat = 0.2,
    loss: PositiveFloat | None = None,
    max_angle: Angle = None,
    update: Update = _DESCENT,
    penalty: Penalty = _L2,
    decay: Decay = "coupled",
) -> Protocol:
    """The staged algorithm of Zhou & Ge 2024 (arXiv 2406.01766; theory.md §5).

    1. `early`: one step of size η₁ = `first_step_size` on the first layer with decay 1/η₁, so that
       W ← −η₁∇_W L and the start is forgotten.
    2. `fit`: the output layer alone, by ridge regression (or descent) with decay `fit_decay`; then `balance`.
    3. `local`: `epochs` epochs of `epoch_steps` steps on both layers by `update`, λ_k = `weight_decay`/2^k; it may
       end earlier, at a `loss` or a `max_angle`.
    """
    fields = dict(locals())
    opening = _opening(**{name: fields.pop(name) for name in _OPENING})
    return Protocol(stages=(*opening, Stage(name="balance", update=Balance()), _halving(**fields)))


@_named
def halving_decay(
    *,
    weight_decay: NonNegativeFloat = 0.05,
    step_size: PositiveFloat = 0.2,
    epochs: Times = 8,
    epoch_steps: Annotated[Times, STEPS] = 2000,
    grad_norm: PositiveFloat | None = None,
    loss: PositiveFloat | None = None,
    max_angle: Angle = None,
    update: Update = _DESCENT,
    penalty: Penalty = _L2,
    decay: Decay = "coupled",
) -> Protocol:
    """Local convergence alone: descent on both layers, λ_k = `weight_decay`/2^k over `epochs` epochs."""
    return Protocol(stages=(_halving(**locals()),))


@_named
def fixed_decay(
    *,
    weight_decay: NonNegativeFloat = 0.01,
    weight_decay_schedule: Schedule | None = None,
    step_size: PositiveFloat = 0.2,
    step_size_schedule: Schedule | None = None,
    steps: Steps = _STEPS,
    time: PositiveFloat | None = None,
    grad_norm: PositiveFloat | None = None,
    loss: PositiveFloat | None = None,
    max_angle: Angle = None,
    update: Update = _DESCENT,
    penalty: Penalty = _L2,
    decay: Decay = "coupled",
) -> Protocol:
    """Descent on both layers under one weight decay λ (times a schedule), for `steps` or until a rule holds.

    `time`, of the update `flow`, is in place of `steps`.
    """
    return Protocol(stages=(_local(**locals()),))


@_named
def plain(
    *,
    step_size: PositiveFloat = 0.2,
    step_size_schedule: Schedule | None = None,
    steps: Steps = _STEPS,
    time: PositiveFloat | None = None,
    layers: Layers = "both",
    grad_norm: PositiveFloat | None = None,
    loss: PositiveFloat | None = None,
    max_angle: Angle = None,
    update: Update = _DESCENT,
) -> Protocol:
    """Plain gradient descent on `layers`, without weight decay, for `steps` or until a rule holds.

    `time`, of the update `flow`, is in place of `steps`.
    """
    return Protocol(stages=(_local(**locals()),))


@_named
def fixed_first_layer(
    *,
    weight_decay: NonNegativeFloat = 0.05,
    step_size: PositiveFloat = 0.2,
    steps: Steps = _STEPS,
    first_step_size: PositiveFloat = 30.0,
    fit: Literal["ridge", "descent"] = "ridge",
    fit_decay: NonNegativeFloat = 1e-3,
    fit_steps: Times = 1000,
    fit_step_size: PositiveFloat = 0.2,
    update: Update = _DESCENT,
    penalty: Penalty = _L2,
    decay: Decay = "coupled",
) -> Protocol:
    """The opening of `zhou_ge`, then descent on the output layer alone, the first layer fixed (§5 iv)."""
    fields = dict(locals())
    opening = _opening(**{name: fields.pop(name) for name in _OPENING})
    return Protocol(stages=(*opening, Stage(name="balance", update=Balance()), _local("output", **fields)))


@_named
def curriculum(
    *,
    order: Annotated[tuple[Whole, ...], Field(min_length=1)],
    cumulative: bool = True,
    stage_steps: Times = 2000,
    weight_decay: NonNegativeFloat = 0.05,
    step_size: PositiveFloat = 0.2,
    epochs: Times = 8,
    epoch_steps: Annotated[Times, STEPS] = 2000,
    update: Update = _DESCENT,
    penalty: Penalty = _L2,
    decay: Decay = "coupled",
) -> Protocol:
    """Teacher neurons one after another, then all of them under a halving λ.

    1. `learn_0`, `learn_1`, …: `stage_steps` steps each at λ = `weight_decay`, the target being the first, the first
       two, … teacher neurons of `order` (with `cumulative = false`: each alone).
    2. `local`: `halving_decay` on the whole teacher.
    """
    if len(set(order)) < len(order):
        raise ValueError(f"order: got {list(order)}; name each teacher neuron once")
    common: dict[str, Any] = {"step_size": step_size, "update": update, "penalty": penalty, "decay": decay}
    learn = tuple(
        Stage(
            name=f"learn_{k}",
            target=order[: k + 1] if cumulative else order[k : k + 1],
            weight_decay=weight_decay,
            steps=stage_steps,
            **common,
        )
        for k in range(len(order))
    )
    local = _halving(epochs=epochs, epoch_steps=epoch_steps, weight_decay=weight_decay, **common)
    return Protocol(stages=(*learn, local))


@_named
def gradual_unfreezing(
    *,
    parts: Annotated[int, Field(ge=2, le=10_000)] = 4,
    stage_steps: Times = 2000,
    weight_decay: NonNegativeFloat = 0.05,
    step_size: PositiveFloat = 0.2,
    epochs: Times = 8,
    epoch_steps: Annotated[Times, STEPS] = 2000,
    update: Update = _DESCENT,
    penalty: Penalty = _L2,
    decay: Decay = "coupled",
) -> Protocol:
    """Student neurons unfrozen step by step, then all of them under a halving λ.

    1. `unfreeze_1`, …, `unfreeze_(parts − 1)`: `stage_steps` steps each at λ = `weight_decay`; in the k-th the first
       k/`parts` of the student's neurons move, the others stay as they started.
    2. `local`: `halving_decay` on all neurons.
    """
    common: dict[str, Any] = {"step_size": step_size, "update": update, "penalty": penalty, "decay": decay}
    unfreeze = tuple(
        Stage(name=f"unfreeze_{k}", neurons=k / parts, weight_decay=weight_decay, steps=stage_steps, **common)
        for k in range(1, parts)
    )
    local = _halving(epochs=epochs, epoch_steps=epoch_steps, weight_decay=weight_decay, **common)
    return Protocol(stages=(*unfreeze, local))


def _local(layers: Layers = "both", *, steps: int, time: float | None = None, **fields: Any) -> Stage:
    # A stored study has the default beside its time.
    if time is not None and steps != _STEPS and isinstance(fields.get("update"), Flow):
        raise ValueError(steps_beside(steps, time))
    return Stage(name="local", layers=layers, steps=steps if time is None else 0, time=time, **fields)


def _halving(*, epochs: int, epoch_steps: int, **fields: Any) -> Stage:
    """Epochs under λ_k = `weight_decay`/2^k."""
    return _local(weight_decay_schedule=Halving(every=epoch_steps), steps=epochs * epoch_steps, **fields)


@_named
def stages(*, stages: Annotated[tuple[Stage, ...], Field(min_length=1)]) -> Protocol:
    """The protocol of exactly these stages."""
    return Protocol(stages=stages)


_ROLES = ("update", "penalty", "schedule")
"""Of parts that a protocol may have."""
_ARGUMENTS = {("curriculum", "target"): "order", ("gradual_unfreezing", "neurons"): "parts"}


def argument(kind: str, field: str) -> str:
    """The path of the argument of a protocol that a field of its stages comes from."""
    return f"protocol.{_ARGUMENTS.get((kind, field), field)}"


PROTOCOLS: dict[str, Callable[..., Protocol]] = {
    f.__name__: f
    for f in (zhou_ge, halving_decay, fixed_decay, plain, fixed_first_layer, curriculum, gradual_unfreezing, stages)
}
_PARTS: dict[str, TypeAdapter] = {
    name: TypeAdapter(kind, config=ConfigDict(defer_build=True))
    for name, kind in (("update", Update), ("penalty", Penalty))
}


def resolve(table: dict[str, Any]) -> tuple[Protocol, dict[str, Any]]:
    """The protocol that a table `{kind = …, arguments …}` names, and the table with all defaults filled in.

    Cells of a study share most of their protocols: the last few tables are resolved once.

    **Raises:** `ValueError` for an unknown kind; `pydantic.ValidationError` for its arguments.
    """
    try:
        text = json.dumps(table)
    except (TypeError, ValueError, RecursionError):  # parts themselves, or what is refused below
        return _resolve(table)
    known = (part for role in _ROLES for part in REGISTRY.get(role, {}).values())
    return _resolved(text, is_lenient(), *known)


@functools.lru_cache(maxsize=1024)
def _resolved(text: str, _lenient: bool, *_known: type) -> tuple[Protocol, dict[str, Any]]:
    return _resolve(json.loads(text))


def _resolve(table: dict[str, Any]) -> tuple[Protocol, dict[str, Any]]:
    arguments = dict(table)
    kind = arguments.pop("kind", None)
    if not isinstance(kind, str) or kind not in PROTOCOLS:
        raise ValueError(
            f"kind: got {shortened(kind)}; known protocols are {', '.join(PROTOCOLS)}{nearest(kind, PROTOCOLS)}"
        )
    build = PROTOCOLS[kind]
    parameters = inspect.signature(build).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    for name, value in arguments.items():
        if name not in defaults:
            there = ", ".join(defaults)
            raise ValueError(
                f"{in_path(name)}: unknown field; the protocol {kind} has {there}{nearest(name, defaults)}"
            )
        if (other := no_number(parameters[name].annotation, value)) is not None:
            raise ValueError(f"{name}: {refusal_of(other)}")
    protocol = build(**arguments)
    filled = {"kind": kind} | {k: v for k, v in (defaults | arguments).items() if v is not None}
    # A part by its name alone is written out, so that its fields have paths that an axis can set.
    return protocol, filled | {k: _PARTS[k].validate_python(filled[k]) for k in _PARTS if k in filled}
