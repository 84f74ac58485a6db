"""Starts of deep networks, linear or not (theory.md §11)."""

import abc
from itertools import pairwise
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray
from pydantic import NonNegativeFloat, PositiveFloat

from ...parts import Part
from ..draws import normal_biases, normal_entries, random_frame
from ..models import SingularMap, TwoLayer

Layers = tuple[Float[Array, "output input"], ...]
Biases = tuple[Float[Array, " output"], ...]
Sizes = tuple[int, ...]
"""Inputs, every hidden width, outputs."""


class AbstractLayersStart(Part):
    """A recipe for the layers of a deep network: `draw(key, teacher, sizes)` gives W_1, …, W_L."""

    role: ClassVar[str] = "start"

    @abc.abstractmethod
    def draw(self, key: PRNGKeyArray, teacher: Any, sizes: Sizes) -> Layers:
        """The layers, W_l of shape (sizes[l], sizes[l−1]); `key` is the member's own for this purpose."""

    @abc.abstractmethod
    def check_depth(self, depth: int) -> None:
        """**Raises:** `ValueError` where no network of this depth can be drawn."""


class AbstractLinearStart(AbstractLayersStart):
    """A start of deep linear networks: its teacher is a `SingularMap`."""


class AbstractDeepStart(AbstractLayersStart):
    """A start of networks that are not linear."""

    @abc.abstractmethod
    def biases(self, key: PRNGKeyArray, teacher: Any, sizes: Sizes) -> Biases:
        """b_1, …, b_L of a student that has biases."""


class AbstractAnyDepthStart(AbstractLinearStart):
    """A start of networks of any depth."""

    def check_depth(self, depth):
        return


class AbstractFreeLayersStart(AbstractAnyDepthStart, AbstractDeepStart):
    """A start that does not know the teacher: of networks that are not linear, too, whose biases it leaves at 0."""

    def biases(self, key, teacher, sizes):
        return tuple(jnp.zeros(rows) for rows in sizes[1:])


class AbstractAlignedStart(AbstractLinearStart):
    """A start that lies between the teacher's singular vectors: hidden unit k carries mode k, and modes do not mix."""

    @abc.abstractmethod
    def shares(self, depth: int) -> Float[Array, " layer"]:
        """c_1, …, c_L: what every layer carries of every mode."""

    def draw(self, key, teacher, sizes):
        return _aligned(teacher, sizes, self.shares(len(sizes) - 1)[:, None])


class AlignedBalanced(AbstractAlignedStart, AbstractAnyDepthStart):
    """Every layer carries scale^(1/L) of every mode, between the teacher's singular vectors.

    W_{l+1}ᵀW_{l+1} = W_lW_lᵀ, and each mode moves alone: u̇ = L u^{2−2/L}(s − u). Modes beyond a hidden width stay 0.
    """

    kind: Literal["aligned_balanced"] = "aligned_balanced"
    scale: PositiveFloat = 0.01
    """u_k(0), the strength of every mode of the product."""

    def shares(self, depth):
        return jnp.full(depth, jnp.asarray(self.scale) ** (1.0 / depth))


class NearFactors(AbstractAnyDepthStart):
    """The teacher itself, s_k^(1/L) a layer, and independent N(0, distance²/inputs of the layer) entries beside it.

    A start near a minimum; modes beyond a hidden width are not there.
    """

    kind: Literal["near_factors"] = "near_factors"
    distance: NonNegativeFloat = 0.1

    def draw(self, key, teacher, sizes):
        depth = len(sizes) - 1
        shares = jnp.stack([teacher.s ** (1.0 / depth)] * depth)
        noise = Gaussian.model_construct(gain=self.distance).draw(key, teacher, sizes)
        return tuple(map(jnp.add, _aligned(teacher, sizes, shares), noise))


class LambdaBalanced(AbstractAlignedStart):
    """Two layers between the teacher's singular vectors with w₂² − w₁² = `imbalance` in every mode, w₁w₂ = `scale`.

    From rich (0) to lazy (large): theory.md §11; Dominé et al. 2024 (arXiv 2409.14623).
    """

    kind: Literal["lambda_balanced"] = "lambda_balanced"
    scale: PositiveFloat = 0.01
    imbalance: float = 0.0

    def shares(self, depth):
        size = jnp.abs(jnp.asarray(self.imbalance))
        larger = jnp.sqrt(0.5 * (size + jnp.hypot(size, 2.0 * jnp.asarray(self.scale))))
        smaller = self.scale / larger
        first = jnp.where(jnp.asarray(self.imbalance) >= 0.0, smaller, larger)
        return jnp.stack([first, self.scale / first])

    def check_depth(self, depth):
        if depth != 2:
            raise ValueError(
                f"depth: got {depth} with the start lambda_balanced, which is one of two layers; take depth = 2 or "
                "another start"
            )


class Gaussian(AbstractFreeLayersStart):
    """Independent N(0, gain²/inputs of the layer) entries; a wider network holds the narrower one's draws."""

    kind: Literal["gaussian"] = "gaussian"
    gain: PositiveFloat = 1.0

    def draw(self, key, teacher, sizes):
        return tuple(
            self.gain / jnp.sqrt(float(columns)) * normal_entries(jax.random.fold_in(key, layer), rows, columns)
            for layer, (columns, rows) in enumerate(pairwise(sizes))
        )


class Orthogonal(AbstractFreeLayersStart):
    """Every layer `gain` times a uniform matrix with orthonormal rows or columns, whichever are fewer."""

    kind: Literal["orthogonal"] = "orthogonal"
    gain: PositiveFloat = 1.0

    def draw(self, key, teacher, sizes):
        return tuple(
            self.gain * _frame(jax.random.fold_in(key, layer), rows, columns)
            for layer, (columns, rows) in enumerate(pairwise(sizes))
        )


class Identity(AbstractFreeLayersStart):
    """Every layer `gain` times the identity, cut or filled up with zeros where the layer is not square."""

    kind: Literal["identity"] = "identity"
    gain: PositiveFloat = 1.0

    def draw(self, key, teacher, sizes):
        return tuple(self.gain * jnp.eye(rows, columns) for columns, rows in pairwise(sizes))


class NearLayers(AbstractDeepStart):
    """The teacher's own layers, and independent N(0, distance²/inputs of the layer) entries beside them and its biases.

    For students of the teacher's shape: at distance 0 a student of its activation, residuals and norm is the teacher.
    """

    kind: Literal["near_layers"] = "near_layers"
    distance: NonNegativeFloat = 0.1

    def draw(self, key, teacher, sizes):
        planted = (teacher.W, teacher.a[None, :]) if isinstance(teacher, TwoLayer) else teacher.weights
        noise = Gaussian.model_construct(gain=self.distance).draw(key, teacher, sizes)
        return tuple(map(jnp.add, planted, noise))

    def biases(self, key, teacher, sizes):
        planted = (None,) * (len(sizes) - 1) if isinstance(teacher, TwoLayer) else teacher.biases
        noise = [
            self.distance / jnp.sqrt(float(columns)) * normal_biases(jax.random.fold_in(key, layer), rows)
            for layer, (columns, rows) in enumerate(pairwise(sizes))
        ]
        return tuple(b if of is None else of + b for of, b in zip(planted, noise, strict=True))

    def check_depth(self, depth):
        return


def _frame(key: PRNGKeyArray, rows: int, columns: int) -> Float[Array, "rows columns"]:
    return random_frame(key, rows, columns) if rows >= columns else random_frame(key, columns, rows).T


def _aligned(teacher: SingularMap, sizes: Sizes, shares: Float[Array, "layer some_modes"]) -> Layers:
    """Layers that carry mode k from hidden unit k to hidden unit k, a share a layer and mode, between V and U."""
    modes, shares = len(teacher.s), shares[:, None, :]
    first = shares[0] * jnp.eye(sizes[1], modes) @ teacher.V.T
    middle = [
        share * jnp.eye(rows, modes) @ jnp.eye(modes, columns)
        for share, columns, rows in zip(shares[1:-1], sizes[1:-2], sizes[2:-1], strict=True)
    ]
    return first, *middle, shares[-1] * teacher.U @ jnp.eye(modes, sizes[-2])
