"""Teachers: the planted two-layer networks, with unit rows w*_j and output weights a*_j.

    orthonormal         m* orthonormal rows
    separated_pairs     two rows at angle Δ in each of m*/2 orthogonal planes
    equiangular         every two rows at angle Δ
    random_separated    uniform rows of an r-dimensional subspace, every two at an angle ≥ Δ
    given               arrays as they are

Angles are between *lines* for even activations and between *rays* for the others. All but
`random_separated` lie on the coordinate axes: the population problem is invariant under rotations of the
input, and the starts are isotropic.
"""

import abc
import math
from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from pydantic import Field, PositiveInt, model_validator
from scipy.special import betainc

from .activations import ACTIVATIONS, AbstractActivation
from .draws import full_space, random_signs, uniform_directions
from .network import TwoLayer
from .spec import Spec

ActivationName = Literal["relu", "abs", "relu_even", "abs_centred", "linear", "erf", "square"]
Angle = Annotated[float, Field(gt=0.0, description="radians")]
Row = tuple[float, ...]


class AbstractTeacher(Spec, abc.ABC):
    """A recipe for teachers: `draw(key)` gives one."""

    activation: ActivationName

    @property
    def sigma(self) -> AbstractActivation:
        return ACTIVATIONS[self.activation]

    @abc.abstractmethod
    def shape(self) -> tuple[int, int]:
        """(teacher neurons m*, inputs d)."""

    @abc.abstractmethod
    def plane(self) -> int:
        """How many coordinates hold the teacher's rows: an upper bound of the rank r."""

    @abc.abstractmethod
    def draw(self, key: PRNGKeyArray, columns: int | None = None) -> TwoLayer:
        """The teacher of one member; `key` is its own for this purpose.

        Its rows have d coordinates, or, with `columns`, those of its own plane followed by zeros.
        """

    @abc.abstractmethod
    def known(self) -> tuple[np.ndarray, np.ndarray] | None:
        """(|a*|, Gram matrix W* W*ᵀ) where every seed has the same; None where seeds differ."""


class _AbstractPlanted(AbstractTeacher):
    """A teacher given by its sizes and, maybe, an angle."""

    # The number of inputs comes with the space that a member's rows are written in.
    elsewhere: ClassVar[tuple[str, ...]] = ("inputs",)

    neurons: PositiveInt
    inputs: PositiveInt
    output_weights: Literal["positive", "alternating", "random"] | Row = "positive"
    """a*_j: all 1; 1, −1, 1, …; fair signs, drawn for each seed; or the values themselves."""

    def shape(self) -> tuple[int, int]:
        return self.neurons, self.inputs

    @abc.abstractmethod
    def rows(self, key: PRNGKeyArray) -> Float[Array, "teacher_neuron rank"]:
        """Unit rows in the coordinates of the first `rank` inputs."""

    def plane(self) -> int:
        return self.neurons

    def draw(self, key: PRNGKeyArray, columns: int | None = None) -> TwoLayer:
        key_rows, key_signs = jax.random.split(key)
        rows = self.rows(key_rows)
        W = jnp.pad(rows, ((0, 0), (0, (columns or self.inputs) - rows.shape[1])))
        return TwoLayer(self._signs(key_signs), W, self.sigma)

    def _signs(self, key: PRNGKeyArray) -> Float[Array, " teacher_neuron"]:
        match self.output_weights:
            case "positive":
                return jnp.ones(self.neurons)
            case "alternating":
                return jnp.where(jnp.arange(self.neurons) % 2 == 0, 1.0, -1.0)
            case "random":
                return random_signs(key, self.neurons)
            case values:
                return jnp.asarray(values)

    @abc.abstractmethod
    def gram(self) -> np.ndarray | None:
        """W* W*ᵀ where every seed has the same; None where seeds differ."""

    def known(self) -> tuple[np.ndarray, np.ndarray] | None:
        gram = self.gram()
        sizes = np.abs(self.output_weights) if isinstance(self.output_weights, tuple) else np.ones(self.neurons)
        return None if gram is None else (sizes, gram)

    @model_validator(mode="after")
    def _check_sizes(self):
        if isinstance(self.output_weights, tuple) and len(self.output_weights) != self.neurons:
            raise ValueError(
                f"output_weights: got {len(self.output_weights)} values for neurons = {self.neurons}; give "
                "one a teacher neuron"
            )
        return self


def _refuse_rank(neurons: int, inputs: int, what: str) -> None:
    if neurons > inputs:
        raise ValueError(f"neurons: got {neurons} {what} rows in inputs = {inputs} dimensions; at most {inputs} fit")


def _widest(activation: str) -> tuple[float, str]:
    """The largest angle there is between two neurons, and what the angle is between."""
    lines = ACTIVATIONS[activation].symmetry == "line"
    return (math.pi / 2, "lines (even activation)") if lines else (math.pi, "rays")


class Orthonormal(_AbstractPlanted):
    """w*_j = e_j."""

    kind: Literal["orthonormal"] = "orthonormal"

    def rows(self, key):
        return jnp.eye(self.neurons)

    def gram(self):
        return np.eye(self.neurons)

    @model_validator(mode="after")
    def _check(self):
        _refuse_rank(self.neurons, self.inputs, "orthonormal")
        return self


class SeparatedPairs(_AbstractPlanted):
    """Rows 2p and 2p+1 at angle Δ = `separation` in the plane of inputs 2p and 2p+1; m* even."""

    kind: Literal["separated_pairs"] = "separated_pairs"
    separation: Angle
    traced: ClassVar[tuple[str, ...]] = ("separation",)

    def rows(self, key):
        half = 0.5 * self.separation
        pair = jnp.stack([jnp.stack([jnp.cos(half), jnp.sin(half)]), jnp.stack([jnp.cos(half), -jnp.sin(half)])])
        return jnp.kron(jnp.eye(self.neurons // 2), pair)

    def gram(self):
        cosine = math.cos(self.separation)
        return np.kron(np.eye(self.neurons // 2), [[1.0, cosine], [cosine, 1.0]])

    @model_validator(mode="after")
    def _check(self):
        if self.neurons % 2:
            raise ValueError(f"neurons: got {self.neurons}; separated pairs need an even number of neurons")
        _refuse_rank(self.neurons, self.inputs, "paired")
        _refuse_wide(self.separation, self.activation)
        return self


def _refuse_wide(separation: float, activation: str) -> None:
    limit, between = _widest(activation)
    if separation > limit * (1 + 1e-12):
        raise ValueError(
            f"separation: got {separation:g} rad between {between} of {activation}; the angle is at most "
            f"{limit:.6g} rad"
        )


class Equiangular(_AbstractPlanted):
    """Every two rows at angle Δ = `separation`: Gram matrix (1 − cos Δ) I + cos Δ 11ᵀ."""

    kind: Literal["equiangular"] = "equiangular"
    separation: Angle
    traced: ClassVar[tuple[str, ...]] = ("separation",)

    def rows(self, key):
        # (s I + t 11ᵀ)² is the Gram matrix for s = √(1−c), t = (√(1−c+mc) − s)/m.
        m, c = self.neurons, jnp.cos(self.separation)
        s = jnp.sqrt(1.0 - c)
        t = (jnp.sqrt(jnp.maximum(1.0 - c + m * c, 0.0)) - s) / m
        return s * jnp.eye(m) + t * jnp.ones((m, m))

    def gram(self):
        return np.where(np.eye(self.neurons) > 0, 1.0, math.cos(self.separation))

    @model_validator(mode="after")
    def _check(self):
        _refuse_rank(self.neurons, self.inputs, "equiangular")
        _refuse_wide(self.separation, self.activation)
        if self.neurons > 1 and math.cos(self.separation) < -1.0 / (self.neurons - 1) - 1e-12:
            limit = math.acos(-1.0 / (self.neurons - 1))
            raise ValueError(
                f"separation: got {self.separation:g} rad; {self.neurons} rays are equiangular up to "
                f"arccos(−1/{self.neurons - 1}) = {limit:.6g} rad"
            )
        return self


_TRIES = 4096


class RandomSeparated(_AbstractPlanted):
    """Uniform unit rows of an r-dimensional subspace (r = `rank`), drawn one after another, each redrawn
    until its angle to all before it is ≥ Δ = `separation`; a new teacher for every seed."""

    kind: Literal["random_separated"] = "random_separated"
    rank: PositiveInt
    separation: Angle
    traced: ClassVar[tuple[str, ...]] = ("separation",)

    def rows(self, key):
        even = self.sigma.symmetry == "line"
        cosine = jnp.cos(self.separation)

        def place(j, rows):
            def fits(candidate):
                overlap = rows @ candidate
                overlap = jnp.abs(overlap) if even else overlap
                return jnp.all(jnp.where(jnp.arange(self.neurons) < j, overlap <= cosine, True))

            def candidate(tries):
                own = jax.random.fold_in(jax.random.fold_in(key, j), tries)
                return uniform_directions(own, 1, full_space(self.rank))[0]

            tries = jax.lax.while_loop(
                lambda t: (t < _TRIES) & ~fits(candidate(t)), lambda t: t + 1, jnp.asarray(0, jnp.int32)
            )
            return rows.at[j].set(candidate(tries))

        return jax.lax.fori_loop(0, self.neurons, place, jnp.zeros((self.neurons, self.rank)))

    def gram(self):
        return None

    def plane(self):
        return self.rank

    @model_validator(mode="after")
    def _check(self):
        if self.rank > self.inputs:
            raise ValueError(f"rank: got {self.rank} in inputs = {self.inputs} dimensions; at most {self.inputs}")
        _refuse_wide(self.separation, self.activation)
        covered = (self.neurons - 1) * _cap_share(self.separation, self.rank, self.activation)
        # While the caps of radius Δ around earlier rows leave 1/20 of the sphere free, 4096 tries fail
        # with probability < 0.95^4096 < 1e-91; beyond that success cannot be promised.
        if covered > 0.95:
            raise ValueError(
                f"separation: got {self.separation:g} rad for {self.neurons} random rows in rank {self.rank}; "
                f"the caps around {self.neurons - 1} rows may cover {covered:.2f} of the sphere, so that no "
                "room is left for the last; lower the separation or the neurons, or raise the rank"
            )
        return self


def _cap_share(angle: float, rank: int, activation: str) -> float:
    """The share of the unit sphere of R^rank within `angle` of a ray (of a line, for even activations)."""
    even = ACTIVATIONS[activation].symmetry == "line"
    if rank == 1:
        return 1.0 if even else 0.5
    acute = min(angle, math.pi - angle)
    half = 0.5 * betainc(0.5 * (rank - 1), 0.5, math.sin(acute) ** 2)
    share = half if angle <= math.pi / 2 else 1.0 - half
    return float(min(2.0 * share, 1.0) if even else share)


class GivenTeacher(AbstractTeacher):
    """The arrays themselves: `a` of shape (teacher_neuron,), `W` of shape (teacher_neuron, input)."""

    kind: Literal["given"] = "given"
    a: Row
    W: tuple[Row, ...]
    traced: ClassVar[tuple[str, ...]] = ("a", "W")

    def shape(self) -> tuple[int, int]:
        return len(self.a), len(self.W[0])

    def plane(self):
        return min(self.shape())

    def draw(self, key, columns=None):
        W = jnp.asarray(self.W)
        if columns is not None:
            # W* = Rᵀ Qᵀ: the rows of Rᵀ are the teacher in the orthonormal basis Q of its own plane.
            W = jnp.linalg.qr(W.T, mode="r").T
            W = jnp.pad(W, ((0, 0), (0, columns - W.shape[1])))
        return TwoLayer(jnp.asarray(self.a), W, self.sigma)

    def known(self):
        W = np.asarray(self.W, float)
        return np.abs(np.asarray(self.a, float)), W @ W.T

    @model_validator(mode="after")
    def _check(self):
        check_given(self.a, self.W)
        if not np.all(np.linalg.norm(np.asarray(self.W), axis=1) > 0):
            raise ValueError("W: a teacher row is zero; a teacher neuron needs a direction")
        return self


def check_given(a: Row, W: tuple[Row, ...]) -> None:
    """Refuses arrays that are not (neuron,) and (neuron, input), or not finite."""
    if not a or len(a) != len(W) or len({len(row) for row in W}) != 1 or not W[0]:
        raise ValueError(
            f"a, W: got {len(a)} output weights and rows of lengths {sorted({len(r) for r in W})} in {len(W)} "
            "rows; give one output weight and one row a neuron, all rows equally long"
        )
    if not (np.all(np.isfinite(a)) and np.all(np.isfinite(np.asarray(W)))):
        raise ValueError("a, W: got a value that is not finite")


TEACHERS = (Orthonormal, SeparatedPairs, Equiangular, RandomSeparated, GivenTeacher)
Teacher = Annotated[
    Orthonormal | SeparatedPairs | Equiangular | RandomSeparated | GivenTeacher, Field(discriminator="kind")
]
