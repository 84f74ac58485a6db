"""The population risk of a network with an output scale, less its start, or linearised at its start (theory.md §11).

    scaled        g = α f_θ
    recentred     g = α (f_θ − f_θ0)
    linearised    g = α (f_θ0 + ∂f_θ0·(θ − θ0)), or α ∂f_θ0·(θ − θ0) where it is recentred, too

each on L = ½E(g − f*)², from the bilinear form B of its model's class alone (`forms.py`): no samples.
"""

import abc
from typing import Any, ClassVar

import jax
from jaxtyping import Array, Float

from ..risks import AbstractRisk
from .base import minus, pairing, plus
from .forms import squared, tangent_of


class AbstractLazyRisk(AbstractRisk):
    """½E(g − f*)² of a function g that is not the network itself, but made of it."""

    isotropic: ClassVar[bool] = True
    is_linear: ClassVar[bool] = False
    """Whether g is linear in the weights."""

    @property
    @abc.abstractmethod
    def output_scale(self) -> Float[Array, ""]:
        """α."""

    @abc.abstractmethod
    def tangent_point(self, model: Any) -> Any:
        """The weights whose gradient is that of g/α at a model: the model, or the start of a linearised one."""

    @abc.abstractmethod
    def matrix(self, model: Any) -> Float[Array, "output input"]:
        """g of a deep linear network as a matrix."""


class ScaledRisk(AbstractLazyRisk):
    """½E(αf_θ − f*)², or ½E(α(f_θ − f_θ0) − f*)² where it is recentred.

    **Arguments:** `teacher`; `scale`, α; `origin`, θ0, or None: not recentred; `target`, ½Ef*² or ½E(f* + αf_θ0)².
    """

    teacher: Any
    scale: Float[Array, ""]
    origin: Any
    target: Float[Array, ""]

    @classmethod
    def of(cls, teacher: Any, scale: Any, model: Any, recentred: bool) -> "ScaledRisk":
        """The risk of a member that starts at `model`."""
        tangent = tangent_of(model)
        target = 0.5 * squared(teacher)
        if not recentred:
            return cls(teacher, scale, None, target)
        own = scale * tangent.inner(model, teacher) + 0.5 * scale**2 * tangent.inner(model, model)
        return cls(teacher, scale, model, target + own)

    @property
    def output_scale(self):
        return self.scale

    def tangent_point(self, model):
        return model

    def matrix(self, model):
        whole = model.matrix if self.origin is None else model.matrix - self.origin.matrix
        return self.scale * whole

    def value(self, model):
        tangent, alpha = tangent_of(model), self.scale
        own = 0.5 * tangent.inner(model, model)
        if self.origin is not None:
            own = own - tangent.inner(model, self.origin)
        return (alpha**2 * own - alpha * tangent.inner(model, self.teacher)) + self.target

    def value_and_gradient(self, model):
        tangent, alpha = tangent_of(model), self.scale
        own = tangent.slope(model, model)
        if self.origin is not None:
            own = minus(own, tangent.slope(model, self.origin))
        gradient = jax.tree.map(lambda o, t: alpha * (alpha * o - t), own, tangent.slope(model, self.teacher))
        return self.value(model), gradient


class LinearisedRisk(AbstractLazyRisk):
    """½E(g − f*)² of the linearised network: c + α b·δ + ½α² δᵀGδ with δ = θ − θ0, a quadratic form in θ.

    G = ∂∂′B(θ0, θ0), b = ∂B(θ0, ·) of what g − f* is at the start. Descent on it is linear, (I − ηα²G)^t.

    **Arguments:** `teacher`; `scale`, α; `origin`, θ0; `slope`, b; `base`, c; `start`, the share of f_θ0 in g, 0 or 1.
    """

    is_linear: ClassVar[bool] = True

    teacher: Any
    scale: Float[Array, ""]
    origin: Any
    slope: Any
    base: Float[Array, ""]
    start: Float[Array, ""]

    @classmethod
    def of(cls, teacher: Any, scale: Any, model: Any, recentred: bool) -> "LinearisedRisk":
        """The risk of a member that starts at `model`."""
        tangent = tangent_of(model)
        start = 0.0 * scale if recentred else 0.0 * scale + 1.0
        slope = jax.tree.map(
            lambda own, other: start * scale * own - other, tangent.slope(model, model), tangent.slope(model, teacher)
        )
        own = start * scale * (0.5 * scale * tangent.inner(model, model) - tangent.inner(model, teacher))
        return cls(teacher, scale, model, slope, 0.5 * squared(teacher) + own, start)

    @property
    def output_scale(self):
        return self.scale

    def tangent_point(self, model):
        return self.origin

    def matrix(self, model):
        _, moved = jax.jvp(lambda at: at.matrix, (self.origin,), (minus(model, self.origin),))
        return self.scale * (self.start * self.origin.matrix + moved)

    def value(self, model):
        return self.value_and_gradient(model)[0]

    def value_and_gradient(self, model):
        moved, alpha = minus(model, self.origin), self.scale
        pulled = tangent_of(model).response(self.origin, moved)
        half = jax.tree.map(lambda b, g: alpha * (b + 0.5 * alpha * g), self.slope, pulled)
        gradient = plus(half, pulled, 0.5 * alpha**2)
        return self.base + pairing(half, moved), gradient
