"""Gradient flow θ̇ = −∇(L + λP), by diffrax: adaptive steps that land on the member's clock."""

from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from pydantic import Field

from .base import AbstractSteppedUpdate, Info, gradient_norm
from .optax_updates import promotion

EXPLICIT = {"tsit5": "Tsit5", "dopri5": "Dopri5", "dopri8": "Dopri8"}
IMPLICIT = {"kvaerno3": "Kvaerno3", "kvaerno4": "Kvaerno4", "kvaerno5": "Kvaerno5"}
"""diffrax's names of solvers. It is imported where a flow runs: whoever has none needs it not, and starts sooner."""
Tolerance = Annotated[float, Field(gt=0.0, lt=1.0)]
_SMALLEST = 1e-9
"""A solver step below this share of a step of the clock is none: the member counts as diverged."""
MOST_ATTEMPTS = 10_000
"""In one step of the clock."""


class Flow(AbstractSteppedUpdate):
    """Gradient flow on the weights that move, θ̇ = −∇(L + λ P), for a stage's `time` (theory.md §7).

    A step of the member's clock is `step_size` of time, as it is of descent, so that records at one step are at one
    time of both. One step of the engine is **one attempted step of the solver**, of a size of the member's own: it is
    rejected where the error of all weights is above atol + rtol·|θ| (root mean squares), and cut where it would pass
    the end of the clock's step, at which the clock goes on. λ is that of the clock's step. `step_size` bounds steps
    from above and is no accuracy: that is `rtol` and `atol`. A solver's step below 1e-9 of the clock's is none, and
    10 000 attempts that do not reach the clock's next step get nowhere: the member diverged. A solution that slides
    along the kinks of relu on a sample ends so.

    `solver`: explicit `tsit5`, `dopri5`, `dopri8`; or implicit `kvaerno3`, `kvaerno4`, `kvaerno5`, which solve a dense
    linear system of all weights in each step, for stiff late stages of small networks. A stage's rules are looked at
    at whole steps of the clock.
    """

    kind: Literal["flow"] = "flow"
    attempts: ClassVar[bool] = True
    solver: Literal["tsit5", "dopri5", "dopri8", "kvaerno3", "kvaerno4", "kvaerno5"] = "dopri8"
    rtol: Tolerance = 1e-10
    atol: Tolerance = 1e-12

    @property
    def rotation_equivariant(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The flow is; so are explicit steps, chosen by norms. Implicit ones are solved coordinate by coordinate."""
        return self.solver in EXPLICIT

    def limit(self):
        return None

    def init(self, model):
        dtype = jax.tree.leaves(model)[0].dtype
        return {
            "within": jnp.zeros((), dtype),
            "share": jnp.full((), 1e-3, dtype),
            "errors": (jnp.ones((), dtype), jnp.ones((), dtype)),
            "rejected": jnp.zeros((), bool),
            "attempts": jnp.zeros((), dtype),
        }

    def step(self, model, state, objective, clock):
        import diffrax

        def slope(time, at, _):
            whole = objective.gradients(at)[2]
            return jax.tree.map(lambda moved, g: jnp.where(moved, -g, 0.0), objective.moves, whole)

        with promotion():
            new, state, whole, collapsed = self._attempt(model, state, diffrax.ODETerm(slope), objective.step_size)
        norm = gradient_norm(objective.gradients(model)[2], objective.moves)
        seen = Info(jnp.where(collapsed, jnp.nan, norm), begins=whole[0], ends=whole[1])
        return new, state, seen

    def _attempt(self, model: Any, state: Any, term: Any, clock_step: Any):
        """(model, state, (whether it begins at a step of the clock, ends at one), whether the step size collapsed)."""
        import diffrax

        within, share = state["within"], state["share"]
        cut = within + share >= 1.0 - 1e-12
        end = jnp.where(cut, 1.0, within + share)
        t0, t1 = within * clock_step, end * clock_step
        controller = diffrax.PIDController(rtol=0.0, atol=1.0)
        solver = self._solver()
        candidate, error, _, _, _ = solver.step(
            term, t0, t1, model, None, solver.init(term, t0, t1, model, None), jnp.zeros((), bool)
        )
        # By norms of all weights: a scale for each coordinate would know the axes of the input.
        scale = self.atol + self.rtol * jnp.maximum(_root_mean_square(model), _root_mean_square(candidate))
        error = jax.tree.map(lambda e: e / scale, error)
        order = solver.error_order(term)
        keep, begin, following, _, (*errors, rejected), _ = controller.adapt_step_size(
            t0, t1, model, candidate, None, error, order, (*state["errors"], state["rejected"])
        )
        proposed = (following - begin) / clock_step
        # A step that was cut says little of how long the next may be.
        proposed = jnp.where(keep & cut, jnp.maximum(proposed, share), proposed)
        after = {
            "within": jnp.where(keep, jnp.where(cut, 0.0, end), within),
            "share": jnp.minimum(proposed, 1.0),
            "errors": tuple(errors),
            "rejected": jnp.asarray(rejected),
            "attempts": jnp.where(keep & cut, 0.0, state["attempts"] + 1.0),
        }
        after = jax.tree.map(lambda new, old: new.astype(old.dtype), after, state)
        new = jax.tree.map(lambda now, old: jnp.where(keep, now, old), candidate, model)
        is_stuck = ~(proposed > _SMALLEST) | (after["attempts"] >= MOST_ATTEMPTS)
        return new, after, (within == 0.0, keep & cut), is_stuck

    def _solver(self) -> Any:
        import diffrax

        if self.solver in EXPLICIT:
            return getattr(diffrax, EXPLICIT[self.solver])()
        return getattr(diffrax, IMPLICIT[self.solver])(root_finder=diffrax.VeryChord(rtol=self.rtol, atol=self.atol))


def _root_mean_square(model: Any) -> Any:
    leaves = jax.tree.leaves(model)
    first, *others = (jnp.sum(x * x) for x in leaves)
    return jnp.sqrt(sum(others, first) / sum(x.size for x in leaves))
