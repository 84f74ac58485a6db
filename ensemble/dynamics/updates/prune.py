"""Pruning: neurons, or single weights, that leave the network at once, after which training may go on."""

from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from pydantic import Field, model_validator

from ...problem.models import TwoLayer, masses
from ...problem.risks import kernel
from .base import AbstractInstantUpdate
from .instant import require_two_layers

By = Literal["mass", "importance"]
"""What neurons are removed by."""


class Terms(NamedTuple):
    """What the loss is made of, neuron by neuron: L(a) = ½ aᵀKa − aᵀb + ½‖f*‖²."""

    K: Float[Array, "neuron neuron"]
    b: Float[Array, " neuron"]
    """E f*(x)σ(w_iᵀx)."""
    target: Float[Array, ""]
    """½‖f*‖², the loss of no network at all."""


def terms(student: TwoLayer, teacher: TwoLayer) -> Terms:
    """The terms of the population loss of a student."""
    sigma, W, V = student.activation, student.W, teacher.W
    return Terms(
        kernel(sigma, W, W), kernel(sigma, W, V) @ teacher.a, 0.5 * (teacher.a @ kernel(sigma, V, V) @ teacher.a)
    )


def increases(a: Float[Array, " neuron"], of: Terms) -> Float[Array, " neuron"]:
    """How much the loss grows where one neuron is left out, exactly: −a_i ∂L/∂a_i + ½ a_i² K_ii.

    L is quadratic in a: no higher term is left out. Negative for a neuron that the network is better without.
    """
    return a * (of.b - of.K @ a) + 0.5 * a * a * jnp.diag(of.K)


class Removals(NamedTuple):
    """Neurons one after another, the least one first, and what is left of the fit."""

    order: Int[Array, " neuron"]
    kept: Float[Array, " count"]
    """The loss of the network of the last 0, 1, …, m neurons of `order`, as they are."""


def removals(student: TwoLayer, teacher: TwoLayer, by: By = "mass") -> Removals:
    """In which order neurons leave, and the exact population loss after every one of them.

    **Arguments:** two networks of one activation; `by`: `"mass"`: the smallest |a_i|‖w_i‖ first; `"importance"`: the
    one without which the loss of what is left grows least, looked at anew after every removal. Neurons of mass 0 leave
    first; ties in their order. Under `jax.vmap` map over networks.

    **Returns:** a `Removals`: m losses + 1, of which the first is ½‖f*‖² and the last the student's own.
    """
    a, mass, of = student.a, masses(student.a, student.W), terms(student, teacher)

    def leave(stays: Array, _: None) -> tuple[Array, Array]:
        score = mass if by == "mass" else increases(jnp.where(stays, a, 0.0), of)
        score = jnp.where(mass == 0.0, -jnp.inf, score)
        least = jnp.argmin(jnp.where(stays, score, jnp.inf))
        return stays & (jnp.arange(len(a)) != least), least

    _, order = jax.lax.scan(leave, jnp.ones(len(a), bool), None, length=len(a))
    # From the terms anew for every count: rounding does not add up.
    left = jnp.where(_ranks(order)[None, :] >= len(a) - jnp.arange(len(a) + 1)[:, None], a[None, :], 0.0)
    kept = 0.5 * jnp.sum((left @ of.K) * left, axis=1) - left @ of.b + of.target
    return Removals(order, kept)


def _ranks(order: Int[Array, " neuron"]) -> Int[Array, " neuron"]:
    """The place of every neuron in the order."""
    return jnp.zeros_like(order).at[order].set(jnp.arange(len(order), dtype=order.dtype))


def narrowest(kept: Float[Array, " count"], allowed: Float[Array, ""]) -> Int[Array, ""]:
    """The least count ≥ 1 from which on every loss of `Removals.kept` is at most `allowed`; m where none is."""
    too_much = jnp.where(kept[1:] <= allowed, 0, jnp.arange(1, len(kept)))
    return jnp.minimum(jnp.max(too_much) + 1, len(kept) - 1)


def without(model: TwoLayer, order: Int[Array, " neuron"], count: Any) -> TwoLayer:
    """The network of the last `count` neurons of an order; the others are 0."""
    stays = _ranks(order) >= len(order) - jnp.asarray(count).astype(order.dtype)
    return TwoLayer(jnp.where(stays, model.a, 0.0), jnp.where(stays[:, None], model.W, 0.0), model.activation)


def without_small(model: Any, share: Any) -> Any:
    """A model without the smallest of all its weights by |θ|: ⌊share · count⌋ of them are 0; ties in their order."""
    leaves, tree = jax.tree.flatten(model)
    sizes = jnp.concatenate([jnp.abs(x).ravel() for x in leaves])
    # A share of 1/3 of 6 is 2, though 6 · (1/3) may round to below it.
    fewest = jnp.floor(share * len(sizes) + 1e-9)
    stays = _ranks(jnp.argsort(sizes)).astype(sizes.dtype) >= fewest
    ends = [sum(x.size for x in leaves[: i + 1]) for i in range(len(leaves) - 1)]
    parts = zip(leaves, jnp.split(stays, ends), strict=True)
    return tree.unflatten([jnp.where(part.reshape(x.shape), x, 0.0) for x, part in parts])


class Prune(AbstractInstantUpdate):
    """Neurons removed at once: a_i = 0 and w_i = 0, which no gradient brings back; or single weights.

    **Arguments:** `by`: `"mass"` |a_i|‖w_i‖, or `"importance"`, the exact growth of the population loss, looked at anew
    after every removal; and one of

    - `keep`: how many neurons stay;
    - `tolerance`: as few stay as keep the loss within `tolerance` · ½‖f*‖² above what it was;
    - `threshold`: those stay whose mass is at least this share of the student's largest mass.

    Or `by = "magnitude"` with `share`, of all weights: the smallest |θ| become 0, ⌊share · count⌋ of them. A gradient
    moves them again, unless the stage that trains on says `keep_zeros`.

    Masses and magnitudes apart, all of it is of the population loss of x ~ N(0, I), on samples, too; under other inputs
    by = "mass" with `keep` or `threshold`, and "magnitude", are served. One neuron always stays. Numbers are rows: an
    axis over one compiles nothing.
    """

    kind: Literal["prune"] = "prune"
    by: By | Literal["magnitude"] = "mass"
    keep: Annotated[float, Field(ge=1, le=2**31)] | None = None
    tolerance: Annotated[float, Field(gt=0, lt=1)] | None = None
    threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    share: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _check(self):
        self._check_share()
        given = [name for name in ("keep", "tolerance", "threshold") if getattr(self, name) is not None]
        if len(given) != 1 and self.by != "magnitude":
            raise ValueError(
                f"keep: got {' and '.join(given) or 'no way to say who stays'} under the update 'prune'; give one of "
                "keep, tolerance and threshold"
            )
        if self.keep is not None and self.keep != round(self.keep):
            raise ValueError(f"keep: got {self.keep:g}; give a whole number of neurons, 1 or more")
        if self.threshold is not None and self.by != "mass":
            raise ValueError(
                f"threshold: got {self.threshold:g} with by = {self.by!r}, whose values may be negative; it is of "
                'masses: take by = "mass", or keep or tolerance'
            )
        return self

    def _check_share(self) -> None:
        if self.by != "magnitude" and self.share is not None:
            raise ValueError(
                f"share: got {self.share:g} with by = {self.by!r}; it is of single weights: take by = "
                '"magnitude", or say with keep, tolerance or threshold which neurons stay'
            )
        if self.by == "magnitude" and self.share is None:
            raise ValueError('share: is missing with by = "magnitude"; give the share of all weights that become 0')
        for name in ("keep", "tolerance", "threshold"):
            if self.by == "magnitude" and getattr(self, name) is not None:
                raise ValueError(
                    f'{name}: got {getattr(self, name):g} with by = "magnitude", which removes single weights; leave '
                    "it out, or remove neurons by mass or importance"
                )

    def apply(self, model: Any, risk: Any, strength):
        if self.by == "magnitude":
            assert self.share is not None, "it was checked"
            return without_small(model, self.share)
        order, kept = removals(model, risk.teacher, self.by)
        if self.keep is not None:
            count = self.keep
        elif self.tolerance is not None:
            count = narrowest(kept, kept[-1] + self.tolerance * kept[0])
        else:
            mass = masses(model.a, model.W)
            count = jnp.sum(mass >= self.threshold * jnp.max(mass))  # pyright: ignore[reportOptionalOperand] (checked)
        return without(model, order, count)

    @property
    def of_axes(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Entries of W are of the input's axes."""
        return self.by == "magnitude"

    @property
    def of_gaussian(self) -> bool:
        """Whether it looks at the population loss of N(0, I)."""
        return self.by == "importance" or self.tolerance is not None

    def check(self, student, teacher):
        require_two_layers(self.kind, student)
        if self.keep is not None and self.keep > student.width:
            raise ValueError(
                f"protocol.update.keep: got {self.keep:g} for a student of {student.width} neurons; keep at most as "
                "many"
            )
        nothing = jnp.zeros(())
        if self.by != "magnitude" and float(teacher.sigma.dual(nothing, nothing, nothing)) != 0.0:
            raise ValueError(
                f"protocol: got a prune stage with activation {teacher.sigma.name}, of which σ(0) ≠ 0: a neuron of "
                "zero weights would still learn an output weight; take an activation with σ(0) = 0"
            )
