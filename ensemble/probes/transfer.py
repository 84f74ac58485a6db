"""Probes of two tasks: the loss against either, and what the first layer holds for it under the best output layer."""

from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..problem.models import TwoLayer
from ..problem.risks import PopulationRisk, kernel
from ..problem.students import AbstractStudent, TwoLayerStudent
from ..problem.teachers import AbstractTeacher, TwoTasks
from .base import AbstractPlainProbe, Measured


def task(teacher: TwoLayer, number: int) -> TwoLayer:
    """The first (0) or second (1) half of a teacher's neurons."""
    half = teacher.a.shape[0] // 2
    own = slice(number * half, (number + 1) * half)
    return TwoLayer(teacher.a[own], teacher.W[own], teacher.activation)


def readout_loss(student: TwoLayer, teacher: TwoLayer) -> Float[Array, ""]:
    """min over a of ½E(Σ a_i σ(w_iᵀx) − f*(x))²: what the features of the first layer leave of a teacher.

        ½‖f*‖² − ½ bᵀK⁺b,   K = K(W, W), b = K(W, W*) a*

    By elimination of K, the neuron first of which most is left; what is at rounding level is left out. A scalar ≥ 0 up
    to rounding.
    """
    sigma, W = student.activation, student.W
    K, b = kernel(sigma, W, W), kernel(sigma, W, teacher.W) @ teacher.a
    least = len(student.a) * jnp.finfo(W.dtype).eps * jnp.max(jnp.diag(K))

    # No routine of LAPACK: with eigh in here, runs on two threads of a CPU were seen to wait for one another for ever.
    def eliminate(left: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], Array]:
        K, b, open_ones = left
        size = jnp.where(open_ones, jnp.diag(K), -jnp.inf)
        i = jnp.argmax(size)
        inverse = jnp.where(size[i] > least, 1.0 / jnp.where(size[i] > least, size[i], 1.0), 0.0)
        column, gain = K[:, i], b[i] * b[i] * inverse
        K = K - column[:, None] * column[None, :] * inverse
        return (K, b - column * (b[i] * inverse), open_ones & (jnp.arange(len(b)) != i)), gain

    begin = K, b, jnp.ones(len(b), bool)
    _, gains = jax.lax.scan(eliminate, begin, None, length=len(b))
    return 0.5 * (teacher.a @ kernel(sigma, teacher.W, teacher.W) @ teacher.a - jnp.sum(gains))


class AbstractTaskProbe(AbstractPlainProbe):
    """A function of a two-layer student and of one of the two tasks of its teacher."""

    of: ClassVar[type[AbstractStudent]] = TwoLayerStudent
    against: ClassVar[type[AbstractTeacher]] = TwoTasks
    of_network: ClassVar[bool] = True
    number: ClassVar[int]
    """Of the task: 0 or 1."""
    measure: ClassVar[Callable[[TwoLayer, TwoLayer], Float[Array, ""]]]

    def __call__(self, at: Measured):
        return type(self).measure(at.moment.model, task(at.moment.risk.teacher, self.number))


def _loss(student: TwoLayer, teacher: TwoLayer) -> Float[Array, ""]:
    return PopulationRisk.of(teacher).value(student)


def _probe(called: str, which: int, said: str, function: Callable) -> type[AbstractTaskProbe]:
    class TaskProbe(AbstractTaskProbe):
        name: ClassVar[str] = f"{('first', 'second')[which]}_task_{called}"
        long_name: ClassVar[str] = said.format(("first", "second")[which])
        number: ClassVar[int] = which
        measure: ClassVar[Callable] = staticmethod(function)

    return TaskProbe


_LEAST = "least loss against the {} task over all output weights, first layer as it is"
TASK_PROBES = (
    *(_probe("loss", which, "population loss against the {} task", _loss) for which in (0, 1)),
    *(_probe("readout", which, _LEAST, readout_loss) for which in (0, 1)),
)
"""½E(f − f*_k)² of task k, and its minimum over a: what the first layer holds of the task, or has forgotten of it."""
