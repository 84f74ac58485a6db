"""What a student on samples trains in place of its network, as a function of one x: any model, by JAX's derivatives.

    scaled        g = α f_θ
    recentred     g = α (f_θ − f_θ0)
    linearised    g = α (f_θ0 + ∂f_θ0·(θ − θ0)), or α ∂f_θ0·(θ − θ0) where it is recentred, too

The closed forms of the same under N(0, I) are in `risks.py`.
"""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from .base import minus


class View(eqx.Module):
    """What g makes of a model f_θ.

    **Arguments:** `origin`, θ0; `scale`, α; whether g is `recentred` and `linearised`.
    """

    origin: Any
    scale: Float[Array, "*batch"]
    recentred: bool = eqx.field(static=True)
    linearised: bool = eqx.field(static=True)

    def __call__(self, model: Any) -> "Seen":
        return Seen(model, self)


class Seen(eqx.Module):
    """g as a function of one x."""

    model: Any
    view: View

    def __call__(self, x: Float[Array, " input"]) -> Float[Array, "*output"]:
        view = self.view
        if not view.linearised:
            value = self.model(x)
            return view.scale * (value - view.origin(x) if view.recentred else value)
        moved = minus(self.model, view.origin)
        start, slope = jax.jvp(lambda model: model(x), (view.origin,), (moved,))
        return view.scale * (slope if view.recentred else start + slope)

    @property
    def places(self) -> int:
        """How many times a sample uses every weight."""
        return getattr(self.model, "places", 1)
