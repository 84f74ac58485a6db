"""The data of a study: how x is distributed, and which samples of it a member is trained on (theory.md §9, §10).

Without samples a member is trained on the exact population risk. `samples = n` draws each member n of its own, `batch`
shows a step some of them, and `online` gives every step fresh ones. All are functions of the member's data key.
"""

from typing import Annotated, Any, Literal

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from ..parts import chosen, is_lenient
from ..spec import Count, Spec
from .inputs import AbstractInputs, Features, Gaussian, InputLaw
from .risks import (
    AbstractRisk,
    AdversarialRisk,
    BatchRisk,
    HeldOutRisk,
    OnlineRisk,
    TwoSamplesRisk,
    converted,
    task_share,
)
from .risks.sample import as_leaf, drawn, purpose_key

TEST_SAMPLES = 10_000
"""Of a test sample whose size a study does not say."""


class SecondSample(Spec):
    """The sample of the second task of a `two_tasks` teacher: other x, other noise; both tasks share one without it."""

    samples: Count
    noise: NonNegativeFloat = 0.0


class Adversary(Spec):
    """Training against the strongest change of every sample's input within a radius, by projected ascent.

    `norm` of the change, 2 or "inf"; `radius` ε > 0, in the units of x; `steps` of the ascent, from three starts.
    """

    norm: Literal[2, "inf"] = 2
    radius: PositiveFloat
    steps: Annotated[int, Field(ge=1, le=1000)] = 10


class Data(Spec):
    """What a member's risk is made of beside its teacher.

    Labels are y = f*(x) + `noise` · ξ with ξ ~ N(0, 1) for each output. The risk is ½ mean (f(x) − y)²; `loss` stays
    the exact population loss ½E(f − f*)², or, where that has no closed form, its estimate on `test_samples`.
    """

    inputs: chosen(AbstractInputs) = Gaussian()  # pyright: ignore[reportInvalidTypeForm]
    samples: Count | None = None
    """n, each member's own; none: the population."""
    noise: NonNegativeFloat = 0.0
    """σ, the standard deviation of the noise on labels."""
    batch: Count | None = None
    """Samples that a step sees; none: all, or one where `online`."""
    replacement: bool = True
    """Whether a batch is drawn with replacement, or from a permutation of the sample in each epoch."""
    online: bool = False
    """Whether every step sees fresh samples."""
    test_samples: Annotated[int, Field(ge=2, le=10**8)] | None = None
    """Of a test sample, where the population loss has no closed form: two at least, for its standard error."""
    second: SecondSample | None = None
    """Of the second task of a `two_tasks` teacher; none: the same x and noise for both."""
    adversary: Adversary | None = None
    """Who moves every input against the network; none: nobody."""

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
        of_second = 0 if self.second is None else self.second.samples
        return of_second + (self.samples or (self.batch or 1 if self.online else 0))

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
        population: Any = None
        if exact:
            population = converted(risk, lambda plain: own.inputs.population(plain, inputs))
        if not self.is_sampled and exact:
            return population
        # What is static of the law must hold no tracer.
        law = InputLaw(numbers.get("inputs", {}), self.inputs.structure(), inputs)
        if not exact:
            teacher: Any = risk
            population = HeldOutRisk(
                teacher.teacher, law, as_leaf(purpose_key(key, "test")), self.test_count, getattr(risk, "view", None)
            )
        noise = jnp.asarray(own.noise)
        batches = as_leaf(purpose_key(key, "batches"))
        if self.online:
            return OnlineRisk(population, law, noise, batches, self.batch or 1)
        assert self.samples is not None, "a study refuses a population without a closed form"
        if self.second is not None:
            parts = own.second, self.second.samples, law, key
            return self._of_two_tasks(population, noise, *parts)
        sample = drawn(population, law, noise, key, self.samples)
        if own.adversary is not None:
            radius = jnp.asarray(own.adversary.radius)
            return AdversarialRisk(sample, radius, own.adversary.norm, own.adversary.steps)
        return sample if self.batch is None else BatchRisk(sample, batches, self.batch, self.replacement)

    def _of_two_tasks(self, population: Any, noise: Any, second: Any, count: int, law: InputLaw, key: PRNGKeyArray):
        """The risk of a sample of each task."""
        neurons = population.teacher.a.shape[-1]
        tasks = [population.of_target(task_share(neurons, number)) for number in (0, 1)]
        assert self.samples is not None, "it was checked"
        first = drawn(tasks[0], law, noise, key, self.samples)
        other = drawn(tasks[1], law, jnp.asarray(second.noise), purpose_key(key, "second"), count)
        return TwoSamplesRisk.of(population, first, other)

    @model_validator(mode="after")
    def _check(self):
        for name in ("second", "adversary"):
            if getattr(self, name) is not None and (self.samples is None or self.batch is not None):
                what = "without samples" if self.samples is None else f"beside batch = {self.batch}"
                raise ValueError(f"{name}: got a table {what}; it is of a whole sample: give samples = n, and no batch")
        if self.second is not None and self.adversary is not None:
            raise ValueError("adversary: got a table beside one of a second task's sample; leave one of them out")
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
