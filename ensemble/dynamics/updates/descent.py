"""Plain gradient descent."""

from typing import ClassVar, Literal

import jax

from .base import AbstractGradientUpdate


class Descent(AbstractGradientUpdate):
    """θ ← θ − η g, stable at a curvature ℓ for ηℓ ≤ 2."""

    kind: Literal["descent"] = "descent"
    rotation_equivariant: ClassVar[bool] = True

    def limit(self):
        return 2.0

    def init(self, model):
        return ()

    def amount(self, gradient, state, model, step_size):
        return jax.tree.map(lambda g: step_size * g, gradient), state
