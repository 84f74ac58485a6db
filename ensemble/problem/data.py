"""The data of a study: how x is distributed, and which samples of it a member is trained on (theory.md §9, §10).

Without samples a member is trained on the exact population risk. `samples = n` draws each member n of its own, `batch`
shows a step some of them, and `online` gives every step fresh ones. All are functions of the member's data key.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray
from pydantic import NonNegativeFloat, PositiveInt, model_validator

from ..parts import chosen, is_lenient
from ..spec import Spec
from .inputs import AbstractInputs, Features, Gaussian, InputLaw
from .risks import AbstractRisk, BatchRisk, HeldOutRisk, OnlineRisk
from .risks.sample import as_leaf, drawn, purpose_key

TEST_SAMPLES = 10_000
"""Of a test sample whose size a study does not say."""


class Data(Spec):
    """What a member's risk is made of beside its teacher.

    Labels are y = f*(x) + `noise` · ξ with ξ ~ N(0, 1) for each output. The risk is ½ mean (f(x) − y)²; `loss` stays
    the exact population loss ½E(f − f*)², or, where that has no closed form, its estimate on `test_samples`.
    """

    inputs: chosen(AbstractInputs) = Gaussian()  # pyright: ignore[reportInvalidTypeForm]
    samples: PositiveInt | None = None
    """n, each member's own; none: the population."""
    noise: NonNegativeFloat = 0.0
    """σ, the standard deviation of the noise on labels."""
    batch: PositiveInt | None = None
    """Samples that a step sees; none: all, or one where `online`."""
    replacement: bool = True
    """Whether a batch is drawn with replacement, or from a permutation of the sample in each epoch."""
    online: bool = False
    """Whether every step sees fresh samples."""
    test_samples: PositiveInt | None = None
    """Of a test sample, where the population loss has no closed form."""

    @property
    def is_sampled(self) -> bool:
        """Whether members are trained on samples, and not on the population."""
        return self.online or self.samples is not None

    @property
    def is_stochastic(self) -> bool:
        """Whether a step sees other samples than the one before it."""
        return self.online or self.batch is not None

    @property
    def held_at_once(self) -> int:
        """The samples that a member holds."""
        return self.samples or (self.batch or 1 if self.online else 0)

    @property
    def test_count(self) -> int:
        """The size of a test sample, where there is one."""
        return (
            (self.inputs.held_out if isinstance(self.inputs, Features) else None) or self.test_samples or TEST_SAMPLES
        )

    def risk(
        self, numbers: dict[str, Any], risk: AbstractRisk, key: PRNGKeyArray, inputs: Any, exact: bool
    ) -> AbstractRisk:
        """A member's risk.

        **Arguments:** `numbers`: those of the member, in place of this spec's own; `risk`: that of its student under
        N(0, I); its data `key`; `inputs`, d; `exact`: whether the population risk has a closed form. Without it only
        the teacher is taken of `risk`.
        """
        own = self.with_numbers(numbers)
        population: Any = own.inputs.population(risk, inputs) if exact else None
        if not self.is_sampled and exact:
            return population
        # What is static of the law must hold no tracer.
        law = InputLaw(numbers.get("inputs", {}), self.inputs.structure(), inputs)
        if not exact:
            teacher: Any = risk
            population = HeldOutRisk(teacher.teacher, law, as_leaf(purpose_key(key, "test")), self.test_count)
        noise = jnp.asarray(own.noise)
        batches = as_leaf(purpose_key(key, "batches"))
        if self.online:
            return OnlineRisk(population, law, noise, batches, self.batch or 1)
        assert self.samples is not None, "a study refuses a population without a closed form"
        sample = drawn(population, law, noise, key, self.samples)
        return sample if self.batch is None else BatchRisk(sample, batches, self.batch, self.replacement)

    @model_validator(mode="after")
    def _check(self):
        if self.online and self.samples is not None:
            raise ValueError(
                f"samples: got {self.samples} with online = true, which draws fresh samples every step; leave one out"
            )
        if self.batch is not None and not self.is_sampled:
            raise ValueError(f"batch: got {self.batch} without samples; give samples = n, or online = true")
        if self.batch is not None and self.samples is not None and self.batch > self.samples:
            raise ValueError(
                f"batch: got {self.batch} of samples = {self.samples}; a batch has at most all of them: lower it, or "
                "leave it out for all"
            )
        if self.noise and not self.is_sampled:
            raise ValueError(
                f"noise: got {self.noise:g} without samples: noise on the labels of the whole population adds σ²/2 to "
                "the loss and changes nothing else; give samples = n or online = true"
            )
        if isinstance(self.inputs, Features) and not is_lenient():
            self._check_features(self.inputs)
        if not self.replacement and (self.batch is None or self.online):
            raise ValueError("replacement: got false without batches of a sample; give samples = n and batch = b")
        return self

    def _check_features(self, inputs: Features) -> None:
        if self.test_samples is not None:
            raise ValueError(
                f"test_samples: got {self.test_samples} with features, which are scored on rows of the file; set "
                "inputs.held_out"
            )
        if inputs.replacement:
            return
        if self.online:
            raise ValueError(
                "online: got true with inputs.replacement = false, which draws no row twice; leave replacement out"
            )
        if self.samples is not None and self.samples > inputs.trained_on:
            raise ValueError(
                f"samples: got {self.samples:,} without replacement of {inputs.trained_on:,} rows; take fewer, or "
                "leave inputs.replacement out"
            )
