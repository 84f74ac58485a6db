"""One part of every role for two-layer networks, as a user writes them (docs/extending.md)."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from pydantic import PositiveFloat

import ensemble as ens


@ens.register
class Cosine(ens.AbstractActivation):
    """σ(z) = cos z: K(w, v) = exp(−(‖w‖² + ‖v‖²)/2) cosh(wᵀv)."""

    name: ClassVar[str] = "cosine"
    symmetry: ClassVar[str] = "line"
    homogeneous: ClassVar[bool] = False

    def __call__(self, preactivation, norm):
        return jnp.cos(preactivation)

    def dual(self, gram, norm_w, norm_v):
        return jnp.exp(-0.5 * (norm_w**2 + norm_v**2)) * jnp.cosh(gram)

    def dual_slopes(self, gram, norm_w, norm_v):
        scale = jnp.exp(-0.5 * (norm_w**2 + norm_v**2))
        return -scale * jnp.cosh(gram), scale * jnp.sinh(gram)


@ens.register
class Cauchy(ens.AbstractDifferentiatedPenalty):
    """P = Σ log(1 + (θ/width)²): without a proximal map, with a number of its own."""

    kind: Literal["cauchy"] = "cauchy"
    width: PositiveFloat = 1.0

    def value(self, model):
        return sum(jnp.sum(jnp.log1p((x / self.width) ** 2)) for x in jax.tree.leaves(model))


@ens.register
class Absolute(ens.AbstractDifferentiatedPenalty, ens.AbstractProximalPenalty):
    """P = Σ|θ|, whose proximal map is the soft threshold."""

    kind: Literal["absolute"] = "absolute"

    def value(self, model):
        return sum(jnp.sum(jnp.abs(x)) for x in jax.tree.leaves(model))

    def prox(self, model, amount):
        return jax.tree.map(lambda x: jnp.sign(x) * jnp.maximum(jnp.abs(x) - amount, 0.0), model)


@ens.register
class Normalised(ens.AbstractGradientUpdate):
    """θ ← θ − η g/(‖g‖ + eps), and how far it went as its state."""

    kind: Literal["normalised"] = "normalised"
    rotation_equivariant: ClassVar[bool] = True
    eps: PositiveFloat = 1e-12

    def limit(self):
        return None

    def init(self, model):
        return {"path": jnp.zeros((), jax.tree.leaves(model)[0].dtype)}

    def amount(self, gradient, state, model, step_size):
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(gradient)))
        scale = step_size / (norm + self.eps)
        return jax.tree.map(lambda g: scale * g, gradient), {"path": state["path"] + scale * norm}


@ens.register
class Fading(ens.AbstractTwoLayerTeacher):
    """Orthonormal rows with output weights 1, ratio, ratio², …"""

    kind: Literal["fading"] = "fading"
    neurons: int
    inputs: int
    ratio: PositiveFloat = 0.5

    def shape(self):
        return self.neurons, self.inputs

    def plane(self):
        return self.neurons

    def draw(self, key, columns=None):
        a = jnp.asarray(self.ratio) ** jnp.arange(self.neurons).astype(float)
        return ens.TwoLayer(a, jnp.eye(self.neurons, columns or self.inputs), self.sigma)

    def turned(self, columns):
        return self.model_copy(update={"inputs": columns})

    def known(self):
        return None


@ens.register
class Ones(ens.AbstractFreeStart):
    """Every entry `size`, and a little of the member's own noise."""

    kind: Literal["ones"] = "ones"
    size: PositiveFloat = 0.3

    def draw(self, key, teacher, width, space):
        noise = 0.1 * jax.random.normal(key, (width, space.columns))
        return ens.TwoLayer(jnp.full(width, self.size), self.size + noise, teacher.activation)


@ens.register
class SingularValues(ens.AbstractPlainProbe):
    """The singular values of the first layer, along a dimension of their own."""

    name: ClassVar[str] = "singular_values"
    dims: ClassVar[tuple[str, ...]] = ("mode",)
    long_name: ClassVar[str] = "singular values of W, the largest first"

    def __call__(self, at):
        return jnp.linalg.svd(at.moment.model.W, compute_uv=False)
