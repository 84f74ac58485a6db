"""Starts: the student's weights at step 0.

    symmetric      w_i = w_{i+m/2}, a_i = −a_{i+m/2}: f = 0; |a_i| = ‖w_i‖ = scale/√m (Zhou & Ge 2024)
    balanced       independent signs and uniform directions, |a_i| = ‖w_i‖ = scale/√m
    xavier         w_i ~ N(0, I/d), a_i = 1 (Safran & Shamir 2018, arXiv 1712.08968)
    near_teacher   every teacher neuron's copies at a stated angle from it, with its mass shared among them
    given          arrays as they are

`scale` leads from the feature-learning (small) to the lazy regime (large); with `symmetric` the large
scale is the lazy regime proper, since f = 0 at the start (Chizat, Oyallon & Bach 2019).
"""

import abc
from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray
from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from .draws import Space, isotropic_rows, random_signs, uniform_directions
from .network import TwoLayer, row_norms
from .spec import Spec
from .teachers import Row, check_given


class AbstractStart(Spec, abc.ABC):
    """A recipe for initial students: `draw(key, teacher, width)` gives one."""

    @abc.abstractmethod
    def draw(self, key: PRNGKeyArray, teacher: TwoLayer, width: int, space: Space) -> TwoLayer:
        """The initial student of `width` neurons for this teacher; `key` is its own for this purpose.

        Its rows, like the teacher's, have the coordinates of `space`.
        """

    def independent_rows(self, width: int) -> int:
        """How many of the rows are drawn; the others are copies."""
        return width

    def check_width(self, width: int) -> None:
        """Raises `ValueError` where no student of this width can be drawn."""
        return


class Symmetric(AbstractStart):
    """f = 0 at step 0; an even number of neurons."""

    kind: Literal["symmetric"] = "symmetric"
    scale: PositiveFloat = 1.0
    traced: ClassVar[tuple[str, ...]] = ("scale",)

    def independent_rows(self, width):
        return width // 2

    def draw(self, key, teacher, width, space):
        half = Balanced.model_construct(scale=self.scale / jnp.sqrt(2.0)).draw(key, teacher, width // 2, space)
        a, W = jnp.concatenate([half.a, -half.a]), jnp.concatenate([half.W, half.W])
        return TwoLayer(a, W, teacher.activation)

    def check_width(self, width):
        if width % 2:
            raise ValueError(f"neurons: got a width of {width}; the symmetric start needs an even width")


class Balanced(AbstractStart):
    """|a_i| = ‖w_i‖ = scale/√m with independent signs and uniform directions."""

    kind: Literal["balanced"] = "balanced"
    scale: PositiveFloat = 1.0
    traced: ClassVar[tuple[str, ...]] = ("scale",)

    def draw(self, key, teacher, width, space):
        key_signs, key_rows = jax.random.split(key)
        size = self.scale / jnp.sqrt(float(width))
        rows = uniform_directions(key_rows, width, space)
        return TwoLayer(size * random_signs(key_signs, width), size * rows, teacher.activation)


class Xavier(AbstractStart):
    """w_i ~ N(0, I/d) and a_i = 1."""

    kind: Literal["xavier"] = "xavier"

    def draw(self, key, teacher, width, space):
        rows = isotropic_rows(key, width, space) / jnp.sqrt(jnp.asarray(space.inputs, float))
        return TwoLayer(jnp.ones(width), rows, teacher.activation)


class NearTeacher(AbstractStart):
    """Neuron i is a copy of teacher j = i mod m*, turned by `distance` radians in a uniform direction.

    The copies of a teacher share its mass equally and are balanced, |a_i| = ‖w_i‖, so that at distance 0
    a student of width ≥ m* is the teacher.
    """

    kind: Literal["near_teacher"] = "near_teacher"
    distance: NonNegativeFloat
    traced: ClassVar[tuple[str, ...]] = ("distance",)

    def draw(self, key, teacher, width, space):
        count = teacher.a.shape[0]
        owner = jnp.arange(width) % count
        copies = jnp.bincount(owner, length=count).astype(teacher.a.dtype)
        norms = row_norms(teacher.W)
        unit = (teacher.W / norms[:, None])[owner]
        tangent = isotropic_rows(key, width, space)
        tangent = tangent - jnp.sum(tangent * unit, axis=1, keepdims=True) * unit
        length = row_norms(tangent)[:, None]
        tangent = tangent / jnp.where(length > 0.0, length, 1.0)
        mass = (teacher.a * norms / copies)[owner]
        size = jnp.sqrt(jnp.abs(mass))
        rows = jnp.cos(self.distance) * unit + jnp.sin(self.distance) * tangent
        return TwoLayer(jnp.sign(mass) * size, size[:, None] * rows, teacher.activation)


class GivenStart(AbstractStart):
    """The arrays themselves: `a` of shape (neuron,), `W` of shape (neuron, input)."""

    kind: Literal["given"] = "given"
    a: Row
    W: tuple[Row, ...]
    traced: ClassVar[tuple[str, ...]] = ("a", "W")

    def draw(self, key, teacher, width, space):
        return TwoLayer(jnp.asarray(self.a), jnp.asarray(self.W), teacher.activation)

    @model_validator(mode="after")
    def _check(self):
        check_given(self.a, self.W)
        return self

    def check_width(self, width):
        if width != len(self.a):
            raise ValueError(f"start: got {len(self.a)} given neurons for a width of {width}; make them equal")


def _by_name(value: object) -> object:
    """`start = "balanced"` is short for `start = {kind = "balanced"}`."""
    return {"kind": value} if isinstance(value, str) else value


Start = Annotated[
    Annotated[
        Symmetric | Balanced | Xavier | NearTeacher | GivenStart,
        Field(discriminator="kind"),
    ],
    BeforeValidator(_by_name),
]


class Student(Spec):
    """The student: `neurons` + `extra_neurons` wide, from `start`.

    `inputs` may be left out: it is the teacher's.
    """

    neurons: PositiveInt
    extra_neurons: Annotated[int, Field(ge=0)] = 0
    inputs: PositiveInt | None = None
    start: Start = Balanced()

    @property
    def width(self) -> int:
        return self.neurons + self.extra_neurons

    @model_validator(mode="after")
    def _check(self):
        self.start.check_width(self.width)
        return self
