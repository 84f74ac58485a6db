"""A step of lanes in XLA, of any update, penalty, risk and model: every lane takes its own.

What both programs of `xla` are made of: tile by tile on a CPU (`xla.py`), all lanes of a call on an accelerator
(`together.py`).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...dynamics.schedules import halving_factor
from ...dynamics.updates import Clock, Info, Objective
from ...probes import PROBES, Measured, Moment
from ...problem.penalties import anchored
from ...problem.risks import AbstractStochasticRisk, scored
from ..lanes import DIVERGED, RULE_MET, Fixed, Lanes, Moving, StageRow, beside, moving_entries
from ..program import Program, divergence_limit


def stage_values(program: Program, moving: Moving, stage: StageRow) -> tuple[jax.Array, jax.Array]:
    """(η, λ) of every lane at its step."""
    time = moving.step - stage.start_step
    step_size = stage.step_size * halving_factor(time, stage.step_size_every, stage.step_size.dtype)
    decay = stage.decay * halving_factor(time, stage.decay_every, stage.decay.dtype)
    for index, schedule in enumerate(program.schedules, start=1):
        factor = schedule(time).astype(decay.dtype)
        step_size = jnp.where(stage.step_size_shape == index, step_size * factor, step_size)
        decay = jnp.where(stage.decay_shape == index, decay * factor, decay)
    return step_size, decay


def step_of_lane(
    program: Program, risk_as: Callable[[Any], Any], moving: Moving, stage: StageRow, fixed: Fixed, step_size, decay
) -> tuple[Any, Any, Info]:
    """(model, state, what it saw) after the step that a lane's update takes, whether the lane goes or not."""
    update = program.update.with_numbers(stage.numbers["update"])
    penalty = anchored(program.penalty.with_numbers(stage.numbers["penalty"]), moving.anchor)
    risk = _risk(program, stage, fixed)
    risk = risk.of_step(moving.step) if isinstance(risk, AbstractStochasticRisk) else risk_as(risk)
    objective = Objective(risk, penalty, decay, step_size, stage.moves, program.decoupled)
    clock = Clock(moving.step, moving.step - stage.start_step)
    return update.step(moving.model, moving.state, objective, clock)


def take_step(
    program: Program,
    lanes: Lanes,
    goes: jax.Array,
    step_size: jax.Array,
    decay: jax.Array,
    risk_as: Callable[[Any], Any] = lambda risk: risk,
) -> Moving:
    """One step of the lanes that go; those that meet a rule or diverge stay where they are.

    **Arguments:** `risk_as` gives the form of a risk whose gradient is taken: rules and probes keep the member's own.
    """
    moving, stage = lanes.moving, lanes.stage
    stage = stage._replace(moves=moving_entries(stage.moves, moving.anchor, program.keeps_zeros))

    of_lane = functools.partial(step_of_lane, program, risk_as)
    model, state, info = jax.vmap(of_lane)(moving, stage, lanes.fixed, step_size, decay)
    norm = info.gradient_norm
    met = norm <= stage.grad_norm
    if info.begins is not None:
        met &= info.begins
    if program.rules:
        checked = goes & ((moving.step - stage.start_step) % stage.check_every == 0)
        if info.begins is not None:
            checked &= info.begins
        checked &= functools.reduce(jnp.logical_or, [getattr(stage, rule) >= 0.0 for rule in program.rules])
        met |= checked & jax.lax.cond(
            jnp.any(checked),
            functools.partial(_slow_rules, program),
            lambda lanes: jnp.zeros_like(checked),
            lanes,
        )
    finite = norm < divergence_limit(np.dtype(program.dtype))  # False for NaN as well
    met &= finite
    code = jnp.where(goes & met, RULE_MET, jnp.where(goes & ~finite, DIVERGED, moving.code))
    moves = goes & finite & ~met
    over = moves if info.ends is None else moves & info.ends

    def where_moved(moved: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(beside(beside(moves, moved) & moved, old), new, old)

    return moving._replace(
        model=jax.tree.map(where_moved, stage.moves, model, moving.model),
        state=jax.tree.map(lambda new, old: jnp.where(beside(moves, old), new, old), state, moving.state),
        step=moving.step + over.astype(jnp.int32),
        code=code.astype(jnp.int32),
    )


def _risk(program: Program, stage: StageRow, fixed: Fixed) -> Any:
    """What the stage of a lane fits."""
    return fixed.risk.of_target(stage.target) if program.targeted else fixed.risk


def _slow_rules(program: Program, lanes: Lanes) -> jax.Array:
    """Whether a quantity that costs a measurement is within its tolerance, for each lane."""

    def of_lane(moving: Moving, stage: StageRow, fixed: Fixed):
        moment = Moment(
            moving.model, fixed.risk, {}, moving.decay, moving.step_size, stage.moves, fixed.active_threshold
        )
        penalty = anchored(program.penalty.with_numbers(stage.numbers["penalty"]), moving.anchor)
        at = Measured(moment, penalty)
        met = jnp.zeros((), bool)
        for rule in program.rules:
            # The loss alone needs no gradient.
            value = scored(_risk(program, stage, fixed)).value(moving.model) if rule == "loss" else PROBES[rule](at)
            met |= (getattr(stage, rule) >= 0.0) & (value <= getattr(stage, rule))
        return met

    return jax.vmap(of_lane)(*lanes)
