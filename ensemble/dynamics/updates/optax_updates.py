"""Updates that optax defines, with optax's own names of their numbers (theory.md §7)."""

import abc
import contextlib
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from pydantic import Field, PrivateAttr, model_validator

from ...spec import not_finite
from .base import AbstractGradientUpdate, AbstractSteppedUpdate, drift

if TYPE_CHECKING:  # each function that needs optax imports it: a study of plain descent starts sooner without
    import optax

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]


@contextlib.contextmanager
def promotion() -> Iterator[None]:
    """optax mixes counts, Python's floats and arrays as JAX does by default, whatever the caller's own rules."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


class AbstractOptaxUpdate(AbstractGradientUpdate):
    """θ ← θ − η u, where u is what an optax transformation makes of the gradient."""

    @abc.abstractmethod
    def transformation(self) -> "optax.GradientTransformation":
        """The transformation, at this update's numbers."""

    def init(self, model):
        with promotion():
            return self.transformation().init(model)

    def amount(self, gradient, state, model, step_size):
        with promotion():
            direction, state = self.transformation().update(gradient, state, model)
        return jax.tree.map(lambda u: step_size * u, direction), state


class Momentum(AbstractOptaxUpdate):
    """Heavy ball: v ← g + μv, θ ← θ − ηv; stable at a curvature ℓ for ηℓ ≤ 2(1 + μ)."""

    kind: Literal["momentum"] = "momentum"
    rotation_equivariant: ClassVar[bool] = True
    momentum: Share = 0.9

    def limit(self):
        return 2.0 * (1.0 + self.momentum)

    def transformation(self):
        import optax

        return optax.trace(decay=self.momentum)


class Nesterov(AbstractOptaxUpdate):
    """Nesterov's momentum: v ← g + μv, θ ← θ − η(g + μv); stable at ℓ for ηℓ ≤ 2(1 + μ)/(1 + 2μ)."""

    kind: Literal["nesterov"] = "nesterov"
    rotation_equivariant: ClassVar[bool] = True
    momentum: Share = 0.9

    def limit(self):
        return 2.0 * (1.0 + self.momentum) / (1.0 + 2.0 * self.momentum)

    def transformation(self):
        import optax

        return optax.trace(decay=self.momentum, nesterov=True)


class AbstractPreconditioned(AbstractOptaxUpdate):
    """An update whose stability depends on what it divides by, which the run itself decides."""

    def limit(self):
        return None


class AbstractAdam(AbstractPreconditioned):
    """What Adam is, with its decay coupled or not."""

    b1: Share = 0.9
    b2: Share = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0

    def transformation(self):
        import optax

        return optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps, eps_root=self.eps_root)


class Adam(AbstractAdam):
    """Adam (Kingma & Ba 2015): θ ← θ − η m̂/(√(v̂ + eps_root) + eps), coordinate by coordinate."""

    kind: Literal["adam"] = "adam"


class AdamW(AbstractAdam):
    """Adam whose decay is decoupled, whatever the stage says (Loshchilov & Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    always_decoupled: ClassVar[bool] = True


class RMSProp(AbstractPreconditioned):
    """RMSprop: v ← ρv + (1 − ρ)g², θ ← θ − η g/√(v + eps), with ρ = `decay`."""

    kind: Literal["rmsprop"] = "rmsprop"
    decay: Share = 0.9
    eps: NonNegative = 1e-8
    initial_scale: NonNegative = 0.0
    centered: bool = False

    def transformation(self):
        import optax

        scale = optax.scale_by_stddev if self.centered else optax.scale_by_rms
        return scale(decay=self.decay, eps=self.eps, initial_scale=self.initial_scale)


class AdaGrad(AbstractPreconditioned):
    """AdaGrad (Duchi et al. 2011): s ← s + g², θ ← θ − η g/√(s + eps)."""

    kind: Literal["adagrad"] = "adagrad"
    initial_accumulator_value: NonNegative = 0.1
    eps: NonNegative = 1e-7

    def transformation(self):
        import optax

        return optax.scale_by_rss(initial_accumulator_value=self.initial_accumulator_value, eps=self.eps)


class Sign(AbstractPreconditioned):
    """Sign descent: θ ← θ − η sign(g), with sign(0) = 0."""

    kind: Literal["sign"] = "sign"

    def transformation(self):
        import optax

        return optax.scale_by_sign()


class OptaxUpdate(AbstractGradientUpdate):
    """Any gradient transformation of optax by name, with its keyword arguments.

    One that has a `learning_rate` is given the step's η, and its update is added as it is; of another (`scale_by_…`,
    `clip`) the
    result is a direction, θ ← θ − η u. Its own `weight_decay`, where it has one, is 0: decay is the stage's,
    `coupled` or `decoupled`. A state that begins with η (`rprop`'s, whose steps go their own way from there, whatever
    a schedule says later) begins with that of the stage's first step.
    """

    kind: Literal["optax"] = "optax"
    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    _first: Any = PrivateAttr(default=1.0)
    """η of the step that a state begins before."""

    def limit(self):
        return None

    def init(self, model):
        with promotion():
            return self._transformation(jnp.asarray(self._first)).init(model)

    def amount(self, gradient, state, model, step_size):
        with promotion():
            moved, state = self._transformation(step_size).update(gradient, state, model)
        scale = -1.0 if "learning_rate" in self._parameters() else step_size
        return jax.tree.map(lambda u: scale * u, moved), state

    def begun_with(self, step_size: Any) -> "OptaxUpdate":
        """This update where the first step of a state is of size `step_size`."""
        begun = self.model_copy()
        begun._first = step_size
        return begun

    def _parameters(self) -> set[str]:
        import optax

        return set(inspect.signature(getattr(optax, self.name)).parameters)

    def _transformation(self, step_size: Any) -> "optax.GradientTransformation":
        import optax

        known = self._parameters()
        given = {"learning_rate": step_size} if "learning_rate" in known else {}
        given |= {"weight_decay": 0.0} if "weight_decay" in known else {}
        return getattr(optax, self.name)(**given, **self.arguments)

    @model_validator(mode="after")
    def _check(self):
        import optax

        if self.name.startswith("_") or not callable(getattr(optax, self.name, None)):
            raise ValueError(f"name: got {self.name!r}, which optax does not have; see its list of optimisers")
        for taken, instead in (("learning_rate", "step_size"), ("weight_decay", "weight_decay and decay")):
            if taken in self.arguments:
                raise ValueError(f"arguments.{taken}: got {self.arguments[taken]!r}; the stage says it: {instead}")
        if (wrong := not_finite(self.arguments, "arguments")) is not None:
            raise ValueError(f"{wrong[0]}: got {wrong[1]}; give a finite number")
        probe = {"w": jnp.ones(2)}
        try:
            state = self.init(probe)
            moved, after = self.amount(probe, state, probe, jnp.ones(()))
        except Exception as error:  # whatever optax raises for arguments that it does not take
            raise ValueError(f"arguments: optax.{self.name} refuses {self.arguments}: {error}") from None
        leaves = jax.tree.leaves(state)
        if any(jnp.issubdtype(x.dtype, jax.dtypes.prng_key) for x in leaves) or "key" in str(jax.tree.structure(state)):
            raise ValueError(f"name: got {self.name!r}, which draws random numbers that all members would share")
        if drift(probe, moved) is not None:
            raise ValueError(f"name: got {self.name!r}, whose update is no update of weights")
        if (changes := drift(state, after)) is not None:
            raise ValueError(
                f"arguments: got {self.arguments} of optax.{self.name}, whose state changes its type in a step "
                f"({changes}); give numbers of the type that optax says, such as whole ones for counts"
            )
        return self


def first_state(update: AbstractSteppedUpdate, model: Any, step_size: Any) -> Any:
    """The state of an update before a first step of size `step_size`."""
    return (update.begun_with(step_size) if isinstance(update, OptaxUpdate) else update).init(model)
