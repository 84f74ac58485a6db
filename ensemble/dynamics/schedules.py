"""Schedules: factors by which a stage's step size or weight decay changes from step to step.

A schedule multiplies the stage's value: λ(t) = weight_decay · schedule(t), t counted from the start of the
stage. The value stays a traced number (an axis over it compiles nothing new).

    halving   λ_k = λ_0 / 2^k in epoch k = ⌊t / every⌋ (theory.md §5)
    optax     any schedule of optax, by name and with its arguments, its initial value 1
"""

import abc
import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from pydantic import Field, model_validator

from ..parts import Part, chosen, register
from ..spec import not_finite

if TYPE_CHECKING:  # imported where a schedule of optax is asked for: other studies start sooner without
    import optax


class AbstractSchedule(Part):
    """A factor on a stage's number: 1 at the stage's first step, as a rule."""

    role: ClassVar[str] = "schedule"

    @abc.abstractmethod
    def __call__(self, step: jax.Array) -> jax.Array:
        """The factor at a step, counted from the start of the stage."""


@register
class Halving(AbstractSchedule):
    """1/2^k in epoch k = ⌊t / every⌋."""

    kind: Literal["halving"] = "halving"
    every: Annotated[int, Field(ge=1, lt=2**31)]

    def __call__(self, step: jax.Array) -> jax.Array:
        return halving_factor(step, jnp.asarray(self.every))


@register
class Optax(AbstractSchedule):
    """A schedule of optax by name, such as `cosine_decay_schedule`, with its keyword arguments."""

    kind: Literal["optax"] = "optax"
    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)

    def __call__(self, step: jax.Array) -> jax.Array:
        # optax mixes counts with its own floats; a float count gives the same values.
        return jnp.asarray(self._schedule()(step.astype(float)))

    def _schedule(self) -> "optax.Schedule":
        import optax

        return getattr(optax.schedules, self.name)(**{k: _with_int_keys(v) for k, v in self.arguments.items()})

    @model_validator(mode="after")
    def _check(self):
        if self.name not in (known := _optax_schedules()):
            raise ValueError(f"name: got {self.name!r}; optax.schedules has {', '.join(known)}")
        if (wrong := not_finite(self.arguments, "arguments")) is not None:
            raise ValueError(f"{wrong[0]}: got {wrong[1]}; give a finite number")
        try:
            first = float(self(jnp.asarray(0)))
        except (TypeError, ValueError) as error:
            raise ValueError(f"arguments: optax.schedules.{self.name} refuses {self.arguments}: {error}") from None
        if not math.isfinite(first) or first < 0:
            raise ValueError(f"arguments: optax.schedules.{self.name} starts at {first}; it must be ≥ 0")
        return self


def _optax_schedules() -> tuple[str, ...]:
    """The names that `Optax` takes."""
    import optax

    return tuple(name for name in dir(optax.schedules) if name.endswith(("_schedule", "exponential_decay")))


def _with_int_keys(value: Any) -> Any:
    """Tables whose keys are step counts (`boundaries_and_scales`): TOML and JSON know text keys only."""
    if isinstance(value, dict) and all(str(k).isdigit() for k in value):
        return {int(k): v for k, v in value.items()}
    return value


Schedule = chosen(AbstractSchedule)


def halving_factor(step: jax.Array, every: jax.Array, dtype: DTypeLike = jnp.float64) -> jax.Array:
    """2^−⌊step/every⌋, exactly; 1 where every = 0, and 0 under the smallest normal number."""
    epoch = jnp.where(every > 0, step // jnp.maximum(every, 1), 0)
    # From the bits of its exponent: a power is a program of its own on an accelerator.
    real = jnp.finfo(dtype)
    exponent = jnp.maximum(1 - int(real.minexp) - epoch, 0)
    bits = exponent.astype(jnp.int64 if real.bits == 64 else jnp.int32) << int(real.nmant)
    return jax.lax.bitcast_convert_type(bits, dtype)
