"""What a distribution of inputs is: draws of x, and the population risk under it where that has a closed form."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from ...parts import REGISTRY, Part
from ..activations import AbstractActivation


class AbstractInputs(Part):
    """A distribution of x ∈ R^d."""

    role: ClassVar[str] = "inputs"
    isotropic: ClassVar[bool] = False
    """Whether its rotations are itself: reduced coordinates are exact only then."""
    with_biases: ClassVar[bool] = False
    """Whether its closed forms are those of networks with biases, too."""
    of_rows: ClassVar[bool] = False
    """Whether it draws from the rows of a table, of which some are held out."""

    @abc.abstractmethod
    def draw(self, key: PRNGKeyArray, inputs: int) -> Float[Array, " input"]:
        """One x of `inputs` coordinates, a function of the key alone."""

    @abc.abstractmethod
    def check(self, inputs: int, teacher: Any) -> None:
        """**Raises:** `ValueError` where it is no distribution on R^inputs, or a loss against this teacher is
        infinite."""

    @abc.abstractmethod
    def population_refusal(self, student: Any, teacher: Any) -> str | None:
        """Why the population risk of such a student and teacher has no closed form under it; None where it has one.

        `student` has one under N(0, I).
        """

    def exact_refusal(self, student: Any, teacher: Any) -> str | None:
        """`population_refusal`, of networks with biases, too."""
        if getattr(teacher, "has_biases", False) and not self.with_biases:
            those = (name for name, part in REGISTRY["inputs"].items() if part.with_biases)
            return f"with biases: there is one for {', '.join(those)}"
        return self.population_refusal(student, teacher)

    @abc.abstractmethod
    def population(self, risk: Any, inputs: Any) -> Any:
        """The exact population risk under it, made of the one under N(0, I); None where there is none.

        **Arguments:** `risk` under N(0, I); `inputs`, the dimension d of x.
        """


class InputLaw(eqx.Module):
    """A distribution of inputs as a part of a risk: its numbers are leaves.

    **Arguments:** `part`, its structure; `numbers`, as `Part.numbers` has them; `inputs`, d.
    """

    numbers: dict[str, Any]
    part: AbstractInputs = eqx.field(static=True)
    inputs: int = eqx.field(static=True)

    @classmethod
    def of(cls, part: AbstractInputs, inputs: int) -> "InputLaw":
        """The law of a part."""
        return cls(jax.tree.map(jnp.asarray, part.numbers()), part.structure(), inputs)

    def rows(self, key: PRNGKeyArray, count: int, dtype: DTypeLike) -> Float[Array, "sample input"]:
        """Independent draws; the i-th depends on the key and on i alone, so that more of them begin with the same ones.

        They are drawn in float64 and then rounded.
        """
        part: Any = self.part.with_numbers(self.numbers)
        if part.of_rows and not part.replacement:
            return part.chosen(key, count).astype(dtype)
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count))
        return jax.vmap(lambda k: part.draw(k, self.inputs))(keys).astype(dtype)

    def scored_on(
        self, key: PRNGKeyArray, number: Array, first: Array, count: int, dtype: DTypeLike
    ) -> Float[Array, "sample input"]:
        """Part `number` of a test sample, which begins at its row `first`: draws, or rows that are held out."""
        part: Any = self.part
        if part.of_rows:
            return part.scored_on(first, count).astype(dtype)
        return self.rows(jax.random.fold_in(key, number), count, dtype)


def activation_of(teacher: Any) -> AbstractActivation | None:
    """A teacher's activation; None of one that has none."""
    return getattr(teacher, "sigma", None)


def is_of_product(sigma: AbstractActivation) -> bool:
    """Whether an activation is a function of wᵀx alone, and does not know ‖w‖, which is a moment of N(0, I)."""
    z = np.linspace(-2.0, 2.0, 8)
    with jax.ensure_compile_time_eval():
        short, long = (np.asarray(sigma(jnp.asarray(z), jnp.full(8, norm))) for norm in (1.0, 2.0))
    return np.array_equal(short, long)
