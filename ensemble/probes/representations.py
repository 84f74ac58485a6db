"""Probes of deep networks that are not linear: their first layer beside the teacher's directions, and what their hidden
layers represent (theory.md §11)."""

from collections.abc import Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..numerics import safe_divide
from ..numerics.keys import fixed_key
from ..problem.models import TwoLayer, masses
from ..problem.students import AbstractStudent, DeepStudent
from .base import AbstractPlainProbe, AbstractProbe, AbstractStartProbe, Measured, aid
from .geometry import angles, mean_angle, teacher_frame

PROBED = 256
"""Inputs that representations are compared on: the same for every member of every study."""


def first_neurons(network: Any) -> TwoLayer:
    """The first layer's rows, with the norm of what the second layer takes of each as its output weight; a two-layer
    network as it is."""
    if isinstance(network, TwoLayer):
        return network
    first, second = network.weights[:2]
    return TwoLayer(jnp.sqrt(jnp.sum(second**2, axis=0)), first, network.activation)


def first_layer(at: Measured) -> TwoLayer:
    """That of the student."""
    return first_neurons(at.moment.model)


def first_angles(at: Measured) -> Float[Array, "neuron teacher_neuron"]:
    """Angles between first-layer neurons and those of the teacher's first layer: of lines, since later
    layers may turn a sign."""
    return angles(at.view(first_layer).W, first_neurons(at.moment.risk.teacher).W, "line")


class AbstractFirstLayerProbe(AbstractPlainProbe):
    """A probe of the first layer of a deep student; a neuron's mass is ‖w_i‖ times the norm of its outgoing weights."""

    of: ClassVar[type[AbstractStudent]] = DeepStudent


class FirstLayerAngle(AbstractFirstLayerProbe):
    """Σ m_i θ_i/Σ m_i, θ_i the angle between w_i and the nearest teacher line."""

    name: ClassVar[str] = "first_layer_angle"
    units: ClassVar[str] = "rad"
    long_name: ClassVar[str] = "mass-weighted mean angle of first-layer neurons to the nearest teacher line"
    default: ClassVar[bool] = True

    def __call__(self, at):
        neurons = at.view(first_layer)
        return mean_angle(masses(neurons.a, neurons.W), at.view(first_angles), 0.5 * jnp.pi)


class TeacherAngle(AbstractFirstLayerProbe):
    """min_i θ_ij over the first-layer neurons whose mass is at least a hundredth of the largest."""

    name: ClassVar[str] = "teacher_angle"
    dims: ClassVar[tuple[str, ...]] = ("teacher_neuron",)
    units: ClassVar[str] = "rad"
    long_name: ClassVar[str] = "smallest angle of a first-layer neuron of weight to every teacher line"
    default: ClassVar[bool] = True

    def __call__(self, at):
        neurons = at.view(first_layer)
        mass = masses(neurons.a, neurons.W)
        counts = (mass >= 0.01 * jnp.max(mass)) & (mass > 0.0)
        return jnp.min(jnp.where(counts[:, None], at.view(first_angles), 0.5 * jnp.pi), axis=0)


class AbstractSubspaceProbe(AbstractProbe):
    """A probe of the teacher's subspace S*, which is that of its first layer."""

    of: ClassVar[type[AbstractStudent]] = DeepStudent

    def prepare(self, risk):
        return teacher_frame(first_neurons(risk.teacher))


class FirstLayerSubspace(AbstractSubspaceProbe):
    """‖W_1 P_S*‖_F²/‖W_1‖_F², P_S* the projector on the teacher's subspace."""

    name: ClassVar[str] = "first_layer_subspace"
    long_name: ClassVar[str] = "share of the first layer's squared weights inside the teacher subspace"
    default: ClassVar[bool] = True

    def __call__(self, at):
        W = at.moment.model.weights[0]
        return safe_divide(jnp.sum((W @ aid(self, at).basis.T) ** 2), jnp.sum(W**2))


class LayerSubspace(AbstractSubspaceProbe):
    """E‖∂h_l/∂x P_S*‖_F²/E‖∂h_l/∂x‖_F² of every hidden layer, over the fixed inputs: what it keeps of the subspace."""

    name: ClassVar[str] = "layer_subspace"
    dims: ClassVar[tuple[str, ...]] = ("hidden_layer",)
    long_name: ClassVar[str] = "share of the squared slopes of every hidden layer inside the teacher subspace"

    def __call__(self, at):
        model, basis = at.moment.model, aid(self, at).basis
        slopes = jax.vmap(jax.jacfwd(model.hidden))(inputs(model.weights[0].shape[1]))
        return jnp.stack([safe_divide(jnp.sum((J @ basis.T) ** 2), jnp.sum(J**2)) for J in slopes])


# -- representations ---------------------------------------------------------------------------------


def inputs(d: int) -> Float[Array, "point input"]:
    """The fixed inputs that representations are compared on, N(0, I_d)."""
    return jax.random.normal(fixed_key(11), (PROBED, d))


def similarity(one: Float[Array, "point unit"], other: Float[Array, "point other_unit"]) -> Float[Array, ""]:
    """Linear centred kernel alignment, ‖XᵀY‖_F²/(‖XᵀX‖_F ‖YᵀY‖_F) of centred columns; 0 of a constant one."""
    X, Y = one - jnp.mean(one, axis=0, keepdims=True), other - jnp.mean(other, axis=0, keepdims=True)
    sizes = jnp.linalg.norm(X.T @ X) * jnp.linalg.norm(Y.T @ Y)
    return safe_divide(jnp.sum((X.T @ Y) ** 2), sizes)


def hidden(at: Measured):
    """What every hidden layer puts out at the fixed inputs."""
    model = at.moment.model
    return jax.vmap(model.hidden)(inputs(model.weights[0].shape[1]))


def planted(at: Measured) -> tuple[Float[Array, "point teacher_unit"], ...]:
    """What every hidden layer of the teacher puts out at the fixed inputs."""
    teacher = at.moment.risk.teacher
    if not isinstance(teacher, TwoLayer):
        return jax.vmap(teacher.hidden)(inputs(teacher.weights[0].shape[1]))
    x = inputs(teacher.W.shape[1])
    return (teacher.activation(x @ teacher.W.T, jnp.linalg.norm(teacher.W, axis=1)[None, :]),)


class TeacherSimilarity(AbstractPlainProbe):
    """CKA of every hidden layer with the teacher's last one, which its output is linear in."""

    name: ClassVar[str] = "teacher_similarity"
    dims: ClassVar[tuple[str, ...]] = ("hidden_layer",)
    long_name: ClassVar[str] = "similarity (CKA) of every hidden layer to the teacher's last one, on 256 fixed inputs"
    of: ClassVar[type[AbstractStudent]] = DeepStudent

    def __call__(self, at):
        *_, last = at.view(planted)
        return jnp.stack([similarity(h, last) for h in at.view(hidden)])


class LayerSimilarity(AbstractPlainProbe):
    """CKA of every hidden layer with every hidden layer of the teacher."""

    name: ClassVar[str] = "layer_similarity"
    dims: ClassVar[tuple[str, ...]] = ("hidden_layer", "teacher_hidden_layer")
    long_name: ClassVar[str] = "similarity (CKA) of every hidden layer to each one of the teacher, on 256 fixed inputs"
    of: ClassVar[type[AbstractStudent]] = DeepStudent

    def __call__(self, at):
        return jnp.stack([jnp.stack([similarity(h, g) for g in at.view(planted)]) for h in at.view(hidden)])


class AbstractHiddenStartProbe(AbstractStartProbe):
    """A probe of every hidden layer beside itself at step 0: one start is kept for all of them."""

    dims: ClassVar[tuple[str, ...]] = ("hidden_layer",)
    of: ClassVar[type[AbstractStudent]] = DeepStudent

    def from_start(self, model, risk):
        return {"model": model}

    def pairs(self, at: Measured) -> Iterator[tuple[Array, Array]]:
        """(now, at step 0) of every hidden layer, input by input."""
        start = aid(self, at)["model"]
        return zip(at.view(hidden), jax.vmap(start.hidden)(inputs(start.weights[0].shape[1])), strict=True)


class StartSimilarity(AbstractHiddenStartProbe):
    """CKA of every hidden layer with itself at step 0."""

    name: ClassVar[str] = "start_similarity"
    long_name: ClassVar[str] = "similarity (CKA) of every hidden layer to itself at step 0, on 256 fixed inputs"

    def __call__(self, at):
        return jnp.stack([similarity(h, g) for h, g in self.pairs(at)])


class FeatureChange(AbstractHiddenStartProbe):
    """√(Σ‖h_l − h_l(0)‖²/Σ‖h_l(0)‖²) of every hidden layer, over the fixed inputs."""

    name: ClassVar[str] = "feature_change"
    long_name: ClassVar[str] = "relative change of every hidden layer since step 0, on 256 fixed inputs"

    def __call__(self, at):
        changes = [safe_divide(jnp.sum((h - g) ** 2), jnp.sum(g**2)) for h, g in self.pairs(at)]
        return jnp.sqrt(jnp.stack(changes))
