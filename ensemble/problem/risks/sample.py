"""Risks on samples: a fixed sample, batches of it, fresh samples every step, and a test sample (theory.md §10).

Labels are y = f*(x) + noise · ξ, ξ ~ N(0, 1) for each output. All draws are functions of the member's data key: they
are made where the member is trained, and kept in no file. They work for any model and teacher that are functions of
one x.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from ..models import TwoLayer, row_norms
from .base import AbstractDifferentiatedRisk, AbstractScoredRisk, AbstractStochasticRisk

Key = UInt32[Array, "*batch 2"]
"""The data of a key: a leaf like any other, which JAX's own keys are not."""
PURPOSES = ("x", "noise", "batches", "test", "second")
"""What a member's data key is folded for; the order is part of every dataset's identity."""


def purpose_key(key: Any, purpose: str) -> Any:
    """The key of one purpose."""
    return jax.random.fold_in(key, PURPOSES.index(purpose))


def as_leaf(key: Any) -> Key:
    """A key as an array."""
    return jax.random.key_data(key)


def as_key(leaf: Key) -> Any:
    """The key of an array."""
    return jax.random.wrap_key_data(leaf, impl="threefry2x32")


class SampleRisk(AbstractScoredRisk):
    """½ mean_i ‖f(x_i) − y_i‖² over a member's sample.

    **Arguments:** `population`, what models are scored by; `x`, inputs, and `y`, labels, a row a sample; `noise`, σ.
    """

    population: Any
    x: Float[Array, "sample input"]
    y: Float[Array, "sample *output"]
    noise: Float[Array, "*batch"]

    @property
    def scoring(self):
        return self.population

    def value(self, model):
        function = seen(self.population, model)
        return in_parts(_half_squares(function), self.x, self.y, numbers=largest(function)) / len(self.x)

    def value_and_gradient(self, model):
        def of_part(x: Array, y: Array) -> Any:
            return jax.value_and_grad(lambda model: _half_squares(seen(self.population, model))(x, y))(model)

        sums = in_parts(of_part, self.x, self.y, numbers=largest(model))
        return jax.tree.map(lambda total: total / len(self.x), sums)

    def of_target(self, share: Float[Array, " neuron"]) -> "SampleRisk":
        """The same sample with labels of a teacher whose output weights are each times a share."""
        population = self.population.of_target(share)
        change = values(population.teacher, self.x) - values(self.teacher, self.x)
        return SampleRisk(population, self.x, self.y + change, self.noise)

    def read_out(self, model: TwoLayer) -> tuple[Float[Array, "neuron neuron"], Float[Array, " neuron"]]:
        """mean σσᵀ and mean σy over the sample, σ the hidden layer: the normal equations of the output layer."""

        def of_part(x: Array, y: Array) -> Any:
            hidden = model.activation(x @ model.W.T, row_norms(model.W)[None, :])
            return hidden.T @ hidden, hidden.T @ y

        own, cross = in_parts(of_part, self.x, self.y, numbers=max(model.W.size, model.a.size**2))
        return own / len(self.x), cross / len(self.x)


class BatchRisk(AbstractStochasticRisk):
    """A sample of which every step sees a batch; its value is that of the whole sample.

    **Arguments:** `sample`; `key`, a leaf; `batch` samples a step, drawn `replacement` or, without it, from a
    permutation of the sample in each epoch of ⌊n/batch⌋ steps, whose rest the epoch leaves out.
    """

    sample: SampleRisk
    key: Key
    batch: int = eqx.field(static=True)
    replacement: bool = eqx.field(static=True)

    @property
    def scoring(self):
        return self.sample.population

    def value(self, model):
        return self.sample.value(model)

    def value_and_gradient(self, model):
        return self.sample.value_and_gradient(model)

    def of_target(self, share: Float[Array, " neuron"]) -> "BatchRisk":
        """As that of the sample."""
        return BatchRisk(self.sample.of_target(share), self.key, self.batch, self.replacement)

    def read_out(self, model: TwoLayer):
        """Those of the whole sample."""
        return self.sample.read_out(model)

    def of_step(self, step):
        chosen, sample = self.chosen(step), self.sample
        return SampleRisk(sample.population, sample.x[chosen], sample.y[chosen], sample.noise)

    def chosen(self, step: Int[Array, ""]) -> Int[Array, " batch"]:
        """The samples of a step's batch."""
        count, key = len(self.sample.x), as_key(self.key)
        if self.replacement:
            return jax.random.randint(jax.random.fold_in(key, step), (self.batch,), 0, count)
        steps = count // self.batch
        order = jnp.argsort(jax.random.bits(jax.random.fold_in(key, step // steps), (count,)))
        return jax.lax.dynamic_slice(order, ((step % steps) * self.batch,), (self.batch,))


class OnlineRisk(AbstractStochasticRisk):
    """Fresh samples in every step; its value is the population's.

    **Arguments:** `population`; `law`, an `InputLaw`; `noise`, σ; `key`, a leaf; `batch` samples a step.
    """

    population: Any
    law: Any
    noise: Float[Array, "*batch"]
    key: Key
    batch: int = eqx.field(static=True)

    @property
    def scoring(self):
        return self.population

    def value(self, model):
        return self.population.value(model)

    def value_and_gradient(self, model):
        return self.population.value_and_gradient(model)

    def of_target(self, share: Float[Array, " neuron"]) -> "OnlineRisk":
        """As that of the population."""
        return OnlineRisk(self.population.of_target(share), self.law, self.noise, self.key, self.batch)

    def of_step(self, step):
        return drawn(self.population, self.law, self.noise, jax.random.fold_in(as_key(self.key), step), self.batch)


class HeldOutRisk(AbstractDifferentiatedRisk):
    """½E‖f − f*‖² estimated on a test sample without noise, drawn anew, part by part, at every evaluation.

    For pairs of model and teacher whose population risk has no closed form.

    **Arguments:** `teacher`; `law`, an `InputLaw`; `key`, a leaf; `count`, its size; `view`: what is made of a model
    before it is compared (by a lazy comparator); None: nothing.
    """

    teacher: Any
    law: Any
    key: Key
    count: int = eqx.field(static=True)
    view: Any = None

    def value(self, model):
        return self.value_and_error(model)[0]

    def value_and_error(self, model: Any) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The estimate and its standard error: that of a mean of `count` independent terms."""
        dtype, function = jax.tree.leaves(model)[0].dtype, seen(self, model)
        whole, rest = divmod(self.count, _PART)
        parts = [(jnp.arange(whole), _PART)] * (whole > 0) + [(jnp.asarray([whole]), rest)] * (rest > 0)

        def of_part(size: int, part: Array) -> tuple[Array, Array]:
            x = self.law.scored_on(as_key(self.key), part, part * _PART, size, dtype)
            errors = (values(function, x) - values(self.teacher, x)).reshape(size, -1)
            terms = 0.5 * jnp.sum(errors**2, axis=1)
            return jnp.sum(terms), jnp.sum(terms**2)

        def total(number: Array, size: int) -> tuple[Array, Array]:
            first, second = jax.lax.map(lambda part: of_part(size, part), number)
            return jnp.sum(first), jnp.sum(second)

        sums = [total(*part) for part in parts]
        mean, square = (jnp.sum(jnp.stack(x)) / self.count for x in zip(*sums, strict=True))
        return mean, jnp.sqrt(jnp.maximum(square - mean**2, 0.0) / max(self.count - 1, 1))

    def of_target(self, share: Float[Array, " neuron"]) -> "HeldOutRisk":
        """That of a teacher whose output weights are each times a share."""
        return HeldOutRisk(self.teacher.weighted(share), self.law, self.key, self.count)


def seen(population: Any, model: Any) -> Any:
    """The function that is compared with the teacher: the model, or what a lazy comparator makes of it."""
    view = getattr(population, "view", None)
    return model if view is None else view(model)


_PART = 1000
"""Samples of a test sample that are there at once."""


def values(function: Any, x: Float[Array, "sample input"]) -> Float[Array, "sample *output"]:
    """A function of one x at every row."""
    size = _part_size(len(x), largest(function))
    whole = len(x) // size
    if whole <= 1 and size == len(x):
        return jax.vmap(function)(x)
    parts = jax.lax.map(jax.vmap(function), x[: whole * size].reshape(whole, size, -1))
    done = parts.reshape(-1, *parts.shape[2:])
    return jnp.concatenate([done, jax.vmap(function)(x[whole * size :])]) if whole * size < len(x) else done


def in_parts(of_part: Callable[[Array, Array], Any], x: Array, y: Array, *, numbers: int) -> Any:
    """Σ of_part(x, y) over parts of a sample, one after another, so small that no matrix product in them is split over
    cores: Eigen then sums in another order, and a CPU's cores would decide the bits.

    **Arguments:** `numbers`: the multiplications that the largest product of a sample takes.
    """
    size = _part_size(len(x), numbers)
    whole = len(x) // size
    if whole == 1 and size == len(x):
        return of_part(x, y)
    parts: Any = tuple(z[: whole * size].reshape(whole, size, *z.shape[1:]) for z in (x, y))
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(of_part, x[:size], y[:size]))

    def add(total: Any, part: tuple[Array, Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, of_part(*part)), None

    total, _ = jax.lax.scan(add, zero, parts)
    if whole * size == len(x):
        return total
    return jax.tree.map(jnp.add, total, of_part(x[whole * size :], y[whole * size :]))


_UNSPLIT = 2**17
"""Multiplications of a matrix product that Eigen leaves to one thread: it splits from 100 000 cycles on."""
_FEWEST = 15
"""Samples in a part however large the network: Eigen splits no sum of fewer than 16 terms."""


def _part_size(count: int, numbers: int) -> int:
    return min(count, max(_FEWEST, _UNSPLIT // max(numbers, 1)))


def largest(function: Any) -> int:
    """The multiplications of a sample with the largest array of a model."""
    return max((leaf.size for leaf in jax.tree.leaves(function)), default=1) * getattr(function, "places", 1)


def _half_squares(model: Any) -> Callable[[Array, Array], Float[Array, ""]]:
    """Σ ½‖f(x_i) − y_i‖²."""
    return lambda x, y: 0.5 * jnp.sum((jax.vmap(model)(x) - y) ** 2)


def drawn(population: Any, law: Any, noise: Any, key: Any, count: int) -> SampleRisk:
    """A sample; its i-th row depends on the key and on i alone."""
    dtype = jnp.asarray(noise).dtype
    x = law.rows(purpose_key(key, "x"), count, dtype)
    clean = values(population.teacher, x)
    keys = jax.vmap(lambda i: jax.random.fold_in(purpose_key(key, "noise"), i))(jnp.arange(count))
    xi = jax.vmap(lambda k: jax.random.normal(k, clean.shape[1:]))(keys).astype(dtype)
    return SampleRisk(population, x, clean + noise * xi, jnp.asarray(noise))
